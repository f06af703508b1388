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
    "lstm": (nn.LSTM, cells.LSTM),
}
SHAPES = {
    "one layer": {},
    "two layers": {"num_layers": 2},
    "both ways": {"bidirectional": True},
    "two layers both ways": {"num_layers": 2, "bidirectional": True},
}


def final(net: nn.Module, inputs: Tensor) -> Tensor:
    """Return the final states, as torch finds them or we do."""
    if hasattr(net, "kind"):
        return cells.final_states([net], [inputs])[0]
    states = net(inputs)[1]
    return states[0] if isinstance(states, tuple) else states  # an LSTM's, without its cells


def answers(net: nn.Module, inputs: Tensor) -> list[Tensor]:
    """Return final states, and the gradients of inputs and weights from a sum over them."""
    inputs = inputs.clone().requires_grad_()
    states = final(net, inputs)
    torch.manual_seed(1)
    states.backward(torch.randn(states.shape, dtype=states.dtype))
    return [states, inputs.grad, *(p.grad.clone() for p in net.parameters())]


def pair(kind: str, inputs: int, hidden: int, **shape: object) -> tuple[nn.Module, nn.Module]:
    """Return torch's cells and ours, with equal weights."""
    torch.manual_seed(0)
    theirs, ours = (cell(inputs, hidden, batch_first=True, **shape) for cell in KINDS[kind])
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_cells_are_the_same_function(kind, shape):
    """Final states and every gradient are torch's to 1e-6."""
    theirs, ours = pair(kind, 3, 7, **shape)
    inputs = torch.randn(5, 11, 3)

    for one, other in zip(answers(ours, inputs), answers(theirs, inputs), strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-6 * max(1, other.abs().max()))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_cells_agree_in_double_precision(kind, shape):
    """In float64 the difference is that of rounding alone, at the size of the cases."""
    theirs, ours = (net.double() for net in pair(kind, 1, 50, **shape))
    inputs = torch.randn(32, 50, 1).double()

    for one, other in zip(answers(ours, inputs), answers(theirs, inputs), strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_cells_round_no_worse_than_torch(kind):
    """Against float64, errors of float32 gradients are of the size of torch's own."""
    theirs, ours = pair(kind, 1, 50)
    inputs = torch.randn(32, 50, 1)
    found, expected = answers(ours, inputs), answers(theirs, inputs)
    for parameter in theirs.parameters():
        parameter.grad = None
    exact = answers(theirs.double(), inputs.double())

    def worst(all: list[Tensor]) -> float:
        return max(
            (one - right).detach().abs().max().item() / right.detach().abs().max().item()
            for one, right in zip(all, exact, strict=True)
        )

    assert worst(found) < 4 * worst(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_cells_answer_alike_without_gradients(kind):
    """Evaluation and training compute the same bits."""
    net = KINDS[kind][1](2, 5, batch_first=True)
    inputs = torch.randn(4, 6, 2)
    trained = final(net, inputs)
    with torch.inference_mode():
        tested = final(net, inputs)

    assert torch.equal(trained, tested)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_no_bit_depends_on_company(kind, shape):
    """One, two and three nets at once: each has the states and gradients that it has alone."""
    nets = [KINDS[kind][1](1, 50, batch_first=True, **shape) for _ in range(3)]
    inputs = torch.randn(3, 21, 20, 1)
    alone = [answers(net, given) for net, given in zip(nets, inputs, strict=True)]
    for together in ([0, 1], [2, 0], [0, 1, 2]):
        given = [inputs[which].clone().requires_grad_() for which in together]
        states = cells.final_states([nets[which] for which in together], given)
        torch.manual_seed(1)
        outer = torch.randn(states[0].shape)
        for which in together:
            nets[which].zero_grad()
        torch.autograd.backward(states, [outer for _ in states])
        for which, found, one in zip(together, states, given, strict=True):
            gradients = [one.grad, *(p.grad for p in nets[which].parameters())]
            assert all(map(torch.equal, [found, *gradients], alone[which]))


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


@pytest.mark.parametrize("kind", KINDS)
def test_passes_do_not_share_what_they_compute_in(kind):
    """A second pass, of the same shape, before the first one's way back changes nothing."""
    torch.manual_seed(0)
    net = KINDS[kind][1](2, 5, batch_first=True)
    one, other = torch.randn(2, 4, 6, 2)
    expected = torch.autograd.grad(final(net, one).square().sum(), [*net.parameters()])
    first = final(net, one).square().sum()
    final(net, other)
    second = final(net, other).square().sum()
    found = torch.autograd.grad(first, [*net.parameters()], retain_graph=True)
    again = torch.autograd.grad(first, [*net.parameters()])
    second.backward()

    assert all(map(torch.equal, found, expected))
    assert all(map(torch.equal, again, expected))


def test_buffers_are_used_again():
    """As many passes as one likes need the room of those that are remembered at a time."""
    net, inputs = cells.GRU(2, 5, batch_first=True), torch.randn(3, 7, 2)
    for _ in range(5):
        final(net, inputs).sum().backward()

    (free,) = (
        free
        for key, free in cells.FREE.items()
        if key[:-1] == (cells.GatedPass, 5, 1, 7, 1, 2, 3)
    )
    assert 1 <= len(free) <= 2


def test_buffers_of_other_shapes_are_given_up():
    """A long session of many cases keeps the room of a few."""
    net = cells.GRU(2, 5, batch_first=True)
    for count in range(1, 2 * cells.SHAPES_KEPT):
        final(net, torch.randn(count, 7, 2)).sum().backward()

    assert len(cells.FREE) <= cells.SHAPES_KEPT + 1
