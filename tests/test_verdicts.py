"""What the gate says of results that are held against a reference."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_runs import small_run
from small_sweeps import (
    ID,
    MACHINE,
    epoch_with,
    gate_from,
    limits_from,
    reference_runs,
    result_of,
    runs_with,
)

from pytest_amlnn.gates.bounds import typical
from pytest_amlnn.gates.gate import Gate, judge_all, judge_result
from pytest_amlnn.gates.limits import Limit, Limits
from pytest_amlnn.result import gather

OTHERS = {
    "digest": (
        {"data": {"digest": "1" * 64}},
        "had the digest 000000000000, have 111111111111",
    ),
    "init": ({"init": "imagenet:tag:1"}, "init was random, is imagenet:tag:1"),
    "dataset": ({"dataset": "circles"}, "dataset was squares, is circles"),
}


def first(verdict):
    """Give the judgement on accuracy."""
    return next(j for j in verdict.judgements if j.limit.metric == "test_accuracy")


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        (typical(5, 0.70, 0.02), "passed"),
        (typical(5, 0.69, 0.02), "passed"),
        (typical(5, 0.60, 0.02), "regressed"),
        ([0.1] * 5, "regressed"),
        (typical(5, 0.80, 0.02), "suspicious"),
        ([0.1], "inconclusive"),
        ([0.62], "inconclusive"),
    ],
)
def test_verdict_follows_from_the_bounds(accuracies, verdict):
    """Passed above minus the margin, regressed below zero, suspicious above what chance and a
    drop that matters allow, and else inconclusive."""
    found = judge_result(result_of(accuracies), gate_from(reference_runs()))
    one = first(found)

    assert one.verdict == found.name == verdict
    assert found.passed == (verdict in ("passed", "inconclusive"))
    assert one.reference == pytest.approx(0.7)
    if verdict == "passed":
        assert one.low > -one.margin
    if verdict == "regressed":
        assert one.high < 0
    assert (one.needs_seeds is not None) == (verdict == "inconclusive")


def test_verdict_of_what_is_better_when_smaller():
    """A larger loss is worse, and the bounds are those of the difference as it stands."""
    runs = [
        replace(run, metrics={**run.metrics, "test_loss": loss})
        for run, loss in zip(reference_runs(), typical(20, 0.5, 0.01), strict=True)
    ]
    gate = gate_from(runs, ["test_loss"])

    for loss, verdict in ((0.5, "passed"), (0.7, "regressed"), (0.3, "suspicious")):
        result = result_of([0.7] * 5, metrics={"test_loss": loss})
        judged = judge_result(result, gate).judgements
        one = next(j for j in judged if j.limit.metric == "test_loss")
        assert one.verdict == verdict
        assert one.low < loss - 0.5 < one.high


def test_strict_gate_fails_what_is_not_decided():
    """With --amlnn-gate-strict what is inconclusive, and what cannot be compared, fails."""
    gate = gate_from(reference_runs(), strict=True)
    other = result_of([0.7] * 5, data={"digest": "1" * 64})

    assert judge_result(result_of([0.7] * 5), gate).passed
    assert not judge_result(result_of([0.1]), gate).passed
    assert judge_result(other, gate).name == "not comparable"
    assert not judge_result(other, gate).passed
    assert judge_result(other, replace(gate, enforced=False)).passed


@pytest.mark.parametrize("kind", OTHERS)
def test_other_data_or_start_is_not_comparable(kind):
    """Another dataset, digest or start says nothing of the reference, and it is said which."""
    changes, words = OTHERS[kind]
    found = first(judge_result(result_of([0.1] * 5, **changes), gate_from(reference_runs())))

    assert found.verdict == "not comparable"
    assert (
        found.why == (words.replace("had", "the data of seed 100 had"),) or words in found.why
    )


def test_another_task_is_not_comparable():
    """A case that became another task is not held against its old reference."""
    gate = gate_from(reference_runs())
    calibrations = {
        ID: replace(gate.held.calibrations[ID], task="forecast"),
    }
    held = Limits(limits=gate.held.limits, calibrations=calibrations)
    found = first(judge_result(result_of([0.7] * 5), replace(gate, held=held)))

    assert found.why == ("task was forecast, is classification",)


def test_data_that_a_seed_draws_are_compared_seed_by_seed():
    """Where each seed has data of its own, a digest says something of the same seed alone."""
    runs = [
        replace(run, data={**run.data, "digest": f"{run.seed:02}" * 32})
        for run in reference_runs()
    ]
    gate = gate_from(runs)
    same = result_of([0.7] * 3, first=0, data={"digest": "00" * 32})
    others = result_of([0.7] * 3, data={"digest": "f" * 64})

    assert first(judge_result(others, gate)).verdict == "passed"
    assert first(judge_result(same, gate)).verdict == "not comparable"


def test_changed_recipe_is_compared_and_named():
    """A changed recipe is what a gate is for: the failure names the changed fields, and the
    likely cause."""
    gate = gate_from(reference_runs(epochs=(epoch_with(),)))
    changed = [
        replace(
            run,
            case={
                **run.case,
                "training": {
                    **run.case["training"],
                    "recipe": {**run.case["training"]["recipe"], "learning_rate": 5.0},
                },
            },
        )
        for run in runs_with([0.4] * 5, first=100, epochs=(epoch_with(learning_rate=0.5),))
    ]
    verdict = judge_result(gather(changed)[0], gate)

    assert verdict.name == "regressed"
    assert "changed: recipe.learning_rate was 0.05, is 5.0" in verdict.message
    assert "likely cause: 10 times the learning rate in the first epoch" in verdict.message


@pytest.mark.parametrize(
    ("epoch", "metrics", "cause"),
    [
        (
            {"train": 2.0, "validation": 2.1},
            {},
            "it learns less from its own training examples",
        ),
        ({"validation": 3.0}, {}, "it learns its training examples, and fails on validation"),
        ({}, {}, "training and validation are as before: the test examples"),
        ({}, {"steps_per_epoch": 1}, "0.5 times as many steps an epoch"),
    ],
)
def test_likely_cause_follows_from_the_training(epoch, metrics, cause):
    """What a training looked like says where to look first."""
    gate = gate_from(reference_runs(epochs=(epoch_with(),)))
    broken = result_of([0.4] * 5, epochs=(epoch_with(**epoch),), metrics=metrics)

    assert f"likely cause: {cause}" in first(judge_result(broken, gate)).why[-1]


def test_gap_that_closes_is_suspicious():
    """A net that is no better in training than in the test, where it always was, has likely
    seen the test examples."""
    gate = gate_from(reference_runs(metrics={"train_accuracy": 0.9}))
    leaked = result_of([0.7] * 5, metrics={"train_accuracy": 0.7})
    found = first(judge_result(leaked, gate))

    assert found.verdict == "suspicious"
    assert "training exceeds the test by 1.11e-16" in str(found) or "are test examples" in str(
        found
    )


def test_start_that_is_another_is_suspicious():
    """A net that begins elsewhere than its reference starts from other weights."""
    started = {"metrics": {"start_accuracy": 0.5}, "init": "imagenet:a:1"}
    gate = gate_from(reference_runs(**started))
    same = result_of([0.7] * 5, **started)
    other = result_of([0.7] * 5, metrics={"start_accuracy": 0.2}, init="imagenet:a:1")

    assert judge_result(same, gate).name == "passed"
    assert judge_result(other, gate).name == "suspicious"


def test_counts_are_exact():
    """Parameters, operations and steps follow from net and recipe: any other number is red;
    more operations are worse, and all else is suspicious."""
    gate = gate_from(reference_runs())
    for metric, value, verdict in (
        ("parameters", 580, "suspicious"),
        ("flops_per_sample", 1153, "regressed"),
        ("flops_per_sample", 1151, "suspicious"),
        ("steps_per_epoch", 3, "suspicious"),
    ):
        found = judge_result(result_of([0.7] * 5, metrics={metric: value}), gate)
        assert found.name == verdict, metric
        assert f"{metric} is {value}" in found.message


def test_times_are_not_compared_with_the_past():
    """Seconds of another hour say nothing here: they are compared side by side alone."""
    limit = Limit(case=ID, metric="train_seconds", reference=2.0, margin=0.2, sd=0.1, n=20)
    gate = Gate(held=Limits(limits=(limit,)), planned={ID: 5})
    found = judge_result(result_of([0.7] * 5, metrics={"train_seconds": 200.0}), gate)

    assert found.name == "not comparable"
    assert "times are compared side by side alone: amlnn ab" in found.message


def test_memory_is_compared_on_the_same_machine():
    """Memory has a margin of a tenth, on machines of the class that it was calibrated on,
    whatever else ran there; less of it is no wonder."""
    size = {"metrics": {"peak_memory_bytes": 100e6}}
    gate = gate_from(reference_runs(**size), ["peak_memory_bytes"])

    def memory(amount: float, **changes: object):
        found = judge_result(
            result_of([0.7] * 5, metrics={"peak_memory_bytes": amount}, **changes), gate
        )
        return next(j for j in found.judgements if j.limit.metric == "peak_memory_bytes")

    assert memory(105e6).verdict == "passed"
    assert memory(150e6).verdict == "regressed"
    assert memory(150e6, contended=True).verdict == "regressed"
    assert memory(50e6).verdict == "passed"
    elsewhere = memory(150e6, environment={**MACHINE, "processor": "Another"})
    assert elsewhere.verdict == "not comparable"


def test_accuracy_of_contended_runs_is_judged():
    """What else ran on the machine changes times, and no accuracy."""
    found = judge_result(result_of([0.1] * 5, contended=True), gate_from(reference_runs()))

    assert first(found).verdict == "regressed"


def test_reference_with_failed_runs_says_so():
    """A verdict says that runs of its reference failed by themselves."""
    gate = gate_from(runs_with([*typical(19, 0.7, 0.02), 0.1]))
    found = first(judge_result(result_of([0.69, 0.7, 0.71, 0.7, 0.1]), gate))

    assert found.verdict != "regressed"
    assert "1 of its runs was far off by themselves" in found.why


def test_margin_is_what_the_planned_seeds_tell():
    """A margin that is what seeds tell follows from those that the case was planned with, and
    from how often it is judged; one that was set by hand stays."""
    gate = gate_from(reference_runs())
    by_hand = Limit(case=ID, metric="test_accuracy", reference=0.7, margin=0.1, sd=0.02, n=20)
    result = result_of(typical(10, 0.7, 0.02))

    def margin(**changes: object) -> float:
        return first(judge_result(result, replace(gate, **changes))).margin

    few, many = (margin(planned={ID: count}) for count in (2, 10))
    assert many < few
    assert margin(planned={ID: 2}, max_repeats=16) > few
    assert margin(held=Limits(limits=(by_hand,))) == 0.1


def test_value_that_is_missing_is_regressed():
    """A run without the metric is no pass."""
    found = judge_result(
        gather([small_run(ID, metrics={"test_accuracy": None})])[0], gate_from(reference_runs())
    )

    assert first(found).verdict == "regressed"


def test_bounds_by_hand_hold_beside_a_reference():
    """A bound that stands beside a reference is held as before, whatever chance allows."""
    held = limits_from(reference_runs())
    floors = tuple(
        replace(limit, at_least=0.5) if limit.reference is not None else limit
        for limit in held.limits
    )
    gate = Gate(held=Limits(limits=floors, calibrations=held.calibrations), planned={ID: 1})

    assert judge_result(result_of([0.4]), gate).name == "regressed"
    assert judge_result(result_of([0.6]), gate).name == "inconclusive"


def test_last_case_decides_at_its_step():
    """Once all cases have ended, one that was undecided among twenty is judged at Holm's step,
    and is red only then."""
    ids = [f"test_small[{letter}]" for letter in "abcdefghijklmnopqrst"]
    runs = [run for id in ids for run in reference_runs(40, id=id)]
    held = limits_from(runs)
    gate = Gate(held=held, planned=dict.fromkeys(ids, 5))
    results = [result_of(typical(5, 0.4, 0.02), id=id) for id in ids[:-1]]
    drops = (0.03 + 0.002 * step for step in range(50))
    last = next(
        result
        for drop in drops
        if (result := result_of(typical(5, 0.7 - drop, 0.02), id=ids[-1]))
        and judge_result(result, gate).name == "inconclusive"
        and judge_result(result, gate, divided=1).name == "regressed"
    )
    verdicts = judge_all([*results, last], gate)

    assert verdicts[ids[-1]].name == "regressed"
