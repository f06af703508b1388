"""What a stranger may have put into a run directory is checked before it is believed."""

from __future__ import annotations

import json
import random
import re
import shutil
from dataclasses import fields, replace
from pathlib import Path
from time import process_time

import pytest
from changed_records import (
    assert_harmless,
    assert_reported,
    assert_resumed,
    changes,
    quickly,
    swept,
)
from hypothesis import given
from hypothesis import strategies as st
from small_runs import small_run

from pytest_amlnn import CLASSIFICATION, FORECAST, Limit, Run, record_forms, records, store
from pytest_amlnn.metrics import COMMON


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A small sweep, as it was written."""
    return swept(tmp_path_factory.mktemp("whole") / "sweep")


def test_whole_sweep_has_nothing_to_say(whole, tmp_path):
    """What these tests change is reported and resumed without a word as long as it is whole."""
    folder = shutil.copytree(whole, tmp_path / "sweep")

    assert assert_resumed(folder) == ""
    assert assert_reported(folder) == ""


def test_changed_field_ends_in_words_or_a_right_report(whole, tmp_path):
    """Whatever stands in whatever field of whatever record, nothing odd comes of it.

    No traceback, no number that is none, nothing written elsewhere, no long wait. These are
    some of the changes; the endurance run makes all of them.
    """
    folder = shutil.copytree(whole, tmp_path / "sweep")
    with quickly():
        for change in random.Random(0).sample(changes(whole), 40):
            assert_harmless(whole, change, folder)


def test_forms_have_the_fields_of_what_is_written():
    """What is added to a run or a limit is added to the form that it is read in."""
    for form, kind in ((record_forms.RunRecord, Run), (record_forms.Limit, Limit)):
        assert {*form.__struct_fields__} == {field.name for field in fields(kind)}


@pytest.mark.parametrize("task", [CLASSIFICATION, FORECAST], ids=lambda task: task.name)
def test_formats_of_our_own_metrics_are_known(task):
    """Every way in which our tasks show a number is one that a record may ask for."""
    for column in (*task.metrics, *task.columns, *COMMON):
        assert records.FORMAT.fullmatch(column.format)


@pytest.mark.parametrize(
    "format",
    [
        "{0.__class__}",
        "{:1000000000f}",
        "{:>99999}",
        "{!r}",
        "{}{}",
        "{:d}",
        "{:.999999f}",
        "{:n}",
    ],
)
def test_format_of_a_record_shows_a_number_and_nothing_else(format, tmp_path):
    """A record names no fields of objects and no widths: it is refused with file and field."""
    run = small_run()
    task = {**run.task, "metrics": [{**run.task["metrics"][0], "format": format}]}
    store.save_run(tmp_path, replace(run, task=task), {}, [])
    _, (words,) = store.read_runs(tmp_path)

    assert re.search(r"0\.json cannot be read: task\.metrics\[0\].*format is ", words)


@given(format=st.from_regex(records.FORMAT, fullmatch=True), value=st.floats(-1e300, 1e300))
def test_format_that_is_accepted_shows_every_number(format, value):
    """It neither raises nor fills the memory."""
    assert len(format.format(value)) < 1000


EPOCH = {"learning_rate": 0.1, "gradient_norm": None, "steps": 1, "seconds": {}}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("seed", -1, "seed: Expected `int` >= 0"),
        ("status", "won", "status: Invalid enum value 'won'"),
        ("metrics", {"test_accuracy": 1.5}, "metrics.test_accuracy is 1.5"),
        ("metrics", {"train_seconds": -1}, "metrics.train_seconds is -1"),
        ("metrics", {"test_loss": "low"}, "metrics[...]: Expected `float | null`, got `str`"),
        ("baselines", {"chance": 10**400}, "an integer has more than 63 bits"),
        ("best_epoch", 7, "best_epoch is 7"),
        ("metrics", {"epochs": -1}, "metrics.epochs is -1"),
        ("epochs", [{"steps": 1}], "epochs[0]: Object missing required field `learning_rate`"),
        ("epochs", [EPOCH | {"val_loss": {}}], "epochs[0][...]: Expected `float | null`"),
        ("epochs", [EPOCH | {"steps": None}], "epochs[0].steps: Expected `int`, got `null`"),
        ("case", {}, "case: Object missing required field `size`"),
        ("environment", {"packages": "all"}, "environment.packages: Expected `object`"),
        ("data", {"a": 1e301}, "a number is larger than 1e+300"),
        ("data", {"a": "x" * 70_000}, "a text has more than 65,536 characters"),
        ("task", {"metrics": [], "columns": [{}] * 201}, "task.columns: Expected `array` of"),
        ("answers", "../0.safetensors", "answers: Expected `str` matching regex"),
        ("other", 1, "Object contains unknown field `other`"),
    ],
)
def test_words_name_file_and_field(field, value, words, tmp_path):
    """Whoever wrote the record finds what is wrong with it, and where."""
    store.save_run(tmp_path, small_run(), {}, [])
    file = store.run_file(tmp_path, small_run().id, 0)
    file.write_text(json.dumps({**json.loads(file.read_text()), field: value}))
    with pytest.raises(store.StoreError) as caught:
        records.read_run(file)

    assert str(caught.value).startswith(f"{file} cannot be read: ")
    assert words in str(caught.value)


def test_what_could_not_be_read_is_refused_before_it_is_trained(tmp_path):
    """A task of the user's whose metric cannot be shown is told before the training."""
    run = small_run()
    task = {**run.task, "columns": [{**run.task["columns"][0], "format": "{:s}"}]}
    with pytest.raises(
        store.StoreError, match=r"begun\.json cannot be written: task\.columns\[0"
    ):
        store.begin(tmp_path, replace(run, task=task))


def test_damaged_plan_leaves_nothing_to_report(whole, tmp_path):
    """Without a plan nobody knows what is missing: it is an error, with file and field."""
    folder = shutil.copytree(whole, tmp_path / "sweep")
    plan = json.loads((folder / "plan.json").read_text())
    plan["cases"][1]["seeds"] = [0, "one"]
    (folder / "plan.json").write_text(json.dumps(plan))
    words = assert_reported(folder)

    assert "plan.json cannot be read: cases[1].seeds[1]: Expected `int`, got `str`" in words
    assert not (folder / "report.md").exists()


def test_case_is_planned_once(whole, tmp_path):
    """Two entries of one id are refused: one of them is not what is reported."""
    folder = shutil.copytree(whole, tmp_path / "sweep")
    plan = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps({**plan, "cases": [plan["cases"][0]] * 2}))

    assert "is planned twice" in assert_reported(folder)


def test_damaged_environment_does_not_stop_the_report(whole, tmp_path):
    """What the machine was is a line of the report: without it the rest is there."""
    folder = shutil.copytree(whole, tmp_path / "sweep")
    (folder / "environment.json").write_text("{")

    assert "environment.json cannot be read" in assert_reported(folder)
    assert "## Records that cannot be read" in (folder / "report.md").read_text()


def test_twenty_thousand_cases_are_reported_at_once(whole, tmp_path):
    """The time that a report takes is in proportion to what is in the run directory."""
    folder = shutil.copytree(whole, tmp_path / "sweep")
    plan = json.loads((folder / "plan.json").read_text())
    cases = [{**plan["cases"][0], "id": f"c{i}", "seeds": [0, 1, 2]} for i in range(20_000)]
    limits = [{"case": f"c{i}", "metric": "test_loss", "at_most": 1.0} for i in range(20_000)]
    (folder / "plan.json").write_text(json.dumps({**plan, "cases": cases, "limits": limits}))
    started = process_time()
    assert_reported(folder)

    assert process_time() - started < 5
