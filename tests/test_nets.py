"""Nets of one's own: what they may do, and what is said of those that cannot be trained."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_cases import SIDE, cut, line, line_case, linear, pictures_net, small_case, trained
from torch import Tensor, nn

from amlnn_datasets import series
from pytest_amlnn.case import CaseError
from pytest_amlnn.nets import build_net, preserved, try_training
from pytest_amlnn.operations import size_of

PIXELS = 3 * SIDE * SIDE
Build = Callable[[int], Any]


class Linear(nn.Module):
    """A linear classifier, whose logits a test may change, given the pictures."""

    def __init__(self, outputs: int, change: Callable[..., Any]) -> None:
        super().__init__()
        self.layer, self.change = nn.Linear(PIXELS, outputs), change

    def forward(self, pictures: Tensor) -> Any:
        return self.change(self.layer(pictures.flatten(1)), pictures)


def changed(change: Callable[..., Any]) -> Build:
    """Return a builder of a linear classifier whose logits are changed."""
    return lambda outputs: Linear(outputs, change)


class Waves(nn.Module):
    """A linear classifier of a filtered picture; the filter is complex."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.filter = nn.Parameter(torch.ones(3, SIDE, SIDE // 2 + 1, dtype=torch.cfloat))
        self.head = nn.Linear(PIXELS, outputs)

    def forward(self, pictures: Tensor) -> Tensor:
        waves = torch.fft.rfft2(pictures) * self.filter
        return self.head(torch.fft.irfft2(waves).flatten(1))


class Counting(Linear):
    """Keeps a number, which is no tensor, in its state."""

    def get_extra_state(self) -> Any:
        return {"steps": 1}

    def set_extra_state(self, state: Any) -> None:
        """Take the number."""


class Recurrent(nn.Module):
    """Reads a picture row by row, from a first state that it makes itself."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.cells = nn.GRU(3 * SIDE, 5, batch_first=True)
        self.head = nn.Linear(5, outputs)

    def first(self, rows: Tensor) -> Tensor:
        return torch.zeros(1, len(rows), 5)

    def forward(self, pictures: Tensor) -> Tensor:
        rows = pictures.permute(0, 2, 3, 1).flatten(2)
        states, self.last = self.cells(rows, self.first(rows))
        return self.head(states[:, -1])


class Remembering(Recurrent):
    """Begins where the batch before ended, if that was as large."""

    last: Tensor | None = None

    def first(self, rows: Tensor) -> Tensor:
        fits = self.last is not None and self.last.shape[1] == len(rows)
        return self.last.detach() if fits else super().first(rows)


class Masked(Linear):
    """Keeps a mask of the last batch's size, made wherever it was needed first."""

    mask: Tensor | None = None

    def forward(self, pictures: Tensor) -> Tensor:
        if self.mask is None or len(self.mask) != len(pictures):
            self.mask = torch.ones(len(pictures), 1)
        return self.layer(pictures.flatten(1)) * (self.mask * self.layer.bias)


class Tied(nn.Module):
    """Two layers that share their weights."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(PIXELS, PIXELS), nn.Linear(PIXELS, PIXELS)
        self.other.weight = self.one.weight
        self.head = nn.Linear(PIXELS, outputs)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.other(self.one(pictures.flatten(1))))


def frozen(outputs: int) -> nn.Module:
    """Build a net whose first layer is not trained, and one layer that it does not use."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 8), nn.Linear(8, outputs))
    net[1].requires_grad_(False)
    net[2].spare = nn.Linear(2, 2)
    return net


def lazy(outputs: int) -> nn.Module:
    """Build a net that learns its shapes from the first batch."""
    return nn.Sequential(
        nn.LazyConv2d(4, 3),
        nn.LazyBatchNorm2d(),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Flatten(),
        nn.LazyLinear(outputs),
    )


def drawn_by_numpy(outputs: int) -> nn.Module:
    """Build a linear classifier with weights from numpy and `random`."""
    net = linear(outputs)
    drawn = np.random.randn(outputs, PIXELS) * 0.01 + random.random() * 0.01
    net[1].weight.data = torch.from_numpy(drawn.astype("float32"))
    return net


FREE = {
    "makes its first state": Recurrent,
    "keeps its last state": Remembering,
    "keeps a mask": lambda outputs: Masked(outputs, lambda logits, _: logits),
    "asks for a number": changed(lambda logits, x: logits * (1 + 0 * x.sum().item())),
    "asks yes or no": changed(lambda logits, x: logits if x.mean() > 0 else logits * 2),
    "shows a value": changed(lambda logits, x: (str(x[0, 0, 0, 0].item()), logits)[1]),
    "draws in torch": changed(lambda logits, x: logits + torch.randn(len(x), 3) / 100),
    "draws in numpy": changed(lambda logits, x: logits * (1 + np.random.rand() / 100)),
    "draws in random": changed(lambda logits, x: logits * (1 + random.random() / 100)),
    "goes through numpy": changed(
        lambda logits, x: logits + torch.from_numpy(x.numpy()).mean()
    ),
    "half": changed(lambda logits, x: logits.bfloat16()),
    "double": changed(lambda logits, x: logits.double()),
    "complex": Waves,
    "tied": Tied,
    "frozen": frozen,
    "lazy": lazy,
    "drawn by numpy": drawn_by_numpy,
    "in evaluation": lambda outputs: pictures_net(outputs).eval(),
    "scripted": lambda outputs: torch.jit.script(linear(outputs)),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("build", FREE.values(), ids=FREE)
def test_net_may_do_what_it_likes(build):
    """It is trained, its operations are counted, and equal seeds give equal bits."""
    # batches as large as validation: what a net keeps from there is used in training
    case = small_case(build=build, epochs=2, batch_size=30)
    first, second = (trained(case, seed=1) for _ in range(2))

    assert first.run.status == "finished"
    assert first.run.metrics["flops_per_sample"] > 0
    assert first.run.metrics["test_loss"] == second.run.metrics["test_loss"]
    assert [e.train for e in first.run.epochs] == [e.train for e in second.run.epochs]


def test_operations_are_the_same_where_a_net_makes_its_first_state():
    """Counted on the device or on meta, fused kernels hide nothing."""

    class Given(Recurrent):
        def first(self, rows: Tensor) -> Tensor:
            return rows.new_zeros(1, len(rows), 5)

    one = torch.zeros(1, 3, SIDE, SIDE)

    assert size_of(Recurrent(3), one) == size_of(Given(3), one)
    assert size_of(Given(3), one)["flops_per_sample"] == 2 * SIDE * 15 * (3 * SIDE + 5) + 30


def test_operations_that_cannot_be_counted_are_left_empty():
    """A net that takes no single example is trained all the same."""

    def paired(logits: Tensor, pictures: Tensor) -> Tensor:
        if len(pictures) < 2:
            raise ValueError("one picture alone tells nothing")
        return logits

    run = trained(small_case(build=changed(paired), epochs=1)).run

    assert run.status == "finished"
    assert run.metrics["flops_per_sample"] is None


@pytest.mark.parametrize(
    "build", [lazy, Remembering, drawn_by_numpy, Waves], ids=lambda f: f.__name__
)
def test_net_that_is_cut_resumes_in_the_same_bits(build, tmp_path):
    """What a net learns of its shapes, and draws, follows from the seed when it is resumed."""
    case = small_case(build=build, epochs=3)
    straight = trained(case).run
    cut(case, tmp_path, 1)
    resumed = trained(case, place=tmp_path).run

    if build is not Remembering:  # what it keeps besides its weights is on no checkpoint
        assert resumed.metrics["test_loss"] == straight.metrics["test_loss"]
    assert len(resumed.epochs) == 3


def test_trying_a_net_changes_nothing_of_it():
    """Statistics, mode and attributes are those of the fresh net as its first epoch begins."""
    inputs, targets = torch.randn(2, 3, SIDE, SIDE), torch.tensor([0, 1])
    net = nn.Sequential(nn.BatchNorm2d(3), Remembering(3))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    size_of(net, inputs[:1])
    try_training(net, (inputs, targets), (3,), nn.functional.cross_entropy)

    assert net.training
    assert net[1].last is None
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_what_a_forward_pass_adds_is_taken_away():
    """A buffer that is registered, a module that is replaced: both are as they were."""
    net, spare = nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 2)
    layer = net[0]
    with preserved(net):
        net.register_buffer("seen", torch.zeros(1))
        net[0] = spare
        net.mark = 1

    assert (net[0], [*net.buffers()], hasattr(net, "mark")) == (layer, [], False)


# what is said


def made_in_forward(outputs: int) -> nn.Module:
    """Build a net that makes its head as it is called."""

    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, pictures: Tensor) -> Tensor:
            self.head = nn.Linear(3, outputs)
            return self.head(self.layer(pictures.mean((2, 3))))

    return Late()


def only_in_training(logits: Tensor, _: Tensor) -> Any:
    """Return two heads' logits while gradients are computed, as nets with an auxiliary head."""
    return (logits, logits) if logits.requires_grad else logits


RETURNED = {
    "a tuple": (lambda y, x: (y, x), "a tuple of 2 in training; needs one tensor of floats"),
    "a tuple in training": (only_in_training, "a tuple of 2 in training"),
    "a list": (lambda y, x: [y], "a list of 1"),
    "a dict": (lambda y, x: {"logits": y}, "a dict with logits in training; needs one tensor"),
    "None": (lambda y, x: None, "None in training; needs one tensor of floats (n, 3)"),
    "a number": (lambda y, x: 1.5, "a float"),
    "an array": (lambda y, x: y.detach().numpy(), "a ndarray"),
    "too wide": (
        lambda y, x: torch.cat([y, y], 1),
        "float32 (2, 6) in training for 2 examples; needs a tensor of floats (n, 3);",
    ),
    "more axes": (
        lambda y, x: y[..., None],
        "float32 (2, 3, 1) in training for 2 examples; needs a tensor of floats (n, 3): output",
    ),
    "one for all": (lambda y, x: y[:1], "float32 (1, 3) in training for 2 examples"),
    "a mean": (lambda y, x: y.mean(), "float32 () in training for 2 examples"),
    "classes": (lambda y, x: y.argmax(1), "int64 (2,) in training for 2 examples"),
    "integers": (lambda y, x: y.long(), "int64 (2, 3) in training for 2 examples"),
    "complex": (lambda y, x: y * 1j, "complex64 (2, 3) in training for 2 examples"),
    "detached": (lambda y, x: y.detach(), "a tensor that does not follow from its weights"),
    "a tuple in evaluation": (
        lambda y, x: y if y.requires_grad else (y, x),
        "a tuple of 2 in evaluation; needs one tensor of floats",
    ),
    "less in evaluation": (
        lambda y, x: y if y.requires_grad else y[:, :2],
        "float32 (2, 2) in evaluation for 2 examples",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "words"), RETURNED.values(), ids=RETURNED)
def test_what_a_net_must_return_is_said_at_its_first_batch(change, words):
    """The message names the net, what it returned, and what it must return."""
    with pytest.raises(CaseError) as error:
        trained(small_case(build=changed(change)))

    assert str(error.value).startswith(f"Linear returned {words}")


def test_forecast_without_its_axis_is_refused():
    """Broadcast against targets (n, 1), forecasts (n,) would be trained in silence."""

    class Flat(nn.Module):
        def __init__(self, outputs: int) -> None:
            super().__init__()
            self.net = line(outputs)

        def forward(self, windows: Tensor) -> Tensor:
            return self.net(windows)[:, 0]

    data = series.source("ar", points=150, longest=150, test=60, window=8)
    with pytest.raises(CaseError, match=r"float32 \(2,\) .*: outputs.reshape\(-1, 1\)"):
        trained(line_case(build=Flat), data)


def own_generator(outputs: int, drawn: Any = np.random.default_rng()) -> nn.Module:  # noqa: B008
    """Build a net that is another one at each call, whatever the seed."""
    net = linear(outputs)
    net[1].bias.data = torch.from_numpy(drawn.random(outputs).astype("float32"))
    return net


BUILT = {
    "None": (lambda outputs: None, "build returned None, needs a torch.nn.Module"),
    "a class": (lambda outputs: nn.Linear, "build returned the class Linear"),
    "a pair": (lambda outputs: (linear(outputs), 3), "build returned a tuple of 2"),
    "takes nothing": (lambda: linear(3), "build failed: TypeError: .*takes 0 positional"),
    "fails": (lambda outputs: 1 / 0, "build failed, at test_nets.py:.*: ZeroDivisionError"),
    "no weights": (lambda outputs: nn.Flatten(), "Flatten has no weights to train"),
    "all frozen": (lambda n: linear(n).requires_grad_(False), "Sequential has no weights to"),
    "on meta": (lambda outputs: linear(outputs).to("meta"), "Sequential lies on meta"),
    "its own generator": (own_generator, "build returned another net .* 1.bias is another"),
    "of doubles": (
        lambda outputs: linear(outputs).double(),
        "the first forward pass failed .*inputs float32 .*its weights float64.*: RuntimeError",
    ),
    "of another width": (
        lambda outputs: nn.Sequential(nn.Flatten(), nn.Linear(5, outputs)),
        "the first forward pass failed .given inputs float32 .2, 3, 8, 8.*cannot be multiplied",
    ),
    "of a mistake": (
        changed(lambda y, x: y.nothing),
        "the first forward pass failed, at test_nets.py:.*AttributeError: .*nothing",
    ),
    "no tensor in its state": (
        lambda outputs: Counting(outputs, lambda y, x: y),
        "Counting has _extra_state in its state, which is no tensor",
    ),
    "made in forward": (made_in_forward, "Late makes head.bias, head.weight in forward"),
    "lazy where nothing goes": (
        lambda outputs: nn.ModuleList([nn.LazyLinear(outputs)]),
        "the first forward pass of a net with lazy layers failed",
    ),
    "wrong after some batches": (
        changed(lambda y, x: y.view(32, -1) if len(x) > 2 else y),
        "training failed, at test_nets.py:.*shape '.32, -1.' is invalid",
    ),
}


@pytest.mark.parametrize(("build", "words"), BUILT.values(), ids=BUILT)
def test_net_that_cannot_be_trained_is_refused_in_words(build, words):
    """One sentence says what is wrong, where in the user's code, and what the net was given."""
    with pytest.raises(CaseError, match=f"^{words}") as error:
        trained(small_case(build=build))

    assert "\n" not in str(error.value)


def test_batch_of_one_is_named_where_norms_need_two():
    """A recipe with batches of one trains nets without norms, and names the batch of others."""
    assert trained(small_case(batch_size=1, epochs=1)).run.status == "finished"

    def normed(outputs: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(PIXELS), nn.Linear(PIXELS, outputs))

    with pytest.raises(CaseError, match=r"inputs float32 \(1, 3, 8, 8\).*more than 1 value"):
        trained(small_case(build=normed, batch_size=1))


LARGE, SHARED = nn.Linear(PIXELS, 6000), linear(3)


@pytest.mark.parametrize(
    "build",
    [
        lambda outputs: SHARED,
        lambda outputs: nn.Sequential(nn.Flatten(), LARGE, nn.Linear(6000, outputs)),
    ],
    ids=["the same net", "a large net with the same layer"],
)
def test_second_seed_never_starts_from_trained_weights(build):
    """A builder that gives what it gave before is refused, whole or in part."""
    case = small_case(build=build, epochs=1)
    with pytest.raises(CaseError, match="build returned weights that it has returned before"):
        assert [trained(case, seed=seed) for seed in (0, 1)]


def frozen() -> nn.Module:
    """Return the same layer in every process: some random ones leave nothing to be learned."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return nn.Linear(PIXELS, 8).requires_grad_(False)


FROZEN = frozen()


def on_frozen(outputs: int) -> nn.Module:
    """Build a net on a layer that no run trains."""
    return nn.Sequential(nn.Flatten(), FROZEN, nn.Linear(8, outputs))


def test_frozen_layer_may_be_shared():
    """What no run trains is the same for every seed anyway."""
    case = small_case(build=on_frozen)

    assert {trained(case, seed=seed).run.status for seed in (0, 1)} == {"finished"}


def test_weights_drawn_by_numpy_follow_from_the_seed():
    """Another seed gives another net, the same one the same, whatever was drawn before."""
    inputs = torch.zeros(2, 3, SIDE, SIDE)
    first, second, other = (
        build_net(lambda: drawn_by_numpy(3), seed, inputs)[1].weight for seed in (1, 1, 2)
    )

    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_random_states_of_the_caller_stay():
    """numpy and `random` go on after a training as if there had been none."""
    np.random.seed(5)
    random.seed(5)
    expected = np.random.rand(), random.random()
    np.random.seed(5)
    random.seed(5)
    trained(small_case(build=drawn_by_numpy, epochs=1))

    assert (np.random.rand(), random.random()) == expected


def test_shortage_of_memory_is_not_blamed_on_the_net():
    """torch's own error goes through: it has a status of its own."""

    def short(logits: Tensor, _: Tensor) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")

    with pytest.raises(RuntimeError, match="^DefaultCPUAllocator"):
        trained(small_case(build=changed(short)))


BENCHMARK = """
import pytest
from small_cases import linear, small_case, squares
from torch import nn


class Two(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.net = linear(outputs)

    def forward(self, pictures):
        return self.net(pictures), pictures


@pytest.mark.parametrize("case", [small_case("two", build=Two), small_case("one")], ids=str)
def test_small(case, train):
    train(case, squares())
"""


def test_case_whose_net_cannot_be_trained_fails_with_a_sentence(benchmarks):
    """Its item fails with the case's id and no traceback; the others are trained."""
    benchmarks.makepyfile(test_small=BENCHMARK)
    result = benchmarks.runpytest_inprocess("--amlnn-out=out", "--amlnn-device=cpu")
    out: Path = benchmarks.path / "out"

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["test_small?two?: Two returned a tuple of 2 in training; *"])
    result.stdout.no_fnmatch_line("*Traceback*")
    assert [path.name for path in (out / "runs").glob("*")] == ["test_small_one"]
