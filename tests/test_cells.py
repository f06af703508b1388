"""Our recurrent cells: torch's function, computed with fewer calls."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from amlnn_models import cells

KINDS = {
    "gru": (nn.GRU, cells.GRU),
    "rnn": (nn.RNN, cells.RNN),
}
SHAPES = {
    "one layer": {},
    "two layers": {"num_layers": 2},
    "both ways": {"bidirectional": True},
    "two layers both ways": {"num_layers": 2, "bidirectional": True},
}


def flat(result: object) -> list[Tensor]:
    """Return all tensors of nested tuples."""
    return (
        [result] if isinstance(result, Tensor) else [t for part in result for t in flat(part)]
    )


def gradients(net: nn.Module, inputs: Tensor, use: str) -> tuple[list[Tensor], list[Tensor]]:
    """Return what a net gives, and the gradients of weights and inputs from a part of it."""
    inputs = inputs.clone().requires_grad_()
    outputs, finals = net(inputs)
    parts = {"outputs": [outputs], "finals": flat(finals), "all": [outputs, *flat(finals)]}[use]
    torch.manual_seed(1)
    sum((part * torch.randn(part.shape, dtype=part.dtype)).sum() for part in parts).backward()
    return flat((outputs, finals)), [inputs.grad, *(p.grad for p in net.parameters())]


@pytest.mark.parametrize("use", ["outputs", "finals", "all"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_cells_are_the_same_function(kind, shape, use):
    """Outputs, final states and every gradient are torch's to 1e-6, whatever they feed."""
    theirs_kind, ours_kind = KINDS[kind]
    torch.manual_seed(0)
    theirs = theirs_kind(3, 7, batch_first=True, **shape)
    ours = ours_kind(3, 7, batch_first=True, **shape)
    ours.load_state_dict(theirs.state_dict())
    inputs = torch.randn(5, 11, 3)
    expected, found = gradients(theirs, inputs, use), gradients(ours, inputs, use)

    for one, other in zip(flat(found), flat(expected), strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-6 * max(1, other.abs().max()))


@pytest.mark.parametrize("kind", KINDS)
def test_cells_agree_in_double_precision(kind):
    """In float64 the difference is that of rounding alone."""
    theirs_kind, ours_kind = KINDS[kind]
    theirs = theirs_kind(1, 50, batch_first=True).double()
    ours = ours_kind(1, 50, batch_first=True).double()
    ours.load_state_dict(theirs.state_dict())
    inputs = torch.randn(32, 50, 1).double()
    expected, found = gradients(theirs, inputs, "finals"), gradients(ours, inputs, "finals")

    for one, other in zip(flat(found), flat(expected), strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_cells_answer_alike_without_gradients(kind):
    """Evaluation and training compute the same bits."""
    net = KINDS[kind][1](2, 5, batch_first=True)
    inputs = torch.randn(4, 6, 2)
    trained = net(inputs)
    with torch.inference_mode():
        tested = net(inputs)

    assert all(map(torch.equal, flat(trained), flat(tested)))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_drawn_as_torch_draws_them(kind):
    """Equal seeds give torch's weights under torch's names."""
    theirs_kind, ours_kind = KINDS[kind]
    torch.manual_seed(3)
    theirs = copy.deepcopy(theirs_kind(2, 4).state_dict())
    torch.manual_seed(3)
    ours = ours_kind(2, 4).state_dict()

    assert [*theirs] == [*ours]
    assert all(map(torch.equal, theirs.values(), ours.values()))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", [cells.GRU, cells.RNN, cells.LSTM])
def test_final_states_can_be_had_alone(kind, shape):
    """They, and the gradients that they give, are those that the whole answer holds."""
    torch.manual_seed(0)
    net = kind(2, 5, batch_first=True, **shape)
    inputs = torch.randn(4, 6, 2)
    whole = flat(net(inputs)[1])[0]
    alone = net.final(inputs)
    found, expected = (
        torch.autograd.grad(states.square().sum(), [*net.parameters()])
        for states in (alone, whole)
    )

    assert torch.equal(alone, whole)
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("kind", KINDS)
def test_passes_do_not_share_what_they_compute_in(kind):
    """A second pass, of the same shape, before the first one's way back changes nothing."""
    torch.manual_seed(0)
    net = KINDS[kind][1](2, 5, batch_first=True)
    one, other = torch.randn(2, 4, 6, 2)
    expected = torch.autograd.grad(net(one)[0].square().sum(), [*net.parameters()])
    first = net(one)[0].square().sum()
    net(other)
    second = net(other)[0].square().sum()
    found = torch.autograd.grad(first, [*net.parameters()], retain_graph=True)
    again = torch.autograd.grad(first, [*net.parameters()])
    second.backward()

    assert all(map(torch.equal, found, expected))
    assert all(map(torch.equal, again, expected))


def test_buffers_are_used_again():
    """As many passes as one likes need the room of those that are remembered at a time."""
    net, inputs = cells.GRU(2, 5, batch_first=True), torch.randn(3, 7, 2)
    for _ in range(5):
        net.final(inputs).sum().backward()

    (free,) = (
        free for key, free in cells.FREE.items() if key[:5] == (cells.GRUBuffers, 5, 7, 2, 3)
    )
    assert 1 <= len(free) <= 2


def test_buffers_of_other_shapes_are_given_up():
    """A long session of many cases keeps the room of a few."""
    net = cells.GRU(2, 5, batch_first=True)
    for count in range(1, 2 * cells.SHAPES_KEPT):
        net.final(torch.randn(count, 7, 2)).sum().backward()

    assert len(cells.FREE) <= cells.SHAPES_KEPT + 1
