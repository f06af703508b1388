"""What batches, losses and scores mean to a task, and what it says of the whole."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from small_cases import CPU, leaked, line_case, small_case, squares, trained
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from amlnn_datasets import series
from pytest_amlnn import (
    CLASSIFICATION,
    FORECAST,
    Pictures,
    Recipe,
    Scored,
    Series,
    Split,
    training,
)
from pytest_amlnn.data import Data
from pytest_amlnn.steps import batches_in_order

RECIPE = small_case().training.recipe
BATCHES = {
    "one": [700],
    "as in training": [256, 256, 188],
    "uneven": [1, 4, 251, 3, 441],
    "single": [1] * 700,
}
"""Sizes of the batches that 700 examples come in."""
SMALL = {"preset": "ar", "points": 300, "longest": 300, "test": 200, "window": 8}


def scored(score: object, pairs: Sequence[tuple[Tensor, Tensor]], sizes: list[int]) -> Scored:
    """Return what a split is worth whose examples come in batches of these sizes."""
    outputs, targets = pairs
    for output, target in zip(outputs.split(sizes), targets.split(sizes), strict=True):
        score.add(output, target)
    return score.result()


def bits(given: Scored) -> object:
    """Return all that was found, to the last bit."""
    answers = {name: (str(a.dtype), a.tobytes()) for name, a in given.answers.items()}
    return given.loss, given.scores, given.metrics, answers


# classification


def logits_of(classes: int) -> tuple[Tensor, Tensor]:
    """Return logits of 700 examples, of which some are certain or tied, and their labels."""
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(700, classes, generator=generator) * 3
    logits[::7] *= 20
    logits[::11] = logits[::11].round()
    return logits, torch.randint(classes, (700,), generator=generator)


def split_of(count: int) -> Split:
    """Return a split of so many examples, of which nothing but their number is asked."""
    return replace(squares()(0).test, rows=np.arange(count))


def test_labels_are_smoothed():
    """Right answers count for the rest of the share that all classes have alike."""
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    all_alike = -logits.log_softmax(1).mean()
    plain, smooth = (
        CLASSIFICATION.loss(logits, labels, replace(RECIPE, label_smoothing=smoothing))
        for smoothing in (0.0, 0.1)
    )

    torch.testing.assert_close(smooth, 0.9 * plain + 0.1 * all_alike)


@pytest.mark.parametrize("classes", [2, 3, 10, 200])
@pytest.mark.parametrize("sizes", BATCHES.values(), ids=BATCHES)
def test_logits_scored_batch_by_batch_are_worth_what_they_are_as_a_whole(classes, sizes):
    """Loss, accuracies and answers are torch's of the whole split, to the last bit."""
    logits, labels = logits_of(classes)
    splits = replace(squares()(0), test=split_of(700))
    found = scored(CLASSIFICATION.score("test", splits, RECIPE), (logits, labels), sizes)
    confidences, ranked = logits.softmax(1).topk(min(5, classes))
    right = ranked == labels[:, None]

    assert found.loss == found.metrics["test_loss"] == cross_entropy(logits, labels).item()
    assert found.scores == {"accuracy": (logits.argmax(1) == labels).sum().item() / 700}
    assert found.metrics["test_accuracy"] == right[:, 0].sum().item() / 700
    assert found.metrics["test_top5"] == right.any(1).sum().item() / 700
    for name, expected in {
        "label": labels,
        "predicted": ranked[:, 0],
        "top5": ranked,
        "confidence": confidences[:, 0],
        "top5_confidence": confidences,
    }.items():
        assert np.array_equal(found.answers[name], expected.numpy())


def test_mixed_labels_count_by_their_larger_share():
    """A mixed example is right where the class is told that most of it is of."""
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 2.0, 1.0], [2.0, 0.0, 1.0]])
    shares = torch.tensor([[0.6, 0.4, 0.0], [0.0, 0.3, 0.7], [0.9, 0.1, 0.0]])
    by_share = CLASSIFICATION.training_scores(logits, shares)
    by_label = CLASSIFICATION.training_scores(logits, torch.tensor([0, 2, 1]))

    assert by_share == {"accuracy": torch.tensor(2)}
    assert by_label == {"accuracy": torch.tensor(1)}


def test_record_holds_what_the_data_alone_say():
    """Classes and chance are on record, class words are not."""
    splits = squares()(0)

    assert CLASSIFICATION.baselines(splits) == {"chance": 1 / 3}
    assert CLASSIFICATION.facts(splits)["classes"] == ["level0", "level1", "level2"]
    assert "words" not in CLASSIFICATION.facts(splits)
    assert trained(small_case(epochs=1)).run.baselines == {"chance": 1 / 3}


# forecasts


def windows(seed: int = 0, *, lacking: Collection[str] = ()) -> Series:
    """Return a short series, without what it may lack of forecasts and other fields."""
    splits = series.splits(**SMALL, seed=seed)
    known = {name: made for name, made in splits.forecasts.items() if name not in lacking}
    fields = {name: None for name in ("noise_scale", "naive_error") if name in lacking}
    return replace(splits, forecasts=known, **fields)


def errors_of(splits: Series, outputs: Tensor, center: np.ndarray) -> dict[str, float]:
    """Return the metrics of normalised forecasts, computed from the whole."""
    test = splits.test
    own = test.targets - (outputs.double().numpy()[:, 0] * splits.scale + center)
    mse = {
        f"{n}_mse": float(np.mean((test.targets - f) ** 2)) for n, f in splits.forecasts.items()
    }
    return mse | {
        "test_mse": float(np.mean(own**2)),
        "test_mae": float(np.mean(np.abs(own))),
        "test_mase": float(np.mean(np.abs(own))) / splits.naive_error,
        "efficiency": mse["oracle_mse"] / float(np.mean(own**2)),
    }


@pytest.mark.parametrize("normalise", ["window", "train"])
@pytest.mark.parametrize("sizes", [[200], [64, 64, 64, 8], [1] * 200], ids=["one", "64", "1"])
def test_forecasts_scored_batch_by_batch_are_worth_what_they_are_as_a_whole(sizes, normalise):
    """Loss, errors and answers are those of the whole split, to the last bit."""
    splits, recipe = windows(), Recipe(epochs=1, learning_rate=0.1, normalise=normalise)
    feed = FORECAST.feed(splits.test, splits, recipe, CPU)
    _, targets = feed.batch(torch.arange(200))
    outputs = targets + torch.randn(200, 1, generator=torch.Generator().manual_seed(0))
    inputs = splits.test.inputs[splits.test.rows]
    center = inputs.mean(1) if normalise == "window" else np.full(200, splits.center)
    found = scored(FORECAST.score("test", splits, recipe), (outputs, targets), sizes)

    assert found.loss == mse_loss(outputs, targets).item()
    assert found.metrics == errors_of(splits, outputs, center)
    assert found.scores == {}
    assert found.answers.keys() == {"forecast", "truth", "noise_scale", *splits.forecasts}
    assert np.array_equal(found.answers["truth"], splits.test.targets)


def test_validation_of_a_forecast_is_a_loss_alone():
    """What stands beside the test targets says nothing of other splits."""
    splits = windows()
    feed = FORECAST.feed(splits.validation, splits, RECIPE, CPU)
    score = FORECAST.score("validation", splits, RECIPE)
    for _, targets in batches_in_order(feed):
        score.add(torch.zeros_like(targets), targets)
    (whole,) = [batch[1] for batch in batches_in_order(feed)]

    assert bits(score.result()) == (whole.square().mean().item(), {}, {}, {})


def forecast(data: Data = windows) -> training.Outcome:
    """Train a forecaster."""
    case = line_case(epochs=4, learning_rate=0.02, optimizer="adam")
    return trained(case, data)


BASELINES = {"last_value", "seasonal_naive", "autoregression"}
OF_BASELINES = {"last_value_mse", "seasonal_naive_mse", "autoregression_mse"}
OF_ORACLE = {"oracle_mse", "efficiency"}
LACKING = {
    "an oracle": ({"oracle"}, OF_ORACLE),
    "a baseline": ({"last_value"}, {"last_value_mse"}),
    "all baselines": (BASELINES, OF_BASELINES),
    "a noise scale": ({"noise_scale"}, set()),
    "a naive error": ({"naive_error"}, {"test_mase"}),
    "all of them": (
        {*BASELINES, "oracle", "noise_scale", "naive_error"},
        {*OF_BASELINES, *OF_ORACLE, "test_mase"},
    ),
}
"""What a series may lack, and the metrics that a run then lacks."""


@pytest.fixture(scope="module")
def whole() -> training.Outcome:
    """A forecaster trained on a series that lacks nothing."""
    return forecast()


@pytest.mark.parametrize(("lacking", "metrics"), LACKING.values(), ids=LACKING)
def test_series_may_lack_what_is_not_known(lacking, metrics, whole):
    """A measured series is trained on; its run lacks what cannot be said, and nothing else."""
    found = forecast(partial(windows, lacking=lacking))

    assert found.run.status == "finished"
    assert {*whole.run.metrics} - {*found.run.metrics} == metrics
    assert {*whole.answers} - {*found.answers} == lacking - {"naive_error"}
    assert found.run.metrics["test_mse"] == whole.run.metrics["test_mse"]
    assert [e.validation for e in found.run.epochs] == [e.validation for e in whole.run.epochs]


def test_forecast_without_an_oracle_is_never_too_good():
    """Where the best possible forecast is not known, none can be said to beat it."""
    case = line_case(epochs=30, learning_rate=0.02, optimizer="adam")
    outcomes = [
        trained(case, lambda seed, lacking=lacking: leaked(windows(seed, lacking=lacking)))
        for lacking in ((), ("oracle",))
    ]

    assert [outcome.run.status for outcome in outcomes] == ["implausible", "finished"]


def test_series_without_noise_has_no_efficiency():
    """There is no floor to be a share of where the oracle never errs."""
    splits = windows()
    exact = replace(splits, forecasts={**splits.forecasts, "oracle": splits.test.targets})
    metrics = forecast(lambda seed: exact).run.metrics

    assert metrics["oracle_mse"] == 0
    assert "efficiency" not in metrics
    assert math.isfinite(metrics["test_mse"])


# what is trained on


@pytest.mark.parametrize("kind", [np.int32, np.uint8, np.int16, np.uint64])
def test_labels_may_be_any_integers(kind):
    """Labels of another integer type give the same bits as those of 64."""
    splits = squares()(0)

    def of_kind(split: Split) -> Split:
        return replace(split, targets=split.targets.astype(kind))

    other = Pictures(
        train=of_kind(splits.train),
        validation=of_kind(splits.validation),
        test=of_kind(splits.test),
        classes=splits.classes,
        facts=splits.facts,
    )
    first, second = (trained(small_case(), lambda seed, d=d: d) for d in (splits, other))

    assert second.run.metrics["test_loss"] == first.run.metrics["test_loss"]
    assert np.array_equal(second.answers["label"], first.answers["label"])
    assert second.answers["label"].dtype == np.int64
