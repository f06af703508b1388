"""One run: the loop, its randomness, its stop and its record."""

from __future__ import annotations

import dataclasses
import gc
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_cases import (
    SIDE,
    cut,
    leaked,
    line,
    line_case,
    linear,
    pictures_net,
    small_case,
    squares,
    started,
    trained,
)
from torch import nn

from amlnn_datasets import series
from pytest_amlnn import (
    CLASSIFICATION,
    FORECAST,
    Case,
    DataError,
    Run,
    Task,
    Weights,
    steps,
)
from pytest_amlnn.data import Data
from pytest_amlnn.metrics import COMMON
from pytest_amlnn.result import to_plain

SMALL_SERIES = {"preset": "ar", "points": 300, "longest": 300, "test": 200, "window": 8}


def train(case: Case, data: Data | None = None, seed: int = 0) -> Run:
    return trained(case, data, seed=seed).run


def numbers(run: Run) -> object:
    """Return all of a run that must not change from one training to the next."""
    metrics = {
        name: value
        for name, value in run.metrics.items()
        if "second" not in name and "memory" not in name
    }
    return metrics, [dataclasses.replace(epoch, seconds={}) for epoch in run.epochs]


def val_losses(run: Run) -> list[float]:
    """Return what each epoch's validation said."""
    return [epoch.validation["loss"] for epoch in run.epochs]


def names_of(task: Task) -> set[str]:
    """Return every metric that a run of this task can have."""
    return {metric.name for metric in (*task.metrics, *COMMON)}


def test_net_learns():
    """Three epochs on an easy task end far above chance."""
    run = train(small_case(epochs=6))

    assert run.status == "finished"
    assert run.metrics["test_accuracy"] > 0.8


def test_same_seed_gives_the_same_bits():
    """Two runs with one seed agree in every number but times and memory."""
    case = small_case(flip=True, shift=1)

    assert numbers(train(case)) == numbers(train(case))


def test_another_seed_gives_other_numbers():
    """Seeds 0, 1 and 2 lead to three different runs: 0 is a seed like any other."""
    losses = {train(small_case(), seed=seed).metrics["test_loss"] for seed in range(3)}

    assert len(losses) == 3


def test_order_of_cases_changes_no_number():
    """A run's numbers do not depend on what was trained before it in the process."""
    first, second = small_case("first"), small_case("second", batch_size=16, flip=True)
    forwards = [numbers(train(case)) for case in (first, second)]
    backwards = [numbers(train(case)) for case in (second, first)]

    assert forwards == backwards[::-1]


def test_global_random_state_and_threads_are_left_alone():
    """What a user drew, set and allowed before a run is the same after it."""
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    threads = torch.get_num_threads()
    train(small_case(threads=1))

    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_every_metric_is_recorded():
    """A finished run holds each metric of its task, and its parts make up its wall time."""
    run = train(small_case())
    of_a_start = {"start_accuracy", "start_loss"}  # there is nothing to judge in fresh weights

    assert names_of(CLASSIFICATION) - of_a_start <= set(run.metrics)
    assert not of_a_start & set(run.metrics)
    assert run.parts.keys() == {
        "prepare", "build", "compile", "train", "evaluate", "checkpoint"
    }  # fmt: skip
    assert sum(run.parts.values()) <= run.metrics["wall_seconds"]


def test_every_metric_of_a_forecast_is_recorded():
    """A finished forecast holds each metric of its task, baselines included."""
    run = train(line_case(), lambda seed: series.splits(**SMALL_SERIES, seed=seed))

    assert names_of(FORECAST) - {"start_loss"} <= {*run.metrics}
    assert run.metrics["efficiency"] == pytest.approx(
        run.metrics["oracle_mse"] / run.metrics["test_mse"]
    )


def test_series_is_drawn_by_the_seed():
    """The oracle's error differs between seeds, and agrees between models at one seed."""
    data = lambda seed: series.splits(**SMALL_SERIES, seed=seed)  # noqa: E731
    first = train(line_case("one"), data, seed=0).metrics["oracle_mse"]

    assert (
        train(line_case("two", learning_rate=0.01), data, seed=0).metrics["oracle_mse"] == first
    )
    assert train(line_case("one"), data, seed=1).metrics["oracle_mse"] != first


@pytest.mark.parametrize(("rate", "scale"), [(1e38, 1.0), (0.1, math.nan), (0.1, math.inf)])
def test_loss_that_is_no_number_ends_the_run(rate, scale):
    """A loss of inf or nan gives status diverged at once, with the epoch and no test score."""

    class Scaled(nn.Module):
        def __init__(self, outputs: int) -> None:
            super().__init__()
            self.net = linear(outputs)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.net(inputs) * scale

    run = train(small_case(build=Scaled, learning_rate=rate, epochs=5))

    assert run.status == "diverged"
    assert "not a finite number" in run.reason
    assert len(run.epochs) < 5
    assert "test_accuracy" not in run.metrics
    assert "NaN" not in str(to_plain(run))


def test_accuracy_below_chance_is_a_broken_label_map():
    """A net that learned, tested on labels in another order, is implausible in plain words."""
    run = train(small_case(epochs=6), squares(swapped=True))

    assert run.status == "implausible"
    assert "label map" in run.reason
    assert run.metrics["test_accuracy"] < 0.1


def test_forecast_below_the_floor_is_a_leak():
    """A forecast that knows its target beats the oracle, and fails for it."""
    case = line_case(epochs=30, learning_rate=0.02, optimizer="adam")
    data = lambda seed: leaked(series.splits(**SMALL_SERIES, seed=seed))  # noqa: E731
    run = train(case, data)

    assert run.status == "implausible"
    assert "leak" in run.reason


def test_honest_forecast_is_plausible():
    """The same net on windows that end before their target finishes."""
    case = line_case(epochs=30, learning_rate=0.02, optimizer="adam")
    run = train(case, lambda seed: series.splits(**SMALL_SERIES, seed=seed))

    assert run.status == "finished"
    assert run.metrics["efficiency"] < 1.05


def test_best_weights_are_tested():
    """The test sees the weights of the best epoch, not of the last one."""
    case = small_case(epochs=8, learning_rate=3.0, warmup=0.0, momentum=0.0)
    run = train(case)
    kept = run.epochs[run.best_epoch - 1]
    again = train(case)

    assert kept.validation["loss"] == min(val_losses(run))
    assert run.metrics["val_accuracy"] == kept.validation["accuracy"]
    assert numbers(again) == numbers(run)


def test_rate_of_zero_learns_nothing():
    """A recipe broken on purpose leaves the fresh weights as they are."""
    run = train(small_case(learning_rate=0.0, epochs=4))

    assert len({*val_losses(run)}) == 1


def test_answers_are_recorded_in_order():
    """Every test example has its label, its prediction and its five best, in file order."""
    case, data = small_case(epochs=6), squares(classes=6)
    outcome = trained(case, data)
    run, answers = outcome.run, outcome.answers

    assert outcome.names == data(0).test.names
    assert np.array_equal(answers["label"], data(0).test.targets)
    assert answers["top5"].shape == (240, 5)
    assert np.array_equal(answers["top5"][:, 0], answers["predicted"])
    hits = (answers["predicted"] == answers["label"]).mean()
    assert run.metrics["test_accuracy"] == pytest.approx(hits)


def test_flops_count_two_per_multiply_add():
    """A linear layer of 192 inputs and 3 outputs takes 1,152 operations an example."""
    run = train(small_case(epochs=1))

    assert run.metrics["flops_per_sample"] == 2 * 192 * 3
    assert run.metrics["parameters"] == 192 * 3 + 3


@pytest.mark.parametrize(
    ("native", "precision"), [(True, "bfloat16"), (False, "float32")], ids=["native", "none"]
)
def test_lower_precision_is_used_where_the_processor_has_it(native, precision, monkeypatch):
    """The record says in which precision a recipe's bfloat16 was computed; both ways learn."""
    monkeypatch.setattr(steps, "computes_bfloat16", lambda: native)
    run = train(small_case(epochs=6, precision="bfloat16"))
    full = train(small_case(epochs=6))

    assert (run.precision, full.precision) == (precision, "float32")
    assert run.metrics["test_accuracy"] > 0.8
    assert (run.metrics["test_loss"] == full.metrics["test_loss"]) == (not native)


# starting from weights


@pytest.fixture
def learned(tmp_path):
    """Weights of a net that has learned the squares."""
    nets = []

    def kept(outputs: int) -> nn.Module:
        nets.append(linear(outputs))
        return nets[-1]

    train(small_case(epochs=8, build=kept))
    save_file(nets[0].state_dict(), tmp_path / "squares.safetensors")
    return Weights(path=tmp_path / "squares.safetensors", source="file", tag="squares")


def test_trained_weights_are_judged_before_the_first_step(learned):
    """The record holds what they say of the validation split, and which ones they are."""
    case = small_case(build=started, start="imagenet", epochs=1, learning_rate=0.0)
    run = trained(case, weights=learned).run

    assert run.metrics["start_accuracy"] == run.epochs[0].validation["accuracy"] > 0.8
    assert run.metrics["start_loss"] == pytest.approx(val_losses(run)[0])
    assert run.init == f"imagenet:squares:{learned.sha256}"
    assert run.weights == {"tag": "squares", "source": "file", "sha256": learned.sha256}


def test_trained_weights_at_chance_are_not_trained_on(tmp_path):
    """Weights that know nothing of the pictures end the run at once, with likely causes."""
    torch.manual_seed(0)
    state = {name: torch.zeros_like(t) for name, t in linear(3).state_dict().items()}
    save_file(state, tmp_path / "zeros.safetensors")
    weights = Weights(path=tmp_path / "zeros.safetensors", source="file", tag="zeros")
    run = trained(small_case(build=started, start="imagenet"), weights=weights).run

    assert run.status == "implausible"
    assert run.reason.startswith("before training 0.3333 of 30 validation pictures were right")
    assert "another variant of the net" in run.reason
    assert not run.epochs


def test_few_pictures_tell_nothing_of_trained_weights(learned):
    """Where even a perfect net could not be told from chance, training goes on."""
    splits = squares()(0)
    few = dataclasses.replace(
        splits.validation,
        rows=splits.validation.rows[:9],
        targets=splits.validation.targets[:9],
        names=splits.validation.names[:9],
    )
    case = small_case(build=started, start="imagenet")
    run = trained(
        case, lambda seed: dataclasses.replace(splits, validation=few), weights=learned
    ).run

    assert run.status == "finished"


def test_fresh_head_may_begin_at_chance(tmp_path):
    """Weights whose head does not know the classes are trained on."""
    state = {name: torch.zeros_like(t) for name, t in linear(3).state_dict().items()}
    save_file(state, tmp_path / "zeros.safetensors")
    weights = Weights(
        path=tmp_path / "zeros.safetensors", source="file", tag="zeros", know_classes=False
    )
    run = trained(small_case(build=started, start="imagenet"), weights=weights).run

    assert run.status == "finished"
    assert run.metrics["start_accuracy"] == pytest.approx(1 / 3)


def test_trained_weights_are_never_replaced_by_random_ones():
    """A case that starts from weights is not trained without them."""
    with pytest.raises(DataError, match="starts from imagenet weights and was given none"):
        trained(small_case(build=started, start="imagenet"))


def test_case_that_starts_at_random_is_given_no_weights(learned):
    """A record that says random is of a net that did start at random."""
    with pytest.raises(DataError, match="starts at random and was given the weights squares"):
        trained(small_case(build=started), weights=learned)


def test_forecaster_starts_from_weights(tmp_path):
    """Its loss before the first step is recorded; it has no accuracy."""

    def build(outputs: int, weights: Weights | None = None) -> nn.Module:
        net = line(outputs)
        assert weights is not None
        net.load_state_dict(load_file(weights.path))
        return net

    state = {name: torch.zeros_like(t) for name, t in line(1).state_dict().items()}
    save_file(state, tmp_path / "zeros.safetensors")
    weights = Weights(path=tmp_path / "zeros.safetensors", source="file", tag="zeros")
    case = line_case(build=build, start="other series", epochs=1, learning_rate=0.0)
    data = lambda seed: series.splits(**SMALL_SERIES, seed=seed)  # noqa: E731
    run = trained(case, data, weights=weights).run

    assert run.metrics["start_loss"] == pytest.approx(val_losses(run)[0])
    assert "start_accuracy" not in run.metrics
    assert run.init.startswith("other series:zeros:")


def test_averaged_weights_are_validated_and_tested():
    """An average that hardly moves stays at what the first step made of the net."""
    recipe = {"epochs": 6, "learning_rate": 0.05, "optimizer": "adam"}
    slow, plain = (
        trained(small_case(**recipe, averaging=averaging)).run for averaging in (0.999999, 0)
    )

    assert val_losses(slow)[-1] == pytest.approx(val_losses(slow)[0], rel=1e-3)
    assert slow.epochs[-1].train == plain.epochs[-1].train
    assert val_losses(slow)[-1] > val_losses(plain)[-1] + 0.1
    assert slow.metrics["test_loss"] > plain.metrics["test_loss"] + 0.1


class Layered(nn.Sequential):
    """A net whose layers timm can tell apart."""

    def group_matcher(self, coarse: bool = False) -> dict[str, object]:
        """Return which parameters are of which layer."""
        return {"stem": "^0", "blocks": [(r"^(\d+)", None)]}


def layered(outputs: int, weights: Weights, classes: Sequence[str]) -> nn.Module:
    """Build a linear classifier behind a norm, with the weights of a file."""
    net = Layered(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3 * SIDE * SIDE, outputs))
    state = load_file(weights.path)
    net[2].load_state_dict({"weight": state["1.weight"], "bias": state["1.bias"]})
    return net


@pytest.mark.parametrize(
    "changes",
    [
        {"build": started},
        {"build": layered, "layer_decay": 0.5, "freeze_norms": True, "averaging": 0.9},
    ],
    ids=["plain", "as recipes do"],
)
def test_cut_training_from_weights_equals_straight(changes, learned, tmp_path):
    """Cut after an epoch, it goes on; what was said of the weights at first is not lost."""
    case = small_case(start="imagenet", epochs=3, **changes)
    straight = trained(case, weights=learned).run
    cut(case, tmp_path / "place", 1, weights=learned)
    resumed = trained(case, weights=learned, place=tmp_path / "place").run

    assert numbers(resumed) == numbers(straight)
    assert resumed.metrics["start_accuracy"] > 0.8


def normed(nets: list[nn.Module]) -> Callable[[int], nn.Module]:
    """Return a builder of nets with batch norms that keeps what it built."""

    def build(outputs: int, **start: object) -> nn.Module:
        nets.append(pictures_net(outputs))
        return nets[-1]

    return build


@pytest.mark.parametrize("frozen", [True, False])
def test_statistics_of_norms_stay_where_the_recipe_says_so(frozen):
    """With `freeze_norms` they are what they were; the norms' weights are trained."""
    nets: list[nn.Module] = []
    train(small_case(build=normed(nets), freeze_norms=frozen))
    norm = nets[0][1]

    assert torch.equal(norm.running_mean, torch.zeros(8)) == frozen
    assert norm.num_batches_tracked == (0 if frozen else 6)
    assert not torch.equal(norm.weight, torch.ones(8))


@pytest.mark.slow
def test_nothing_is_left_between_steps(monkeypatch):
    """From one step or one evaluated batch to the next, no more tensors are there.

    Small ones that stay, between the large ones of a step, keep the C library from joining
    what is free: VGG-11 grew to 19 GB in an epoch of 313 steps, of 3 that it needs.
    """
    there: dict[bool, list[int]] = {True: [], False: []}

    class Watched(nn.Sequential):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            tensors = [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]
            there[self.training].append(len(tensors))
            return super().forward(pictures)

    monkeypatch.setattr(steps, "EVALUATION_BATCH", 16)
    train(small_case(build=lambda outputs: Watched(linear(outputs)), epochs=1, batch_size=4))

    learning, tested = there[True][1:], there[False][-15:]  # it is tried once before
    assert len(learning) == 15
    assert learning[-1] <= learning[1]
    assert tested[-1] <= tested[1]
