"""What a change is worth: verdicts, bounds, and how often they are wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import polygamma
from simulated_effects import ROWS, false_tables, found
from small_facts import runs_of
from small_improvements import BASE, BETTER, WORSE, improvement, judged
from small_runs import small_epoch

from pytest_amlnn import Run
from pytest_amlnn.effects import Effect, effects_of
from pytest_amlnn.gates.gate import looks_of_improvements
from pytest_amlnn.improvements import Worth, judge
from pytest_amlnn.result import Result, gather
from pytest_amlnn.statistics import MOST_BORROWED, inverse_trigamma, moderation, wilson

BASES = runs_of("base", BASE)
VALUES = st.floats(0.45, 0.9)
"""Above chance."""
TABLES = st.lists(st.lists(VALUES, min_size=3, max_size=3), min_size=1, max_size=6)
"""Values of changes, of three seeds each."""
BROKEN = {"status": "diverged", "reason": "the loss of epoch 2 is not a finite number"}


def worth_of(values: Sequence[float | None], **changes: object) -> Worth:
    """Return what the only change of a base is worth."""
    return judged(BASES, improvement("it", values, **changes))["it"]


@cache
def some_run(change: str) -> Run:
    """Return a run of a case, with whatever value."""
    runs = improvement(change, [0.5]) if change else runs_of("base", [0.5])
    return runs[0]


def result_of(change: str, values: Sequence[float], order: Sequence[int] = ()) -> Result:
    """Return the runs of a change, or of the base, with values by seed, in whatever order."""
    run = some_run(change)
    runs = [
        replace(run, seed=seed, metrics={**run.metrics, "test_accuracy": value})
        for seed, value in enumerate(values)
    ]
    return Result(id=run.id, runs=tuple(runs[i] for i in order or range(len(runs))))


def table(rows: Sequence[Sequence[float]], base: Sequence[float] = BASE) -> list[Worth]:
    """Return what changes with these values are worth."""
    bases = result_of("", base)
    return judge(
        [Effect(case=result_of(f"c{i}", row), base=bases) for i, row in enumerate(rows)]
    )


# verdicts


def test_change_that_changes_nothing_is_identical():
    """The same bits with every seed are no matter of chance, and of no others' level."""
    worths = judged(
        BASES, improvement("nothing", BASE), improvement("much", [v + 0.1 for v in BASE])
    )
    alone = worth_of([v + 0.1 for v in BASE])

    assert worths["nothing"].verdict == "identical"
    assert (worths["nothing"].difference, worths["nothing"].small) == (0.0, True)
    assert worths["much"].adjusted == alone.adjusted


def test_other_bits_are_not_identical():
    """Equal values of the metric do not make equal runs: they are too small a change."""
    other = {"epochs": (small_epoch(gradient_norm=3.0),) * 4}
    worth = judged(runs_of("base", BASE * 2), improvement("it", BASE * 2, **other))["it"]

    assert worth.verdict == "not distinguishable"
    assert worth.small
    assert worth.chance == 1.0


@pytest.mark.parametrize(("values", "verdict"), [(BETTER, "helps"), (WORSE, "hurts")])
def test_change_helps_or_hurts(values, verdict):
    """What chance does not make is named by its direction, with bounds that leave out 0."""
    worth = worth_of(values)

    assert worth.verdict == verdict
    assert worth.difference == pytest.approx(sum(values) / 3 - sum(BASE) / 3)
    assert worth.low * worth.high > 0
    assert worth.adjusted < 0.05


@pytest.mark.parametrize("first", [BETTER[0], None])
def test_change_that_diverges_hurts(first):
    """A run that diverged has no value to compare: that is the verdict, with its reason."""
    good, bad = improvement("it", [first, 0.9, 0.9]), improvement("it", [None] * 3, **BROKEN)
    worth = judged(BASES, [good[0], *bad[1:]] if first else bad)["it"]

    assert worth.verdict == "hurts"
    assert worth.difference is worth.low is worth.chance is None
    assert worth.why.startswith(f"{2 if first else 3} of 3 runs diverged: seed ")
    assert worth.why.endswith(BROKEN["reason"])


def test_change_that_ends_at_chance_hurts():
    """Nets that guess hurt, where the base's do not, even if seeds differ too much for a test:
    here by so much that a table of a hundred would not tell."""
    changes = {"baselines": {"chance": 1 / 3}}
    at_chance = improvement("it", (0.34, 0.30, 0.33), **changes)
    base = runs_of("base", (0.5, 0.9, 0.7), **changes)
    worth = judged(base, at_chance, family=100)["it"]
    better = judged(base, improvement("it", (0.44, 0.30, 0.33), **changes), family=100)["it"]

    assert worth.verdict == "hurts"
    assert worth.adjusted > 0.05
    assert worth.low is None
    assert worth.why.startswith("at chance with every seed")
    assert better.verdict == "not distinguishable"


def test_lower_may_be_better():
    """Of an error, less helps, and the difference is above 0."""
    losses = {"task": "forecast", "name": "efficiency", "metrics": {"test_mse": 2.0}}
    base = runs_of("base", (0.5, 0.5, 0.5), **losses)
    better = improvement("it", (0.1, 0.1, 0.1), **losses)
    for run in (*base, *better):
        for metric in run.task["metrics"]:
            metric["better"] = "lower" if metric["name"] == "efficiency" else "neither"
    worth = judged(base, better)["it"]

    assert worth.verdict == "helps"
    assert worth.difference == pytest.approx(0.4)


# what cannot be compared


@pytest.mark.parametrize(
    ("base", "change", "why"),
    [
        (runs_of("base", BASE, **BROKEN), {}, "its base diverged with seed 0"),
        (BASES[:2], {}, "its base has no run with seed 2"),
        (BASES, {"status": "oom"}, "oom with seed 0"),
        (BASES, {"status": "implausible"}, "implausible with seed 0"),
        (BASES, {"metrics": {"test_accuracy": None}}, "not every run has a test_accuracy"),
        (BASES, {"metrics": {"test_accuracy": 1e99}}, "not every run has a test_accuracy"),
    ],
)
def test_what_cannot_be_compared_says_why(base, change, why):
    """A failed base, a seed without a partner or a lost value leave no verdict but a reason."""
    worth = judged(base, improvement("it", BETTER, **change))["it"]

    assert worth.verdict == "not comparable"
    assert why in worth.why
    assert worth.difference is worth.low is worth.adjusted is None


def test_missing_seed_is_never_dropped():
    """A change that lacks a seed that was planned is not compared by the others."""
    results = gather([*BASES, *improvement("it", BETTER)])
    (effect,) = effects_of(results, lacking={"test_improvement[it-base]": [3, 4]})
    (worth,) = judge([effect])

    assert worth.verdict == "not comparable"
    assert worth.why == "no run with seed 3 and 1 more"


def test_seeds_that_the_base_alone_has_do_not_matter():
    """A base may have been trained with more seeds: those of the change are compared."""
    base = [*BASES, *runs_of("base", [0.1], first=3, **BROKEN)]
    worth = judged(base, improvement("it", BETTER))["it"]

    assert worth == replace(worth_of(BETTER), effect=worth.effect)
    assert worth.effect.base_mean == pytest.approx(sum(BASE) / 3)


def test_improvement_without_its_base_has_no_effect():
    """Where the base has no run at all there is nothing to compare with."""
    assert judged(improvement("it", BETTER)) == {}


# what is open


def test_small_is_told_from_few_seeds():
    """Bounds within what matters decide; others say how many seeds would."""
    base = runs_of("base", BASE * 2)
    shifts = {"small": 0.0005, "unsure": 0.01}
    changes = [
        improvement(name, [v + shift * (i % 3 - 1) for i, v in enumerate(BASE * 2)])
        for name, shift in shifts.items()
    ]
    worths = judged(base, *changes)
    small, unsure = worths["small"], worths["unsure"]

    assert small.verdict == unsure.verdict == "not distinguishable"
    assert (small.small, small.needs_seeds) == (True, None)
    assert not unsure.small
    assert unsure.needs_seeds > 6
    assert max(-small.low, small.high) < 0.01 < max(-unsure.low, unsure.high)


def test_two_seeds_tell_nothing():
    """It takes three seeds to know how much they differ."""
    worth = judged(BASES, improvement("it", BETTER[:2]))["it"]

    assert worth.verdict == "not distinguishable"
    assert (worth.needs_seeds, worth.low) == (3, None)
    assert "2 seeds" in worth.why


def alike(values: Sequence[float], count: int) -> list[float]:
    """Return so many values with the mean and the standard deviation of a few."""
    mean, sd = np.mean(values), np.std(values, ddof=1)
    more = np.linspace(-1, 1, count)
    return list(mean + more / np.std(more, ddof=1) * sd)


@pytest.mark.parametrize("differences", [(0.01, 0.05, 0.03), (0.002, 0.03, -0.02)])
def test_so_many_seeds_decide(differences):
    """With the seeds that are asked for, if they go on as these do, it is decided: no fewer."""
    (worth,) = table([[0.5 + d for d in differences]], [0.5] * 3)
    count = worth.needs_seeds
    enough, fewer = (
        table([[0.5 + d for d in alike(differences, n)]], [0.5] * n)[0]
        for n in (count, count - 1)
    )

    assert worth.is_open
    assert not enough.is_open
    assert fewer.is_open


# all together


@given(TABLES, st.permutations(range(3)))
def test_order_of_seeds_and_rows_says_nothing(rows, order):
    """Whatever comes first, each change has the same verdict, bounds and chance."""
    bases, shuffled = result_of("", BASE), result_of("", BASE, order)
    effects = [Effect(case=result_of(f"c{i}", row), base=bases) for i, row in enumerate(rows)]
    others = [
        Effect(case=result_of(f"c{i}", row, order[::-1]), base=shuffled)
        for i, row in enumerate(rows)
    ]
    expected, turned = judge(effects), judge(others[::-1])[::-1]

    assert [w.verdict for w in turned] == [w.verdict for w in expected]
    for name in ("difference", "low", "high", "chance", "adjusted"):
        found = [getattr(worth, name) for worth in turned]
        assert found == pytest.approx([getattr(worth, name) for worth in expected])


@given(TABLES)
def test_swapped_sides_are_mirrored(rows):
    """What helps a base hurts as a base, with the bounds turned round."""
    bases = result_of("", BASE)
    cases = [result_of(f"c{i}", row) for i, row in enumerate(rows)]
    there = judge([Effect(case=case, base=bases) for case in cases])
    back = judge([Effect(case=with_change(bases), base=case) for case in cases])
    mirrored = {"helps": "hurts", "hurts": "helps"}

    assert [w.verdict for w in back] == [mirrored.get(w.verdict, w.verdict) for w in there]
    assert [-w.high for w in back] == pytest.approx([w.low for w in there])
    assert [w.chance for w in back] == pytest.approx([w.chance for w in there])


def with_change(result: Result) -> Result:
    """Return a base as if it were a change itself."""
    case = {**result.case, "improvement": {"name": "back", "base": "x", "advice": ""}}
    return replace(result, runs=tuple(replace(run, case=case) for run in result.runs))


@given(TABLES, st.integers(1, 40), st.lists(st.integers(1, 4), min_size=6, max_size=6))
def test_bounds_leave_out_no_difference_where_there_is_one(rows, family, looks):
    """0 lies between the bounds unless a change helps or hurts, whatever the others do, and
    Holm's adjusted chance says the same."""
    bases = result_of("", BASE)
    effects = [
        Effect(case=result_of(f"c{i}", row), base=bases, looks=count)
        for i, (row, count) in enumerate(zip(rows, looks, strict=False))
    ]
    for worth in judge(effects, family=family):
        decided = worth.verdict in ("helps", "hurts")

        assert (worth.low > 0 or worth.high < 0) == decided
        assert (worth.adjusted is not None and worth.adjusted < 0.05) == decided


def test_planned_changes_share_the_level():
    """Those that were not trained, or failed, count; so does each time that one is judged."""
    values = [v + 0.03 for v in BASE[:2]] + [BASE[2] + 0.034]
    alone, among = (judged(BASES, improvement("it", values), family=n)["it"] for n in (1, 40))
    (effect,) = effects_of(
        gather([*BASES, *improvement("it", values)]), looks={"test_improvement[it-base]": 40}
    )
    (often,) = judge([effect])

    assert (alone.verdict, among.verdict) == ("helps", "not distinguishable")
    assert among.chance == alone.chance
    assert among.adjusted == pytest.approx(40 * alone.adjusted)
    assert (often.low, often.adjusted) == pytest.approx((among.low, among.adjusted))


def test_plan_says_how_often_each_is_judged():
    """Improvements that are skipped are not tried; seeds double until --amlnn-max-repeats."""
    plan = {
        "options": {"max_repeats": 10},
        "cases": [
            {"id": "base", "seeds": [0, 1, 2], "repeats": 3, "skip": None, "base": None},
            {"id": "a", "seeds": [0, 1, 2], "repeats": 3, "skip": None, "base": "base"},
            {"id": "b", "seeds": [*range(10)], "repeats": 10, "skip": None, "base": "base"},
            {"id": "c", "seeds": [0], "repeats": 1, "skip": "no data", "base": "base"},
        ],
    }

    assert looks_of_improvements(plan) == {"a": 3, "b": 1}
    assert looks_of_improvements({**plan, "options": {}}) == {"a": 1, "b": 1}


# costs


def test_costs_are_ratios():
    """Training time and operations are those of the change over those of its base."""
    base = runs_of("base", BASE, metrics={"train_seconds": 2.0})
    longer = improvement(
        "it", BETTER, metrics={"train_seconds": 5.0}, epochs=(small_epoch(steps=4),) * 6
    )
    effect = judged(base, longer)["it"].effect

    assert effect.seconds == pytest.approx(2.5)
    assert effect.operations == pytest.approx(3.0)
    assert effect.changed == {}


@pytest.mark.parametrize("side", ["base", "change"])
def test_contended_times_say_nothing(side):
    """Where either shared the machine there is no ratio of times; operations are counted."""
    base = runs_of("base", BASE, contended=side == "base")
    effect = judged(base, improvement("it", BETTER, contended=side == "change"))["it"].effect

    assert effect.seconds is None
    assert effect.operations == pytest.approx(1.0)


@pytest.mark.parametrize("together", [1, 10])
def test_times_of_other_numbers_at_once_say_nothing(together):
    """Seeds that are trained at once share its time: both sides have to, for a ratio."""
    base = runs_of("base", BASE, metrics={"train_seconds": 2.0}, together=10)
    change = improvement("it", BETTER, metrics={"train_seconds": 4.0}, together=together)
    effect = judged(base, change)["it"].effect

    assert effect.seconds == (pytest.approx(2.0) if together == 10 else None)


def test_operations_of_other_layers_say_nothing():
    """Where another share of the layers is trained, backward passes differ: times may tell."""
    base = runs_of("base", BASE, recipe={"trained": "head"}, metrics={"train_seconds": 2.0})
    change = improvement(
        "it", BETTER, recipe={"trained": "all"}, metrics={"train_seconds": 6.0}
    )
    effect = judged(base, change)["it"].effect

    assert effect.operations is None
    assert effect.seconds == pytest.approx(3.0)


def test_changed_fields_are_named():
    """Each field that differs stands there with both of its values, of the code no digests."""
    effect = judged(BASES, improvement("it", BETTER, recipe={"epochs": 9}))["it"].effect

    assert effect.changed == {"recipe.epochs": (4, 9)}


# how often they are wrong


@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize(
    "deviations", ["equal", "from 1 to 10", "half 1, half 10", "one is 10"]
)
def test_equals_are_told_apart_as_rarely_as_said(deviations, seeds):
    """Of tables of 30 changes that do nothing one in twenty names any, whether seeds differ
    alike in all rows or by a factor of ten: as far as 1,000 tables tell.
    tests/simulated_effects.py has more."""
    wrong = false_tables(deviations, seeds, "reports", tables=1000)

    assert wilson(wrong / 1000, 1000)[0] <= 0.05


def test_simulation_finds_a_rule_that_is_wrong():
    """The variances of Smyth 2004 as they are fail where one row differs more than others."""
    wrong = false_tables("one is 10", 3, "Smyth 2004", tables=1000)

    assert wilson(wrong / 1000, 1000)[0] > 0.05


def test_other_rows_help_three_seeds():
    """A change of four deviations among thirty is found at least three times as often as by
    Student's t alone."""
    with_others, alone = (found(4.0, 3, name, tables=500) for name in ("reports", "t alone"))

    assert with_others > 3 * alone
    assert with_others > 200


@given(st.floats(1e-6, 1e6))
def test_inverse_of_trigamma(value):
    """The trigamma function gives back what it was inverted from."""
    assert polygamma(1, inverse_trigamma(value)) == pytest.approx(value, rel=1e-6)


@given(st.floats(-30, 30), st.integers(2, 20))
def test_equal_variances_lend_what_may_be_lent(log, freedom):
    """Groups that agree have their variance in common; fewer than four tell nothing."""
    variance = math.exp(log)
    prior = moderation([(variance, freedom)] * ROWS)
    few = moderation([(variance, freedom)] * 3)

    assert prior.freedom == MOST_BORROWED
    assert few.moderated(variance, freedom) == (pytest.approx(variance), freedom)


@given(st.lists(st.floats(1e-6, 1e6), min_size=4, max_size=20), st.integers(2, 9))
@settings(max_examples=50)
def test_variance_lies_between_its_own_and_the_others(variances, freedom):
    """A group's variance is drawn towards what all have in common, and never beyond it."""
    prior = moderation([(variance, freedom) for variance in variances])
    for variance in variances:
        found, freedoms = prior.moderated(variance, freedom)
        ends = sorted([variance, prior.variance])

        assert ends[0] * (1 - 1e-9) <= found <= ends[1] * (1 + 1e-9)
        assert freedom <= freedoms <= freedom + MOST_BORROWED
