"""`amlnn list`: which sweeps there are."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from time import perf_counter

import pytest
from small_histories import runs_of, sweep_at, sweeps_with
from small_runs import small_run, sweep

from pytest_amlnn import report, store
from pytest_amlnn.cli import main
from pytest_amlnn.gates.limits import Limit


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """The current folder, with a place for sweeps."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".amlnn").mkdir()
    return tmp_path / ".amlnn"


def rows(capsys, *arguments: str) -> list[dict]:
    """Give what `amlnn list --json` prints."""
    assert main(["list", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def shown(capsys, *arguments: str) -> str:
    """Give what `amlnn list` prints."""
    assert main(["list", *arguments]) == 0
    return capsys.readouterr().out


def test_no_sweep_is_no_error(tmp_path, monkeypatch, capsys):
    """Where there is none, it says so, and how to make one."""
    monkeypatch.chdir(tmp_path)

    assert "there is no sweep in .amlnn" in (said := shown(capsys))
    assert "`pytest benchmarks` makes one" in said
    assert rows(capsys) == []


def test_real_sweep_is_listed(benchmarks, capsys, monkeypatch):
    """What pytest has trained stands there with its time, cases, seeds and commit."""
    assert benchmarks.runpytest_inprocess("--amlnn-device=cpu", "--amlnn-gate=off").ret == 0
    monkeypatch.chdir(benchmarks.path)
    capsys.readouterr()
    (row,) = rows(capsys)
    begun = json.loads((Path(row["folder"]) / "plan.json").read_text())["begun"]

    assert row["begun"] == begun
    assert (row["dated"], row["source"]) == (False, "summary")
    assert (row["done"], row["planned"], row["seeds"]) == (2, 2, [2, 2])
    assert row["bytes"] > 10_000


def test_newest_sweep_comes_first(home, capsys):
    """Sweeps stand in order of time, each with profile, cases, seeds and commit."""
    sweeps_with(home, [0.7] * 3)
    lines = shown(capsys).splitlines()

    assert [line.split()[0] for line in lines[2:]] == [f".amlnn/s{i:02d}" for i in (2, 1, 0)]
    assert lines[2].split()[1:] == [
        *("1/1", "quick", "2026-11-03", "08:00", "0000002", "3", "0.0", "MB", "runs")
    ]


def test_what_is_not_finished_is_counted(home, capsys):
    """Failed, skipped and missing cases have their numbers, and so has the gate."""
    runs = [small_run("test_small[one]"), small_run("test_small[two]", status="diverged")]
    limits = [
        Limit(case="test_small[one]", metric="test_accuracy", at_least=bound)
        for bound in (0.1, 0.99)
    ]
    sweep(
        home / "one",
        runs,
        limits=limits,
        skipped={"test_small[big]": "no data"},
        missing=["test_small[lost]"],
    )
    (row,) = rows(capsys)

    assert (row["done"], row["planned"]) == (1, 4)
    assert row["statuses"] == {"diverged": 1, "missing": 1, "skipped": 1}
    assert (row["red"], row["green"]) == (1, 0)
    assert "1 diverged, 1 missing, 1 skipped" in shown(capsys)


def test_summary_is_believed_while_it_is_of_these_runs(home, capsys):
    """A summary spares reading the runs, unless it is older or of other runs."""
    folder = sweep_at(home / "one", runs_of([0.7, 0.8]))
    report.write(folder)
    sources = [rows(capsys)[0]["source"]]
    store.save_run(folder, small_run(seed=2), {}, [])
    os.utime(folder / "summary.json")
    sources.append(rows(capsys)[0]["source"])
    report.write(folder)
    os.utime(folder / "summary.json", (1, 1))
    sources.append(rows(capsys)[0]["source"])

    assert sources == ["summary", "runs", "runs"]
    assert rows(capsys)[0]["seeds"] == [3, 3]


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"schema": 2, "profile": "quick", "cases": 1}'], ids=str
)
def test_damaged_summary_is_not_believed(home, capsys, content):
    """The runs say what it does not."""
    folder = sweep_at(home / "one", runs_of([0.7, 0.8]))
    (folder / "summary.json").write_text(content)

    assert [(row["source"], row["done"]) for row in rows(capsys)] == [("runs", 1)]


def test_directory_that_cannot_be_read_is_a_row_that_says_why(home, capsys):
    """Damaged plans and folders without one stand below the others, with the reason."""
    sweep_at(home / "good", runs_of([0.7]))
    (home / "cut").mkdir()
    (home / "cut" / "plan.json").write_text("{")
    (home / "bare" / "runs").mkdir(parents=True)
    text = shown(capsys)

    assert [row["folder"] for row in rows(capsys)] == [
        f".amlnn/{name}" for name in ("good", "cut", "bare")
    ]
    assert text.count("cannot be read  ") == 2
    assert "\n.amlnn/cut: .amlnn/cut/plan.json cannot be read: " in text
    assert "\n.amlnn/bare: .amlnn/bare/plan.json is missing: " in text


def test_named_folder_is_looked_at_too(home, capsys, tmp_path):
    """A run directory is listed itself, of another folder what lies in it; each sweep once."""
    (one,) = sweeps_with(home, [0.7])
    two = sweep_at(tmp_path / "other" / "two", runs_of([0.7]))

    for named, count in ((two, 2), (two.parent, 2), (one, 1), (home, 1), (tmp_path, 1)):
        assert len(rows(capsys, str(named))) == count


def test_other_folders_and_links_are_left_alone(home, capsys, tmp_path):
    """What has nothing of a run directory is no sweep, and no link is followed."""
    (home / "history").mkdir()
    (home / "history" / "history.md").write_text("")
    (home / "file").write_text("")
    (home / "link").symlink_to(sweep_at(tmp_path / "elsewhere", runs_of([0.7])))

    assert rows(capsys) == []


def test_folder_that_is_not_there_is_an_error(home, capsys):
    """A name that leads nowhere is told, with exit status 1."""
    assert main(["list", "nowhere"]) == 1
    assert capsys.readouterr().err == "amlnn: nowhere: there is no such folder\n"


def test_date_stands_in_for_a_time(home, capsys):
    """Where neither plan nor name says when it was begun, the plan's date does, marked."""
    folder = sweep_at(home / "mine", runs_of([0.7]))
    os.utime(folder / "plan.json", (0, 86_400))
    text = shown(capsys)

    assert "1970-01-02 00:00 *" in text
    assert "* by the date of plan.json" in text


def test_list_fits_the_terminal(home, capsys, monkeypatch):
    """In 100 columns, what matters least is left out and named; nothing moves the terminal."""
    monkeypatch.setattr("pytest_amlnn.cli.columns", lambda: 100)
    folder = sweep_at(home / "20261128-091242-17488", runs_of([0.7]), profile="\x1b[2Jlab")
    sweep(folder.with_name("two"), [small_run(status="crashed")], skipped={"a": "b"})
    text = shown(capsys)

    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100
    assert "also in amlnn list --json: " in text


def test_hundred_sweeps_are_listed_at_once(home, capsys):
    """100 small sweeps with summaries take 2 seconds at most."""
    report.write(sweep_at(home / "s0", runs_of([0.7, 0.8])))
    for i in range(1, 100):
        shutil.copytree(home / "s0", home / f"s{i}")
    start = perf_counter()
    count = len(rows(capsys))

    assert count == 100
    assert perf_counter() - start < 2
