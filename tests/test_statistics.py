"""Intervals and tests, held against SciPy's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from pytest_amlnn.statistics import (
    chance_of_so_few,
    chance_of_so_low,
    chance_of_so_many,
    spread,
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


@given(values=st.lists(st.floats(0, 1e9), min_size=1, max_size=6))
def test_positive_number_stays_positive(values):
    """An interval that ends at 0 holds the mean, and its other end stays where it was."""
    found, free = spread(values, low=0.0), spread(values)

    assert found.low == (None if free.low is None else max(free.low, 0))
    assert (found.mean, found.high) == (free.mean, free.high)


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

    assert 0 <= low <= hits / count + 1e-12
    assert hits / count - 1e-12 <= high <= 1


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
