"""The plan: whose sweep a run directory holds, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_runs import everything, plan_of, planned, small_run

from pytest_amlnn import plans, store
from pytest_amlnn.store import StoreError

ONE, TWO = "test_small[one]", "test_small[two]"


def plan(*ids: str, profile: str = "quick", seeds: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """Return a plan of some cases."""
    return plan_of([planned(id, seeds=seeds) for id in ids], profile=profile)


def begin(folder: Path, given: dict[str, Any], token: str = "one", **how: bool) -> None:
    plans.begin(folder, given, token=token, **{"resume": False, **how})


def ids(folder: Path) -> list[str]:
    return [case["id"] for case in plans.load(folder)["cases"]]


def test_files_of_the_user_are_left_alone(tmp_path):
    """A folder with other files in it can be used, and they stay."""
    (tmp_path / "notes.txt").write_text("mine")
    begin(tmp_path, plan(ONE))

    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert ids(tmp_path) == [ONE]


def test_other_sweep_is_refused(tmp_path):
    """A folder that holds a sweep is named with a way out, and not touched."""
    begin(tmp_path, plan(ONE))
    before = everything(tmp_path), (tmp_path / "plan.json").read_bytes()
    with pytest.raises(StoreError, match="another sweep; resume it by --amlnn-resume"):
        begin(tmp_path, plan(TWO), token="two")

    assert (everything(tmp_path), (tmp_path / "plan.json").read_bytes()) == before


def test_other_profile_is_refused(tmp_path):
    """A sweep is resumed in its own profile alone."""
    begin(tmp_path, plan(ONE))
    with pytest.raises(StoreError, match="of the profile quick, not full: resume it with"):
        begin(tmp_path, plan(ONE, profile="full"), token="two", resume=True)


def test_processes_of_one_sweep_add_to_one_plan(tmp_path):
    """What bears the same token is the same sweep: cases and seeds add up."""
    begin(tmp_path, plan(ONE))
    begin(tmp_path, plan(ONE, TWO, seeds=(1, 2)))

    assert {case["id"]: case["seeds"] for case in plans.load(tmp_path)["cases"]} == {
        ONE: [0, 1, 2],
        TWO: [1, 2],
    }


@pytest.mark.parametrize(("token", "left"), [("one", ["crashed"]), ("two", [])])
def test_crashed_runs_are_forgotten_once_a_sweep_is_resumed(tmp_path, token, left):
    """Another sweep repeats them; another worker of the same one does not."""
    begin(tmp_path, plan(ONE))
    store.save_run(tmp_path, small_run(ONE, status="crashed"), {}, [])
    begin(tmp_path, plan(ONE), token=token, resume=True)

    assert [run.status for run in store.load_runs(tmp_path)] == left


def test_case_is_added_once_its_test_knows_it(tmp_path):
    """Its seeds come in place of the guess; those of an earlier sweep stay."""
    begin(tmp_path, plan(ONE, TWO, seeds=(7,)))
    begin(tmp_path, plan(ONE, TWO))
    plans.correct(tmp_path, planned(TWO, seeds=(1, 2)), guessed=[0])

    assert [case["seeds"] for case in plans.load(tmp_path)["cases"]] == [[0, 7], [1, 2, 7]]
    assert plans.load(tmp_path)["sweep"] == "one"


@pytest.mark.parametrize("below", ["", "deeper", "deeper/still"])
def test_file_in_the_place_of_the_folder_is_refused(tmp_path, below):
    """A file where the folder, or one above it, should be is an error and stays."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="cannot be written to: .*, or name another folder"):
        begin(tmp_path / "file" / below, plan(ONE))

    assert everything(tmp_path) == ["file"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc")
def test_unwritable_place_is_refused():
    """A place that nobody can write to, not even root, is named."""
    with pytest.raises(StoreError, match="--amlnn-out /proc/sweep/one cannot be written to"):
        begin(Path("/proc/sweep/one"), plan(ONE))


def test_name_that_is_too_long_is_refused(tmp_path):
    """A name that no file system takes is an error like any other."""
    with pytest.raises(StoreError, match="File name too long"):
        begin(tmp_path / ("x" * 300), plan(ONE))

    assert everything(tmp_path) == []


@pytest.mark.parametrize("cases", [[], [TWO]])
def test_plan_that_was_replaced_is_not_taken_for_whole(tmp_path, cases):
    """What was planned must stand there in the end."""
    begin(tmp_path, plan(*cases))
    with pytest.raises(StoreError, match=r"not the plan of this sweep any more: .*\[one"):
        plans.check_whole(tmp_path, [ONE])


def test_resumed_sweep_was_begun_when_it_first_was(tmp_path):
    """Resuming, and each further process, leaves the time in the plan as it is."""
    for token, begun in (("one", "2026-11-01T08:00:00+00:00"), ("two", "2026-11-02T08:00:00")):
        begin(tmp_path, {**plan(ONE), "begun": begun}, token=token, resume=True)

    assert plans.load(tmp_path)["begun"] == "2026-11-01T08:00:00+00:00"


@pytest.mark.parametrize(
    ("name", "begun", "when"),
    [
        ("mine", "2026-11-01T08:00:00+02:00", "2026-11-01T06:00:00+00:00"),
        ("mine", "2026-11-01T08:00:00", "2026-11-01T08:00:00+00:00"),
        ("20261128-091242-17488", None, "2026-11-28T09:12:42+00:00"),
        ("20261128-091242-17488", "2026-11-01T08:00:00Z", "2026-11-01T08:00:00+00:00"),
        ("20261399-091242-17488", None, None),
        ("mine", "yesterday", None),
        ("mine", "0001-01-01T00:00:00+23:00", None),
        ("mine", None, None),
    ],
)
def test_time_is_that_of_the_plan_or_of_the_name(tmp_path, name, begun, when):
    """Both are UTC; what is no time is none, and no error."""
    found = plans.begun(tmp_path / name, {"begun": begun})

    assert (found and found.isoformat()) == when
