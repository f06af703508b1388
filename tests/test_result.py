"""Runs as plain data, and the runs of a case taken together."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import small_epoch, small_run

from pytest_amlnn.result import (
    METRICS,
    SHARES,
    STATUSES,
    Epoch,
    Run,
    finite,
    from_plain,
    gather,
    to_plain,
)

NUMBERS = st.floats() | st.none()
EPOCHS = st.builds(
    Epoch,
    train_loss=st.floats(),
    train_accuracy=NUMBERS,
    val_loss=st.floats(),
    val_accuracy=NUMBERS,
    learning_rate=st.floats(),
    gradient_norm=st.floats(),
    steps=st.integers(1),
    seconds=st.dictionaries(st.text(), st.floats()),
)
RUNS = st.builds(
    Run,
    id=st.text(),
    seed=st.integers(0, 2**32 - 1),
    case=st.just(small_run().case),
    status=st.sampled_from(STATUSES),
    reason=st.text(),
    epochs=st.lists(EPOCHS, max_size=3).map(tuple),
    best_epoch=st.none() | st.integers(1),
    metrics=st.dictionaries(st.text(), NUMBERS),
    parts=st.dictionaries(st.text(), st.floats()),
    data=st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.floats())),
    init=st.text(),
    precision=st.text(),
    environment=st.dictionaries(st.text(), st.none() | st.text()),
    calibration_seconds=st.floats(),
    contended=st.booleans(),
)


def accuracies(*values: float | None) -> list[Run]:
    """Give a run with each test accuracy."""
    return [
        small_run(seed=seed, metrics={"test_accuracy": value})
        for seed, value in enumerate(values)
    ]


@given(run=RUNS)
@settings(max_examples=40)
def test_run_survives_json(run):
    """What is read back is what was written, but for numbers that JSON cannot hold."""
    text = json.dumps(to_plain(run), allow_nan=False)
    again = from_plain(json.loads(text))

    assert to_plain(again) == to_plain(run)
    assert (again.id, again.status, again.case) == (run.id, run.status, run.case)


def test_run_of_finite_numbers_comes_back_equal():
    """Nothing of an ordinary run is lost on disk, its epochs being values again."""
    run = small_run(epochs=(small_epoch(), small_epoch(steps=7)))

    assert from_plain(json.loads(json.dumps(to_plain(run)))) == run


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_number_that_json_cannot_hold_is_none(number):
    """nan and infinities are None wherever they stand."""
    run = small_run(
        epochs=(small_epoch(train_loss=number, seconds={"train": number}),),
        metrics={"test_loss": number},
        calibration_seconds=number,
    )
    plain = to_plain(run)

    assert plain["epochs"][0]["train_loss"] is None
    assert plain["epochs"][0]["seconds"] == {"train": None}
    assert plain["metrics"]["test_loss"] is None
    assert plain["calibration_seconds"] is None


def test_other_values_are_left_as_they_are():
    """Text that reads like a number, whole numbers and truth values are no floats."""
    plain = {"a": ["nan", 0, True, None, 1.5], "b": {"c": "inf"}}

    assert finite(plain) == plain


def test_results_are_grouped_and_sorted():
    """Cases come in order of their ids, their runs in order of their seeds, as numbers."""
    runs = [small_run(id, seed) for id in ("test[b]", "test[a]") for seed in (10, 9, 2)]
    found = {result.id: [run.seed for run in result.runs] for result in gather(runs)}

    assert list(found.items()) == [("test[a]", [2, 9, 10]), ("test[b]", [2, 9, 10])]


def test_nothing_to_gather():
    """No runs, no results."""
    assert gather([]) == []


@given(statuses=st.lists(st.sampled_from(STATUSES), min_size=1))
def test_case_is_as_bad_as_its_worst_run(statuses):
    """The order of the runs does not matter, nor does how many went well."""
    runs = [small_run(seed=seed, status=status) for seed, status in enumerate(statuses)]
    (result,) = gather(runs)

    assert STATUSES.index(result.status) == max(map(STATUSES.index, statuses))


def test_finished_is_the_best_status():
    """One run that crashed outweighs any number that finished."""
    (result,) = gather([small_run(seed=0), small_run(seed=1, status="crashed")])

    assert result.status == "crashed"


def test_trouble_names_run_and_reason():
    """Each run that did not finish has a line with its case, seed, status and reason."""
    bad = small_run("test[a]", 1, status="diverged", reason="the loss is no number")
    (result,) = gather([small_run("test[a]", 0), bad])

    assert result.troubles == ["test[a], seed 1: diverged: the loss is no number"]


def test_contended_by_one_run():
    """One run that shared the machine marks the case."""
    alone, shared = small_run(seed=0), small_run(seed=1, contended=True)

    assert gather([alone, shared])[0].contended
    assert not gather([alone])[0].contended


def test_metrics_are_those_of_the_task():
    """A result has every metric of its task and no other, measured or not."""
    runs = [small_run("test[a]"), small_run("test[b]", task="forecast")]
    found = [set(result.metrics) for result in gather(runs)]

    assert found == [set(METRICS["classification"]), set(METRICS["forecast"])]


def test_run_without_a_metric_leaves_no_mean():
    """A run is never dropped from a mean: without its value there is none."""
    spread = gather(accuracies(0.5, None, 0.7))[0].metrics["test_accuracy"]

    assert spread.mean is spread.sd is spread.low is spread.high is None
    assert spread.runs == (0.5, None, 0.7)


def test_run_that_never_measured_a_metric_leaves_no_mean():
    """A metric that is absent counts as one without a value."""
    run = small_run()
    bare = replace(run, seed=1, metrics={})
    (result,) = gather([run, bare])

    assert result.metrics["train_seconds"].mean is None
    assert result.metrics["train_seconds"].runs == (2.0, None)


def test_one_accuracy_has_the_interval_of_its_test_examples():
    """A single run's test accuracy is as sure as its 240 test pictures make it."""
    spread = gather(accuracies(0.75))[0].metrics["test_accuracy"]

    assert spread.low == pytest.approx(0.691, abs=0.001)
    assert spread.high == pytest.approx(0.801, abs=0.001)


def test_one_value_of_another_metric_has_no_interval():
    """Nothing is known of the spread of what was measured once."""
    metrics = gather(accuracies(0.75))[0].metrics

    assert metrics["test_loss"].low is None
    assert metrics["val_accuracy"].low is None


@pytest.mark.parametrize("name", sorted(SHARES))
def test_interval_of_a_share_ends_at_one(name):
    """Accuracies far apart near 1 have an interval that is cut at 1."""
    runs = [small_run(seed=i, metrics={name: value}) for i, value in enumerate((0.6, 1.0))]
    (result,) = gather(runs)

    assert (result.metrics[name].low, result.metrics[name].high) == (0, 1)
