"""Intervals and tests, held against SciPy's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy import stats

from pytest_amlnn.statistics import (
    chance_of_so_few,
    chance_of_so_low,
    chance_of_so_many,
    spread,
    spread_of_ratios,
    t_quantile,
    wilson,
)

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8)
SHARES = st.floats(0, 1)
TRIALS = st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(values=VALUES)
def test_interval_is_students(values):
    """Mean, standard deviation and interval over the seeds are SciPy's."""
    assume(np.std(values) > 1e-6)
    found = spread(values)
    sem = stats.sem(values)
    wanted = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=sem)

    assert found.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert found.sd == pytest.approx(np.std(values, ddof=1))
    assert (found.low, found.high) == pytest.approx(wanted, rel=1e-6, abs=1e-6)


@given(values=st.lists(st.floats(-1e100, 1e100), min_size=2, max_size=8))
def test_interval_contains_the_mean(values):
    """low <= mean <= high, for large and small numbers alike."""
    found = spread(values)

    assert found.low <= found.mean <= found.high
    assert found.runs == tuple(values)


@given(values=st.lists(SHARES, min_size=1, max_size=6), tests=st.none() | st.integers(1, 10**6))
def test_share_stays_a_share(values, tests):
    """Mean and interval of accuracies lie in 0..1."""
    found = spread(values, low=0.0, high=1.0, tests=tests)
    known = [end for end in (found.low, found.mean, found.high) if end is not None]

    assert min(known) >= 0
    assert max(known) <= 1


POSITIVE = st.lists(st.floats(1e-9, 1e9) | st.just(0.0), min_size=1, max_size=8)


@given(values=POSITIVE)
@example(values=[1.2, 4.0])
@example(values=[0.0, 0.0, 1.0])
def test_interval_of_what_is_positive_is_positive(values):
    """Whatever seconds or errors came out, their interval lies above 0, and holds the mean."""
    found, free = spread(values, low=0.0), spread(values)
    ends = () if found.low is None else (found.low, found.high)

    assert found.mean == free.mean
    assert all(0 < end < math.inf or max(values) == 0 for end in ends)
    assert len(values) == 1 or ends[0] <= found.mean <= ends[1]


@given(center=st.floats(0.1, 1e6), deviation=st.floats(0, 0.002), count=st.integers(3, 8))
def test_interval_of_what_varies_little_is_students(center, deviation, count):
    """Far from 0 the log scale makes no difference: the interval is Student's, to a percent."""
    values = [center * (1 + deviation * (-1) ** i) for i in range(count)]
    found, free = spread(values, low=0.0), spread(values)

    assert found.high - found.mean == pytest.approx(free.high - free.mean, rel=0.02, abs=1e-9)
    assert found.mean - found.low == pytest.approx(free.mean - free.low, rel=0.02, abs=1e-9)


def test_interval_of_what_is_positive_holds_the_mean_as_often_as_it_says():
    """Of 2,000 times three log-normal times, 95 % of the intervals hold the true mean."""
    random = np.random.default_rng(0)
    drawn = np.exp(0.3 * random.standard_normal((2000, 3)))
    found = [spread(row, low=0.0) for row in drawn.tolist()]
    held = np.mean([s.low <= math.exp(0.3**2 / 2) <= s.high for s in found])

    assert held == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("values", [[-1.0, 2.0], [-1.0]])
def test_value_that_cannot_be_leaves_no_interval(values):
    """A damaged record's value outside of the bounds has a mean and no interval."""
    found = spread(values, low=0.0, high=1.0, tests=10)

    assert found.mean == pytest.approx(sum(values) / len(values))
    assert found.low is found.high is None


RATIOS = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=6)


@given(values=RATIOS)
def test_inverse_ratios_have_the_inverse_interval(values):
    """Which side is divided by which does not matter: mean and interval are inverted."""
    found = spread_of_ratios(values)
    inverse = spread_of_ratios([1 / value for value in values])

    assert found.mean == pytest.approx(1 / inverse.mean)
    if len(values) > 1:
        assert (found.low, found.high) == pytest.approx((1 / inverse.high, 1 / inverse.low))
        assert 0 < found.low <= found.mean <= found.high


@given(values=st.lists(st.floats(allow_nan=True, allow_infinity=True) | st.none(), max_size=4))
@pytest.mark.parametrize("bounds", [{}, {"low": 0.0}, {"low": 0.0, "high": 1.0, "tests": 9}])
def test_nothing_infinite_comes_out(values, bounds):
    """Of any numbers, infinite ones too, mean, deviation and ends are finite or not known."""
    positive = [value if value and value > 0 else None for value in values]
    for found in (spread(values, **bounds), spread_of_ratios(positive)):
        known = (found.mean, found.sd, found.low, found.high, *found.runs)

        assert all(value is None or math.isfinite(value) for value in known)


def test_interval_of_other_numbers_is_not_cut():
    """The interval of a difference may reach below zero, where the seeds disagree so much."""
    assert spread([0.1, 2.0]).low < 0


def test_equal_values_have_no_width():
    """Seeds that agree leave an interval of one point."""
    found = spread([0.25] * 3)

    assert (found.sd, found.low, found.high) == (0, 0.25, 0.25)


def test_order_of_the_runs_does_not_matter():
    """Sums are exact, so sorted and unsorted values agree to the last bit."""
    values = [1e16, 1.0, -1e16, 3.0]

    assert spread(values).mean == spread(sorted(values)).mean == 1.0


@pytest.mark.parametrize("values", [[], [None], [0.5, None], [None, 0.5, 0.6]])
def test_unknown_value_leaves_all_open(values):
    """Where a run has no value there is no mean, and the runs are kept as they are."""
    found = spread(values, low=0.0, high=1.0, tests=100)

    assert found.mean is found.sd is found.low is found.high is None
    assert found.runs == tuple(values)


def test_one_value_has_a_mean_alone():
    """One seed says nothing of the spread over seeds."""
    found = spread([0.5])

    assert found.mean == 0.5
    assert found.sd is found.low is found.high is None


def test_one_share_has_wilsons_interval():
    """One accuracy is as sure as its test examples make it, and has no deviation."""
    found = spread([0.5], low=0.0, high=1.0, tests=100)

    assert (found.low, found.high) == wilson(0.5, 100)
    assert found.sd is None


def test_more_seeds_take_students_interval():
    """Over several seeds the test examples no longer count."""
    assert spread([0.5, 0.6], tests=100) == spread([0.5, 0.6])


@given(trials=TRIALS)
def test_interval_of_a_share_is_wilsons(trials):
    """The interval is the one of SciPy's binomial test."""
    hits, count = trials
    wanted = stats.binomtest(hits, count).proportion_ci(method="wilson")

    assert wilson(hits / count, count) == pytest.approx(tuple(wanted), abs=1e-9)


@given(trials=TRIALS)
def test_share_lies_in_its_interval(trials):
    """No hits and all hits included, the interval holds the share and stays in 0..1."""
    hits, count = trials
    low, high = wilson(hits / count, count)

    assert 0 <= low <= hits / count <= high <= 1


@pytest.mark.parametrize("freedom", [1, 2, 5, 100])
def test_quantile_is_students(freedom):
    """The 95 % quantile on both sides is SciPy's."""
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom))


@given(trials=TRIALS, probability=st.floats(0.001, 0.999))
def test_chance_of_so_few_is_binomial(trials, probability):
    """The chance is the p value of SciPy's one-sided binomial test."""
    hits, count = trials
    wanted = stats.binomtest(hits, count, probability, alternative="less").pvalue

    assert chance_of_so_few(hits, count, probability) == pytest.approx(wanted, rel=1e-6)


@given(trials=TRIALS, probability=st.floats(0.001, 0.999))
def test_chance_of_so_many_is_binomial(trials, probability):
    """The chance is the p value of SciPy's other one-sided binomial test."""
    hits, count = trials
    wanted = stats.binomtest(hits, count, probability, alternative="greater").pvalue

    assert chance_of_so_many(hits, count, probability) == pytest.approx(wanted, abs=1e-9)


def test_all_hits_are_never_too_few():
    """At most all of the trials is certain, and so is at least none."""
    assert chance_of_so_few(10, 10, 0.5) == 1
    assert chance_of_so_many(0, 10, 0.5) == 1


@given(values=st.lists(st.floats(-100, 100), min_size=2, max_size=30))
def test_chance_of_so_low_is_students(values):
    """The chance is the p value of SciPy's one-sided t test."""
    assume(np.std(values) > 1e-6)
    wanted = stats.ttest_1samp(values, 0, alternative="less").pvalue

    assert chance_of_so_low(values) == pytest.approx(wanted, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(("value", "chance"), [(-1.0, 0), (0.0, 1), (1.0, 1)])
def test_equal_differences_leave_no_doubt(value, chance):
    """Differences that are all the same are below zero, or they are not."""
    assert chance_of_so_low([value] * 5) == chance


def test_numbers_too_large_to_square_have_no_spread():
    """The mean of huge values is known, their deviation is not; nothing is raised."""
    found = spread([1e200, -1e200, 3e200])

    assert found.mean == pytest.approx(1e200)
    assert found.sd is found.low is found.high is None
