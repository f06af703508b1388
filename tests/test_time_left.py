"""How long the rest of a sweep takes."""

from __future__ import annotations

import re

import pytest

from pytest_amlnn.store import run_file
from pytest_amlnn.time_left import Pace, announcement, clock, planned_runs, seconds_left

PLAN = {
    "cases": [
        {"id": "test[a]", "nodeid": "t.py::test[a]", "skip": None, "seeds": [0, 1]},
        {"id": "test[b]", "nodeid": "t.py::test[b]", "skip": "no data", "seeds": [0]},
        {"id": "test[c]", "nodeid": "t.py::test[c]", "skip": None, "seeds": [5]},
    ],
    "costs": {"t.py::test[a]": 3.0, "t.py::test[b]": 5.0},
}
NODEIDS = {case["nodeid"] for case in PLAN["cases"]}


def test_nothing_is_said_before_anything_is_known():
    """As long as no run has ended, nothing tells how long those take that did not begin."""
    assert seconds_left([], [1.0], Pace()) is None
    assert seconds_left([5.0], [1.0], Pace()) is None


def test_runs_to_come_take_as_long_as_their_cost_says():
    """Twice the cost takes twice the seconds, and two processes take half of them."""
    ended = Pace(cost=10.0, seconds=20.0) + Pace(cost=10.0, seconds=40.0)

    assert seconds_left([], [4.0, 6.0], ended) == 30.0
    assert seconds_left([], [4.0, 6.0], ended, at_once=2) == 15.0


def test_runs_under_way_know_their_own_time():
    """What is trained now counts with the seconds that it has left by itself."""
    assert seconds_left([12.0], [], Pace()) == 12.0
    assert seconds_left([12.0, 4.0], [8.0], Pace(cost=1.0, seconds=1.0), at_once=2) == 12.0


def test_sweep_takes_as_long_as_its_longest_run():
    """However many processes there are, one run is not divided among them."""
    assert seconds_left([100.0, 2.0], [], Pace(), at_once=8) == 100.0


def test_nothing_is_left_in_the_end():
    """A sweep without any further run is over."""
    assert seconds_left([], [], Pace()) == 0.0


def test_runs_of_the_plan_are_those_that_are_not_skipped():
    """Each seed of a case that is run is one run; what its test knows alone costs the mean."""
    runs = planned_runs(PLAN, NODEIDS)

    assert [(run.id, run.seed, run.cost) for run in runs] == [
        ("test[a]", 0, 3.0),
        ("test[a]", 1, 3.0),
        ("test[c]", 5, 4.0),
    ]


def test_runs_of_other_items_do_not_count():
    """What a sweep planned before and does not select now is not waited for."""
    assert [run.seed for run in planned_runs(PLAN, {"t.py::test[c]"})] == [5]
    assert planned_runs({**PLAN, "costs": {}}, {"t.py::test[c]"})[0].cost == 1.0


def test_run_that_is_stored_has_ended(tmp_path):
    """The run directory tells which runs are over."""
    first, second, _ = planned_runs(PLAN, NODEIDS)
    file = run_file(tmp_path, first.id, first.seed)
    file.parent.mkdir(parents=True)
    file.touch()

    assert (first.is_stored(tmp_path), second.is_stored(tmp_path)) == (True, False)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.9, "0:00"), (61.0, "1:01"), (3599.9, "59:59"), (3725.0, "1:02:05")]
)
def test_durations_are_read_like_a_clock(seconds, text):
    """Minutes and seconds, and hours where there are any."""
    assert clock(seconds) == text


def test_long_training_on_a_cpu_is_announced(tmp_path):
    """What takes hours is said before it begins, for the runs that have not ended."""
    long = {**PLAN, "costs": {"t.py::test[a]": 1e16, "t.py::test[c]": 1e16}}
    words = announcement(long, tmp_path, "cpu")
    file = run_file(tmp_path, "test[a]", 0)
    file.parent.mkdir(parents=True)
    file.touch()

    assert re.match(
        r"amlnn: up to [\d,.]+ (hours|days) of training on this CPU, for 3 runs", words
    )
    assert "for 2 runs" in announcement(long, tmp_path, "cpu")


@pytest.mark.parametrize(("cost", "device"), [(1e9, "cpu"), (1e16, "cuda"), (1e16, "mps")])
def test_nothing_is_announced_of_what_is_short_or_elsewhere(cost, device, tmp_path):
    """Minutes need no announcement, and what a GPU takes is not known."""
    plan = {**PLAN, "costs": dict.fromkeys(PLAN["costs"], cost)}

    assert announcement(plan, tmp_path, device) == ""
