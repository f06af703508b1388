"""`amlnn report A B...`: how cases went over time."""

from __future__ import annotations

import json
import shutil

import pytest
from hostile_texts import tokens
from hypothesis import given
from hypothesis import strategies as st
from small_histories import ID, runs_of, sweep_at, sweeps_with
from small_runs import everything, small_run

from pytest_amlnn import store
from pytest_amlnn.cli import main
from pytest_amlnn.report.history import histories
from pytest_amlnn.report.history_tables import BLOCKS, LETTERS, line
from pytest_amlnn.report.moments import read_all


def report(folders, capsys, *arguments: str) -> tuple[int, str, str]:
    """Give exit status, what is printed, and what is said on stderr."""
    code = main(["report", *map(str, folders), *arguments])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def of(folders, metric: str = "test_accuracy"):
    """Give the history of a metric of the only case."""
    (found,) = [one for one in histories(read_all(folders)) if one.metric.name == metric]
    return found


# what is found


def test_step_is_a_sentence_with_numbers(tmp_path, capsys):
    """Case, metric, both levels, both sweeps with their commits, and the chance are named."""
    folders = sweeps_with(tmp_path, [0.7] * 6 + [0.6] * 6)
    code, shown, err = report(folders, capsys, "--out", str(tmp_path / "out"))
    (sentence,) = [one for one in shown.splitlines() if " fell from " in one]

    assert (code, err) == (0, "")
    assert sentence.startswith(
        f"- {ID}: test_accuracy fell from 0.7009 to 0.5979, which is worse, between sweep s05"
        " (commit 0000005) and s06 (commit 0000006); chance "
    )
    assert sentence.endswith("for all cases together")


def test_history_without_a_change_has_no_step(tmp_path, capsys):
    """Sweeps of other seeds of the same training are one level."""
    _, shown, _ = report(sweeps_with(tmp_path, [0.7] * 12), capsys, "--out", str(tmp_path))

    assert "- none in 2 histories: 1 cases" in shown


def test_history_is_a_value_for_a_figure(tmp_path):
    """Points have means, intervals, values and sweeps; a step names its place and levels."""
    found = of(sweeps_with(tmp_path, [0.7] * 6 + [0.8] * 6))
    (step,) = found.steps

    assert (found.case, found.profile, found.family) == (ID, "quick", "small")
    assert [point.moment for point in found.points] == [*range(12)]
    assert found.points[5].label == "s05 (commit 0000005)"
    assert [len(point.spread.runs) for point in found.points] == [3] * 12
    assert all(p.spread.low < p.spread.mean < p.spread.high for p in found.points)
    assert (step.last, step.place, step.matters) == (5, 6, True)
    assert (step.was, step.now) == (pytest.approx(0.7, abs=0.02), pytest.approx(0.8, abs=0.02))
    assert 0 < step.chance <= 0.01


def test_slower_training_is_a_step_in_times(tmp_path):
    """Times that double and stay so are found in 12 sweeps; what is learned is not touched."""
    around = [1.0, 1.05, 0.96, 1.02, 0.99, 1.03]
    seconds = [*around, *(2 * value for value in around)]
    folders = sweeps_with(tmp_path, [0.7] * 12, seconds=seconds)

    assert [step.place for step in of(folders, "train_seconds").steps] == [6]
    assert of(folders).steps == ()


def test_what_changed_is_named(tmp_path):
    """The fields of the training and the versions that differ stand with the step."""
    before = sweeps_with(tmp_path / "a", [0.7] * 6)
    new = {"environment": {"threads": 1, "packages": {"torch": "9.0"}}, "model": "other"}
    after = [
        sweep_at(
            tmp_path / f"n{i}",
            runs_of([0.9, 0.91, 0.92 + i / 1000], first=50 + 3 * i, **new),
            begun=f"2026-12-{i + 1:02d}T00:00:00+00:00",
        )
        for i in range(6)
    ]
    (step,) = of([*before, *after]).steps

    assert "model was linear, is other" in step.changed
    assert "torch was None, is 9.0" in step.changed


def test_same_bits_again_say_nothing_new(tmp_path):
    """Sweeps that repeat each seed's value count once: twelve of two kinds are two."""
    folders = [
        sweep_at(tmp_path / f"s{i}", runs_of([0.7, 0.71, 0.72] if i < 6 else [0.6, 0.61, 0.62]))
        for i in range(12)
    ]
    found = of(folders)

    assert found.steps == ()
    assert found.untold == (
        "too few sweeps to tell: 12 of 12 can be compared, 2 of them with values of their own"
    )
    assert of(folders[:6]).untold == "the same values in all sweeps"


def test_few_sweeps_cannot_tell(tmp_path, capsys):
    """Of two sweeps, no step is claimed, and it is said why."""
    _, shown, _ = report(sweeps_with(tmp_path, [0.7, 0.2]), capsys, "--out", str(tmp_path))

    assert f"- too few sweeps to tell: 2 of 2 can be compared: {ID} test_accuracy" in shown
    assert "2 of 2 can be compared, times need 8" in shown


# what is compared with what


@pytest.mark.parametrize(
    ("changes", "metric", "why"),
    [
        ({"dataset": "circles"}, "test_accuracy", "dataset was circles, is squares"),
        ({"init": "imagenet"}, "test_accuracy", "init was imagenet, is random"),
        ({"status": "diverged"}, "test_accuracy", "diverged"),
        ({"contended": True}, "train_seconds", "other trainings shared the machine"),
        ({"together": 3}, "train_seconds", "seeds trained at once was 3, is 1"),
        ({"environment": {"threads": 2}}, "train_seconds", "threads was 2, is 1"),
        (
            {"data": {"name": "squares", "digest": "1" * 64}},
            "test_accuracy",
            "the data had the digest",
        ),
    ],
    ids=["dataset", "init", "status", "contended", "together", "threads", "digest"],
)
def test_other_sweeps_are_shown_and_not_compared(tmp_path, changes, metric, why):
    """A point of other data, or of another machine's times, is there, and says why."""
    other = sweep_at(tmp_path / "other", runs_of([0.7, 0.71, 0.72], **changes))
    found = of([other, *sweeps_with(tmp_path, [0.7] * 3)], metric)

    assert [point.comparable for point in found.points] == [False, True, True, True]
    assert found.points[0].why.startswith(why)


def test_incomplete_case_is_not_compared(tmp_path):
    """A sweep that lacks a seed of the case is shown as missing."""
    cut = sweep_at(tmp_path / "cut", runs_of([0.7]), seeds=(0, 1))
    found = of([cut, *sweeps_with(tmp_path, [0.7] * 2)])

    assert [point.why for point in found.points] == ["missing", "", ""]


def test_profiles_are_histories_of_their_own(tmp_path, capsys):
    """The same case in two profiles is two cases, each in a table that says which."""
    folders = [
        sweep_at(tmp_path / f"{profile}{i}", runs_of([0.7, 0.8], first=2 * i), profile=profile)
        for profile in ("quick", "lab")
        for i in (0, 1)
    ]
    _, shown, _ = report(folders, capsys, "--out", str(tmp_path))

    assert "## small, profile lab" in shown
    assert "## small, profile quick" in shown
    assert [len(one.points) for one in histories(read_all(folders))] == [2] * 4


def test_order_is_that_of_time(tmp_path):
    """Sweeps stand in the order in which they were begun, however they are given."""
    folders = sweeps_with(tmp_path, [0.7] * 3)

    assert [m.name for m in read_all(folders[::-1])] == ["s00", "s01", "s02"]


def test_order_is_that_of_the_names_that_say_when(tmp_path):
    """A default name has the time; where one says none, the order given stays, and is told."""
    names = ["20261128-091242-1", "20261127-091242-2", "mine"]
    folders = [sweep_at(tmp_path / name, runs_of([0.7])) for name in names]

    assert [m.name for m in read_all(folders[:2])] == names[1::-1]
    assert [m.name for m in read_all(folders)] == names


# where it goes


def test_history_is_written_where_it_is_said(tmp_path, capsys, monkeypatch):
    """By default into .amlnn/history, else where --out says; the run directories stay."""
    folders = sweeps_with(tmp_path / "sweeps", [0.7] * 7)
    before = everything(tmp_path / "sweeps")
    monkeypatch.chdir(tmp_path)
    _, shown, _ = report(folders, capsys)
    _, elsewhere, _ = report(folders, capsys, "--out", "there")
    text = (tmp_path / "there" / "history.md").read_text()

    assert shown.endswith("\nwritten to .amlnn/history/history.html and history.md\n")
    assert elsewhere.endswith("\nwritten to there/history.html and history.md\n")
    assert everything(tmp_path / "sweeps") == before
    assert text == (tmp_path / ".amlnn" / "history" / "history.md").read_text()
    assert {token.type for token in tokens(text)} >= {"table_open", "heading_open"}
    assert "html_block" not in {token.type for token in tokens(text)}


def test_table_fits_the_terminal(tmp_path, capsys, monkeypatch):
    """Few sweeps have a column each, many a summary with a line; both fit 100 columns."""
    monkeypatch.setattr("pytest_amlnn.cli.columns", lambda: 100)
    folders = sweeps_with(tmp_path, [0.7] * 30)
    for count, heads in (
        (6, "1 2 3 4 5 6 steps"),
        (30, "first last min max trend steps"),
    ):
        _, shown, _ = report(folders[:count], capsys, "--out", str(tmp_path))
        rows = shown.partition("profile quick\n\n")[2].partition("\n\n")[0].splitlines()

        assert rows[0].split() == ["case", "metric", *heads.split()]
        assert max(map(len, rows)) <= 100
        assert [row.split()[0] for row in rows[2:4]] == [ID, ID]


@pytest.mark.parametrize("bad", ["no such", "empty", "damaged"])
def test_bad_directories_are_all_named(tmp_path, capsys, bad):
    """What is no run directory is named, each of them, and nothing is written."""
    good = sweeps_with(tmp_path / "good", [0.7] * 2)
    places = [tmp_path / f"{bad}{i}" for i in (1, 2)]
    if bad == "empty":
        [place.mkdir() for place in places]
    if bad == "damaged":
        [store.write_json(place / "plan.json", {"schema": 3}) for place in places]
    code, shown, err = report([*good, *places], capsys, "--out", str(tmp_path / "out"))

    assert (code, shown) == (1, "")
    assert all(str(place) in err for place in places)
    assert not (tmp_path / "out").exists()


def test_sweep_is_given_once(tmp_path, capsys):
    """The same folder twice, or a copy of it, is refused by name."""
    one, two = sweeps_with(tmp_path, [0.7] * 2)
    copy = shutil.copytree(one, tmp_path / "copy")
    for folders, words in (
        ([one, two, tmp_path / "." / one.name], f"{one} is given twice"),
        ([one, two, copy], f"{copy} holds the same sweep as {one}"),
    ):
        code, _, err = report(folders, capsys)

        assert code == 1
        assert words in err


def test_sweeps_need_a_case_in_common(tmp_path, capsys):
    """Two sweeps of other cases are no history."""
    folders = [
        sweep_at(tmp_path / name, [small_run(f"test_small[{name}]")]) for name in ("one", "two")
    ]
    code, _, err = report(folders, capsys, "--out", str(tmp_path / "out"))

    assert code == 1
    assert "no two of these sweeps have a case of one profile in common" in err
    assert main(["report", str(folders[0]), "--out", "x"]) == 1


def test_damaged_record_is_named(tmp_path, capsys):
    """A run that cannot be read is told, with exit status 1; the rest is shown."""
    folders = sweeps_with(tmp_path, [0.7] * 3)
    store.run_file(folders[0], ID, 0).write_text("{")
    code, shown, err = report(folders, capsys, "--out", str(tmp_path))

    assert code == 1
    assert "not every record can be read: s00" in err
    assert "## Records that cannot be read\n\n- s00: " in shown


def test_strange_names_are_only_shown(tmp_path, capsys):
    """What a stranger wrote into a record moves no terminal and opens no tag."""
    strange = "test_small[<b>\x1b[2J]"
    folders = [sweep_at(tmp_path / f"s{i}", [small_run(strange, i)], number=i) for i in (0, 1)]
    for folder in folders:
        plan = json.loads((folder / "plan.json").read_text())
        store.write_json(folder / "plan.json", {**plan, "commit": {"id": "\x1b<b>a"}})
    _, shown, _ = report(folders, capsys, "--out", str(tmp_path))
    found = tokens((tmp_path / "history.md").read_text())

    assert "\x1b" not in shown
    assert {token.type for token in found} & {"html_inline", "html_block"} == set()


@given(
    st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=30),
    st.sampled_from([BLOCKS, LETTERS]),
)
def test_line_has_a_character_for_each_value(values, levels):
    """The least value has the lowest level, the largest the highest, all others lie between."""
    found = line(values, levels)

    assert len(found) == len(values)
    assert found[values.index(min(values))] == levels[0]
    if min(values) < max(values):
        assert found[values.index(max(values))] == levels[-1]
    assert {*found} <= {*levels}
