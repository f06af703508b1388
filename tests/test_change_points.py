"""Steps in sequences, found by a test of stated chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_histories import false_reports, found_right

from pytest_amlnn.report.change_points import (
    Drifting,
    Shuffled,
    largest_step,
    normalised,
    sizes_of,
    steps,
)

LEVEL = 0.01


def groups(*levels: tuple[int, float], seeds: int = 3, seed: int = 0) -> list[list[float]]:
    """Give sweeps of so many seeds: how many, and at which level, with noise of deviation 1."""
    rng = np.random.default_rng(seed)
    return [
        (level + rng.normal(size=seeds)).tolist()
        for count, level in levels
        for _ in range(count)
    ]


def places(found) -> list[int]:
    return [step.place for step in found]


def test_step_is_found_where_it_is():
    """One step of five deviations is found, between the right sweeps, and no other."""
    assert places(steps(groups((7, 0.0), (5, 5.0)), Shuffled(), LEVEL)) == [7]


def test_several_steps_are_found():
    """Both sides of a step are searched again; steps come in order of time."""
    found = steps(groups((8, 0.0), (8, 6.0), (8, -4.0)), Shuffled(), LEVEL)

    assert places(found) == [8, 16]
    assert all(0 < step.chance <= LEVEL for step in found)


def test_sweeps_may_have_other_numbers_of_seeds():
    """Each run counts once, however many of them a sweep has."""
    uneven = [group[: 1 + i % 3] for i, group in enumerate(groups((8, 0.0), (8, 6.0)))]

    assert places(steps(uneven, Shuffled(), LEVEL)) == [8]


def test_one_failed_run_is_no_step():
    """A run that fails by itself in the last sweep does not make a step of it."""
    values = groups((12, 0.0))
    values[-1][0] -= 50

    assert steps(values, Shuffled(), LEVEL) == []


def test_few_slow_sweeps_are_no_step_in_times():
    """Three busy hours at the end say nothing; four that all lie apart do."""
    times = [group[:1] for group in groups((14, 0.0))]
    slow = [[value + 60] for (value,) in times]

    assert steps([*times[:-3], *slow[-3:]], Drifting(), LEVEL) == []
    assert places(steps([*times[:-4], *slow[-4:]], Drifting(), LEVEL)) == [10]


def test_sides_of_a_step_in_times_lie_apart():
    """Where one sweep after the step is as fast as those before, there is no step."""
    times = [[value + 60 * (i > 6)] for i, (value, *_) in enumerate(groups((14, 0.0)))]
    assert places(steps(times, Drifting(), LEVEL)) == [7]

    times[10] = times[2]

    assert steps(times, Drifting(), LEVEL) == []


@pytest.mark.parametrize(
    ("values", "model"),
    [
        ([], Shuffled()),
        ([[1.0, 2.0]], Shuffled()),
        ([[1.0], [2.0], [3.0]], Shuffled()),
        ([[0.1 * 3]] * 9, Shuffled()),
        ([[0.1 * 3]] * 9, Drifting()),
        ([[float(i > 3)] for i in range(7)], Drifting()),
    ],
    ids=["none", "one", "few", "equal", "equal times", "few times"],
)
def test_nothing_can_be_found(values, model):
    """Few values, or equal ones, have no step and are no error."""
    assert steps(values, model, LEVEL) == []


def test_chance_is_that_of_all_orders():
    """Of two sweeps of two runs, two of the six ways to divide them are as extreme."""
    place, chance = largest_step([[0.0, 1.0], [5.0, 7.0]], Shuffled(), 1e-4)

    assert place == 1
    assert chance == pytest.approx(1 / 3, abs=0.2)
    assert Shuffled().least([[0.0, 1.0], [5.0, 7.0]]) == 1 / 6


VALUES = st.lists(
    st.lists(st.floats(-1e100, 1e100), min_size=1, max_size=3), min_size=2, max_size=10
)


@given(VALUES)
def test_size_is_a_share_of_the_squares(values):
    """The largest step has a size of 0 to 1, whichever way it goes."""
    flat = normalised([value for group in values for value in group])
    cuts = np.cumsum([len(group) for group in values])[:-1]
    _, sizes = sizes_of(np.array([flat, -flat]), cuts, apart=False)

    assert 0 <= sizes[0] <= 1 + 1e-9
    assert sizes[0] == pytest.approx(sizes[1])


@settings(max_examples=25)
@given(VALUES, st.sampled_from([Shuffled(), Drifting()]))
def test_steps_lie_between_groups_whatever_the_values_are(values, model):
    """No values are an error, and what is found stands in order, within the level."""
    values = [group[:1] for group in values] if model == Drifting() else values
    found = steps(values, model, LEVEL)

    assert places(found) == sorted({*places(found)} & {*range(1, len(values))})
    assert all(step.chance <= LEVEL for step in found)


@pytest.mark.parametrize("kind", ["learned", "times"])
def test_unchanged_histories_have_no_steps(kind):
    """Of 20 reports of 20 unchanged cases none names a step: docs/history.md has the rates."""
    assert false_reports(kind, "normal", 12, 0.5 * (kind == "times"), reports=20) == 0


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "size"), [("learned", 3.0), ("times", 10.0)])
def test_step_is_found_nearly_always(kind, size):
    """A step of three deviations of a seed, ten of a sweep's time, is found in 12 sweeps."""
    assert found_right(kind, 12, size, 6, reports=12) >= 11
