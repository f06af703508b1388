"""Runs as plain data, and the runs of a case taken together."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import small_epoch, small_run

from pytest_amlnn import CLASSIFICATION, FORECAST, Recipe
from pytest_amlnn.metrics import COMMON
from pytest_amlnn.result import (
    SCHEMA,
    STATUSES,
    Epoch,
    Run,
    best_epoch,
    diverged,
    epoch_to_plain,
    finite,
    from_plain,
    gather,
    stop_reason,
    task_to_plain,
    to_plain,
)

NUMBERS = st.floats() | st.none()
SCORES = st.dictionaries(st.text(), NUMBERS, max_size=3)
EPOCHS = st.builds(
    Epoch,
    train=st.builds(lambda loss, others: {**others, "loss": loss}, st.floats(), SCORES),
    validation=st.builds(lambda loss, others: {**others, "loss": loss}, st.floats(), SCORES),
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
    task=st.sampled_from([task_to_plain(task) for task in (CLASSIFICATION, FORECAST)]),
    status=st.sampled_from(STATUSES),
    reason=st.text(),
    epochs=st.lists(EPOCHS, max_size=3).map(tuple),
    best_epoch=st.none() | st.integers(1),
    metrics=st.dictionaries(st.text(), NUMBERS),
    baselines=st.dictionaries(st.text(), NUMBERS),
    parts=st.dictionaries(st.text(), st.floats()),
    data=st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.floats())),
    init=st.text(),
    precision=st.text(),
    environment=st.dictionaries(st.text(), st.none() | st.text()),
    calibration_seconds=st.floats(),
    contended=st.booleans(),
    weights=st.dictionaries(st.text(), st.text()),
    together=st.integers(1),
    attempts=st.integers(1),
)
TASKS = {"classification": CLASSIFICATION, "forecast": FORECAST}


def epochs(*losses: float) -> list[Epoch]:
    """Give an epoch with each validation loss."""
    return [small_epoch(validation={"loss": loss}) for loss in losses]


def accuracies(*values: float | None) -> list[Run]:
    """Give a run with each test accuracy."""
    return [
        small_run(seed=seed, metrics={"test_accuracy": value})
        for seed, value in enumerate(values)
    ]


# epochs


def test_patience_ends_training():
    """Three epochs without a lower validation loss, past half of the budget, are enough."""
    recipe = Recipe(epochs=10, learning_rate=0.1, patience=3)

    assert stop_reason(epochs(3, 2, 1, 1, 1, 1, 1), recipe) == ""
    assert stop_reason(epochs(3, 2, 1, 1, 1, 1, 1, 1), recipe) == (
        "no lower validation loss for 5 epochs"
    )


def test_first_half_of_the_schedule_is_not_held_against_a_run():
    """However long ago the best epoch was, patience starts to count at half of the budget."""
    recipe = Recipe(epochs=20, learning_rate=0.1, patience=2)

    assert stop_reason(epochs(1, *[2] * 10), recipe) == ""
    assert stop_reason(epochs(1, *[2] * 11), recipe) != ""


@given(st.lists(st.floats(0, 10), min_size=1, max_size=12), st.integers(1, 5))
def test_training_always_ends(losses, patience):
    """Whatever the losses, the budget is never exceeded, and the best epoch is the lowest."""
    recipe = Recipe(epochs=len(losses), learning_rate=0.1, patience=patience)
    best = best_epoch(epochs(*losses))

    assert stop_reason(epochs(*losses), recipe)
    assert losses[best - 1] == min(losses)


def test_training_begins():
    """Before the first epoch there is no reason to stop."""
    assert stop_reason([], Recipe(epochs=1, learning_rate=0.1)) == ""


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_loss_that_is_no_number_ends_training(split, loss):
    """One epoch with such a loss ends the run, with its learning rate and what to try."""
    gone = [small_epoch(), small_epoch(**{split: {"loss": loss}})]

    assert diverged(gone)
    assert stop_reason(gone, Recipe(epochs=9, learning_rate=0.1)) == (
        "the loss of epoch 2 is not a finite number (learning rate 0.05); try a lower one"
    )


def test_best_epoch_is_the_first_of_the_lowest():
    """Equal losses leave the earlier epoch, and one that is no number is never the best."""
    assert best_epoch(epochs(math.nan, 2, 1, 1, math.inf)) == 3
    assert best_epoch(epochs(math.nan)) is None
    assert best_epoch([]) is None


def test_epoch_on_disk_has_each_score_by_its_split():
    """Readers of a run find `train_loss` and `val_accuracy` beside the other numbers."""
    plain = epoch_to_plain(small_epoch(train={"loss": 2.0}))

    assert plain == {
        "train_loss": 2.0,
        "val_loss": 1.1,
        "val_accuracy": 0.7,
        "learning_rate": 0.05,
        "gradient_norm": 2.0,
        "steps": 2,
        "seconds": {"train": 2.0, "evaluate": 0.5},
    }


# runs


@given(run=RUNS)
@settings(max_examples=40)
def test_run_survives_json(run):
    """What is read back is what was written, but for numbers that JSON cannot hold."""
    text = json.dumps(to_plain(run), allow_nan=False)
    again = from_plain(json.loads(text))

    assert to_plain(again) == to_plain(run)
    assert (again.id, again.status, again.case) == (run.id, run.status, run.case)
    assert [e.train.keys() for e in again.epochs] == [e.train.keys() for e in run.epochs]


def test_run_of_finite_numbers_comes_back_equal():
    """Nothing of an ordinary run is lost on disk, its epochs being values again."""
    run = small_run(epochs=(small_epoch(), small_epoch(steps=7)))

    assert from_plain(json.loads(json.dumps(to_plain(run)))) == run


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_number_that_json_cannot_hold_is_none(number):
    """nan and infinities are None wherever they stand."""
    run = small_run(
        epochs=(small_epoch(train={"loss": number}, seconds={"train": number}),),
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


def test_run_says_which_version_wrote_it():
    """A record holds the number of its schema, by which later versions read it."""
    assert to_plain(small_run())["schema"] == SCHEMA == 3


def test_baseline_is_found_like_a_metric():
    """A column may show what follows from the data alone; what is in neither is not known."""
    run = small_run(metrics={"test_accuracy": 0.5}, baselines={"chance": 0.25})

    assert run.value("test_accuracy") == 0.5
    assert run.value("chance") == 0.25
    assert run.value("start_accuracy") is None


# results


def test_results_are_grouped_and_sorted():
    """Cases come in order of their ids, their runs in order of their seeds, as numbers."""
    runs = [small_run(id, seed) for id in ("test[b]", "test[a]") for seed in (10, 9, 2)]
    found = {result.id: [run.seed for run in result.runs] for result in gather(runs)}

    assert list(found.items()) == [("test[a]", [2, 9, 10]), ("test[b]", [2, 9, 10])]


def test_nothing_to_gather():
    """No runs, no results."""
    assert gather([]) == []


@pytest.mark.slow
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
    """A result has every metric of its task and of all runs and no other, measured or not."""
    runs = [small_run(f"test[{name}]", task=name) for name in TASKS]
    found = {result.training["task"]: set(result.metrics) for result in gather(runs)}

    assert found == {
        name: {metric.name for metric in (*task.metrics, *COMMON)}
        for name, task in TASKS.items()
    }


def test_result_needs_no_code_of_its_task():
    """Metrics and columns come back from the record as they were in the task."""
    (result,) = gather([from_plain(json.loads(json.dumps(to_plain(small_run()))))])

    assert result.columns == [*CLASSIFICATION.columns]
    assert [*result.known.values()] == [*CLASSIFICATION.metrics, *COMMON]


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


@pytest.mark.parametrize("name", [m.name for m in CLASSIFICATION.metrics if m.share])
def test_interval_of_a_share_ends_at_one(name):
    """Accuracies far apart near 1 have an interval that is cut at 1."""
    runs = [small_run(seed=i, metrics={name: value}) for i, value in enumerate((0.6, 1.0))]
    (result,) = gather(runs)

    assert (result.metrics[name].low, result.metrics[name].high) == (0, 1)


@pytest.mark.parametrize(
    ("task", "name"),
    [
        (name, metric.name)
        for name, task in TASKS.items()
        for metric in (*task.metrics, *COMMON)
        if metric.positive
    ],
)
def test_interval_of_a_positive_metric_is_positive(task, name):
    """No time, loss, error or count lies below 0, nor does its interval, far as it reaches."""
    runs = [
        small_run(seed=seed, task=task, metrics={name: value})
        for seed, value in enumerate((0.1, 2.0))
    ]
    spread = gather(runs)[0].metrics[name]

    assert 0 < spread.low < 0.1
    assert spread.high > 2


def test_runs_trained_at_once_have_no_spread_of_times():
    """Equal shares of one time tell a mean and no interval; their accuracies tell both."""
    runs = [replace(run, together=2) for run in accuracies(0.5, 0.7)]
    (result,) = gather(runs)
    times = result.metrics["train_seconds"]

    assert (times.mean, times.sd, times.low, times.high) == (2.0, None, None, None)
    assert result.metrics["test_accuracy"].low is not None
