"""Bounds on the difference to a reference, and how often they are wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_amlnn.gates.bounds import (
    FAMILY,
    bounds_of,
    chance_of_drop,
    chance_of_gain,
    fewest_seeds,
    least_gain,
    levels,
    lower_bound,
    margin_told_by,
    one_sided,
    seeds_needed,
    typical,
    upper_bound,
    weights_of_failures,
)
from pytest_amlnn.gates.gate import looks, step_down
from pytest_amlnn.gates.reference import Reference, reference_of
from pytest_amlnn.statistics import wilson

REFERENCE = Reference(mean=0.7, sd=0.02, n=20, freedom=19)
LEVEL = levels(1).drop
NUMBERS = st.lists(st.floats(0.5, 0.9), min_size=1, max_size=8)


# references


def test_reference_of_one_machine_is_mean_and_deviation():
    """Runs of one machine give their mean and sample deviation."""
    values = [0.70, 0.71, 0.72, 0.69]
    found = reference_of([values])

    assert (found.mean, found.n, found.freedom) == (pytest.approx(0.705), 4, 3)
    assert found.sd == pytest.approx(np.std(values, ddof=1))
    assert (found.failed, found.soared, found.sd_machines) == (0, 0, 0.0)


def test_run_far_from_the_others_failed_by_itself():
    """A net that stayed at chance with one seed of twenty is counted, and moves no mean."""
    usual = [*typical(19, 0.7, 0.02)]
    found = reference_of([[*usual, 0.1]])

    assert (found.failed, found.soared, found.n) == (1, 0, 19)
    assert found.mean == pytest.approx(np.mean(usual))
    assert reference_of([[*usual, 1.3]]).soared == 1


def test_few_runs_have_no_outliers():
    """Of fewer than ten runs nobody can say that one is of another kind."""
    assert reference_of([[0.7, 0.7, 0.7, 0.1]]).failed == 0


def test_machines_that_differ_widen_the_error():
    """On a machine of which nothing is known, the spread between machines counts as well; on
    one that is known, its own runs are the reference."""
    first, second = typical(10, 0.70, 0.01), typical(10, 0.76, 0.01)
    elsewhere = reference_of([first, second])
    here = reference_of([first, second], here=1)

    assert elsewhere.mean == pytest.approx(0.73)
    assert elsewhere.sd_machines > 0.03
    assert elsewhere.error(3) > 3 * here.error(3)
    assert (here.mean, here.n, here.sd_machines) == (pytest.approx(0.76), 10, 0.0)
    assert here.freedom == 18  # both machines say how seeds vary


@pytest.mark.parametrize("machines", [2, 3, 4])
@pytest.mark.parametrize("apart", [0.0, 0.02, 0.06])
def test_unknown_machine_is_seldom_called_worse(machines, apart):
    """However much machines differ, one more of their kind is below the bound no more often
    than the level says: that is known from as many means as there are machines."""
    rng = np.random.default_rng(machines)

    def below() -> bool:
        means = rng.normal(0.7, apart, machines + 1) if apart else [0.7] * (machines + 1)
        *known, new = (rng.normal(mean, 0.02, 20) for mean in means)
        reference = reference_of([[*values] for values in known])
        away = float(np.mean(new[:8])) - reference.mean
        return one_sided(away, reference.error(8), reference.freedom) < 0.01

    assert sum(below() for _ in range(1000)) <= 20


def test_more_seeds_are_asked_for_than_can_all_fail():
    """Where all seeds may have failed by themselves, as far as the reference tells, no drop of
    theirs is a regression; from the number that is named on, a large one is."""
    for count in (8, 20, 40):
        reference = reference_of([typical(count, 0.7, 0.02)])
        level = levels(24).drop
        fewest = fewest_seeds(reference, level)

        assert upper_bound([0.1] * (fewest - 1), reference, level) is None
        assert upper_bound([0.1] * fewest, reference, level) < -0.4
    assert fewest_seeds(reference_of([typical(20, 0.7, 0.02)]), levels(24).drop) == 3


# bounds


@given(NUMBERS, st.floats(-10, 10))
def test_bounds_move_with_the_values(values, shift):
    """What is added to all values is added to both bounds."""
    before, after = (
        bounds_of([value + by for value in values], REFERENCE, LEVEL) for by in (0.0, shift)
    )

    assert after.low == pytest.approx(before.low + shift, abs=1e-6)
    if before.high is None:
        assert after.high is None
    else:
        assert after.high == pytest.approx(before.high + shift, abs=1e-6)


@given(NUMBERS, st.floats(0.001, 1000))
def test_bounds_have_the_unit_of_the_values(values, unit):
    """In another unit the bounds are the same, in that unit."""
    scaled = replace(REFERENCE, mean=REFERENCE.mean * unit, sd=REFERENCE.sd * unit)
    before = bounds_of(values, REFERENCE, LEVEL)
    after = bounds_of([value * unit for value in values], scaled, LEVEL)

    assert after.low == pytest.approx(before.low * unit, rel=1e-6, abs=1e-6 * unit)
    if before.high is not None:
        assert after.high == pytest.approx(before.high * unit, rel=1e-5, abs=1e-6 * unit)


@given(NUMBERS, st.integers(1, 100))
def test_more_limits_widen_the_bounds(values, limits):
    """The more limits share the family's level, the less each of them says."""
    one, many = (bounds_of(values, REFERENCE, levels(n).drop) for n in (1, limits))

    assert many.low <= one.low + 1e-12
    assert one.high is None or many.high is None or many.high >= one.high - 1e-9


@given(NUMBERS)
def test_bound_is_where_the_chance_is_the_level(values):
    """The upper bound is the difference below which the runs' chance exceeds the level."""
    high = upper_bound(values, REFERENCE, LEVEL)

    if high is not None:
        assert chance_of_drop(values, REFERENCE, high) == pytest.approx(LEVEL, rel=1e-3)


@given(NUMBERS)
def test_gain_is_where_its_chance_is_the_level(values):
    """What is better by at least so much would be seen with the chance of the level, if it were
    no better than that."""
    gain = least_gain(values, REFERENCE, LEVEL)
    lower = [value - gain for value in values]

    assert chance_of_gain(lower, REFERENCE) == pytest.approx(LEVEL, rel=1e-3)


def test_one_run_can_be_too_good():
    """Nets fail by themselves, and are never far better by themselves: one run far above its
    reference says that something is wrong, unless the reference holds such runs."""
    lucky = reference_of([[*typical(20, 0.7, 0.02), 0.95]])

    assert least_gain([0.86], REFERENCE, levels(24).gain) > 0.05
    assert least_gain([0.95], lucky, levels(24).gain) is None


def test_one_seed_at_chance_proves_nothing():
    """A net may fail by itself with one seed, and a reference of twenty may hold no such run:
    three of three are another matter."""
    whole = levels(8).drop

    assert upper_bound([0.1], REFERENCE, whole) is None
    assert upper_bound([0.7, 0.7, 0.1], REFERENCE, whole) > 0
    assert upper_bound([0.1, 0.1, 0.1], REFERENCE, whole) < -0.5


def test_reference_that_holds_failed_runs_allows_for_them():
    """As many runs as failed in the reference may fail, and the others are judged."""
    failing = replace(REFERENCE, failed=2)
    one_failed = [0.70, 0.71, 0.69, 0.70, 0.1]

    assert lower_bound(one_failed, REFERENCE, LEVEL) < -0.2
    assert lower_bound(one_failed, failing, LEVEL) > -0.05
    assert upper_bound(one_failed, failing, LEVEL) > 0
    assert upper_bound([0.1] * 5, failing, LEVEL) < 0


def test_chances_of_failures_add_up():
    """The chances of no, one, ... all runs that fail by themselves are a distribution."""
    for runs, failed in ((1, 0), (3, 0), (7, 2)):
        assert math.fsum(weights_of_failures(runs, failed, 20)) == pytest.approx(1.0)


# margins and seeds


@pytest.mark.parametrize("count", [1, 3, 5, 20])
def test_margin_is_what_seeds_tell(count):
    """Runs that lie an unlucky bit below the reference pass with the margin that they tell."""
    whole = levels(24).drop
    margin = margin_told_by(count, REFERENCE, whole)
    unlucky = typical(count, REFERENCE.mean - 1.6 * REFERENCE.error(count), REFERENCE.sd)

    assert lower_bound(unlucky, REFERENCE, whole) > -margin * 1.02
    assert margin < margin_told_by(max(1, count // 2), REFERENCE, whole) or count == 1


@pytest.mark.parametrize("drop", [0.0, 0.02, 0.05, 0.08])
def test_seeds_that_are_asked_for_decide(drop):
    """With as many seeds as a verdict asks for, runs like those at hand are decided."""
    whole, margin = levels(24).drop, 0.06
    values = typical(2, REFERENCE.mean - drop, REFERENCE.sd)
    needed = seeds_needed(values, REFERENCE, margin, whole)
    if needed is None:  # close to half of the margin, twenty runs of a reference are too few
        assert drop == 0.02 or margin / 4 < drop < margin
        return
    later = typical(needed, REFERENCE.mean - drop, REFERENCE.sd)
    found = bounds_of(later, REFERENCE, whole)

    assert found.low > -margin or found.high < 0


def test_no_number_of_seeds_outweighs_a_small_reference():
    """Where the reference itself is too uncertain, no seeds are asked for."""
    small = replace(REFERENCE, n=3, freedom=2)

    assert seeds_needed([0.69], small, 0.01, levels(24).drop) is None


def test_looks_double_up_to_the_most():
    """A case is judged with twice as many seeds each time, and with all that it may have."""
    assert looks(1, 5) == [1, 2, 4, 5]
    assert looks(3, 3) == [3]
    assert looks(3, 2) == [3]
    assert looks(3, None) == [3]


@given(st.lists(st.floats(0, 5), max_size=12))
def test_steps_are_those_of_holm(chances):
    """Each rejected chance frees its share for those that follow, and the first that is not
    ends it; `chances` are over the level of one of all."""
    family = max(len(chances), 1)
    divided = step_down(chances, family, family)
    rejected = {i for i, c in enumerate(chances) if c * divided[i] / family <= 1}

    plain = set()
    for rank, i in enumerate(sorted(range(len(chances)), key=lambda i: chances[i])):
        if chances[i] / family > 1 / (family - rank):
            break
        plain.add(i)
    assert rejected == plain
    assert all(1 <= d <= family for d in divided)


# how often they are wrong


def drawn(kind: str, rng: np.random.Generator, count: int) -> list[float]:
    """Give the results of an unchanged net."""
    values = rng.normal(0.7, 0.025, count)
    if kind == "fails at times":
        values = np.where(rng.random(count) < 0.05, 0.1, values)
    if kind == "heavy tails":
        values = 0.7 + 0.025 * rng.standard_t(3, count)
    if kind == "skewed":
        values = 0.7 - 0.018 * rng.gamma(2, 1, count)
    return [float(value) for value in values]


@pytest.mark.parametrize("kind", ["normal", "fails at times", "heavy tails", "skewed"])
@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_unchanged_nets_are_seldom_red(kind, seeds):
    """Of suites of six unchanged cases, each with a reference of its own, no more than 1 % have
    a red one, however their results are distributed."""
    rng, suites, limits = np.random.default_rng(seeds), 600, 6
    mine = levels(limits)

    def is_red() -> bool:
        reference, new = reference_of([drawn(kind, rng, 20)]), drawn(kind, rng, seeds)
        drop = chance_of_drop(new, reference) <= mine.drop
        turned = [-value for value in new]
        return drop or chance_of_drop(turned, reference.turned()) <= mine.gain

    red = sum(any(is_red() for _ in range(limits)) for _ in range(suites))

    assert wilson(red / suites, suites)[0] <= FAMILY
