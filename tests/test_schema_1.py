"""Records of schema 1: two runs that version 0.1 wrote on the way to schema 2."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from pytest_amlnn import CLASSIFICATION, FORECAST, plans, report, store
from pytest_amlnn.report.tables import tables
from pytest_amlnn.report.text import text_of
from pytest_amlnn.result import Result
from pytest_amlnn.schema_1 import upgrade
from pytest_amlnn.store import StoreError

RECORDS = Path(__file__).parent / "data" / "schema_1"
PICTURES, SERIES = "test_cnn[vgg19-random-shapes-600]", "test_rnn[lstm-3000]"


@pytest.fixture
def plain() -> dict:
    """A run of schema 1 as it lies on disk."""
    return store.read_json(store.run_file(RECORDS, PICTURES, 0))


def test_old_runs_are_read():
    """Runs keep id, seed, status and numbers, and say which schema they were written in."""
    pictures, series = store.load_runs(RECORDS)

    assert [run.id for run in (pictures, series)] == [PICTURES, SERIES]
    assert [run.schema for run in (pictures, series)] == [1, 1]
    assert (pictures.status, pictures.seed, pictures.best_epoch) == ("finished", 0, 3)
    assert pictures.metrics["test_accuracy"] == 0.498
    assert series.metrics["efficiency"] == pytest.approx(0.9329, abs=1e-4)


def test_old_runs_have_the_metrics_of_their_tasks():
    """Metrics and columns, which schema 1 left to the code, are those of the task by name."""
    for run, task in zip(store.load_runs(RECORDS), (CLASSIFICATION, FORECAST), strict=True):
        result = Result(id=run.id, runs=(run,))

        assert result.training["task"] == task.name
        assert result.columns == [*task.columns]


def test_old_epochs_have_scores_by_split():
    """Losses and accuracies come back, and a forecast has no accuracy."""
    pictures, series = store.load_runs(RECORDS)

    assert [epoch.train.keys() for epoch in pictures.epochs] == [{"loss", "accuracy"}] * 3
    assert pictures.epochs[-1].validation["accuracy"] == 0.59
    assert [epoch.validation.keys() for epoch in series.epochs] == [{"loss"}] * 8


def test_old_sweep_is_reported_as_it_was(tmp_path):
    """Tables of an old run directory show the numbers that its own report showed."""
    folder = shutil.copytree(RECORDS, tmp_path / "sweep")
    pictures, series = (
        dict(zip(table.heads, map(text_of, table.rows[0]), strict=True))
        for table in tables(report.write(folder))
    )

    assert pictures == {
        "model": "vgg19",
        "init": "random",
        "size": "600",
        "accuracy %": "49.8 [45.4, 54.2]",
        "chance %": "10.0",
        "top-5 %": "99.4",
        "loss": "1.151",
        "epochs": "3",
        "train s": "38.0",
        "samples/s": "47",
        "parameters": "38,947,914",
        "seeds": "1",
        "gate": "passed",
    }
    assert (series["MSE"], series["efficiency"], series["original"]) == (
        "0.03941",
        "0.933",
        "loss 0.0016",
    )


@pytest.mark.parametrize(("label", "variant"), [("lstm-60-steps", "steps"), ("lstm-60", "")])
def test_old_step_budget_is_a_variant(plain, label, variant):
    """What the label alone told then stands in a column of its own now."""
    old = {**plain, "case": {**plain["case"], "label": label}}

    assert upgrade(old)["case"]["variant"] == variant


def test_old_run_that_saw_no_data_has_no_chance(plain):
    """A run that died before its data were opened is read as well."""
    old = {**plain, "status": "crashed", "data": {"name": "shapes"}, "epochs": []}

    assert upgrade(old)["baselines"] == {}


PLAN = {"options": {"profile": "quick"}, "cases": [], "costs": {}}


def test_old_sweep_is_not_resumed(tmp_path):
    """An old run directory is refused with what can be done with it, and left as it was."""
    folder = shutil.copytree(RECORDS, tmp_path / "sweep")
    before = (folder / "plan.json").read_bytes()
    with pytest.raises(StoreError, match=re.escape(str(folder))) as caught:
        plans.begin(folder, PLAN, token="now", resume=True)

    assert str(caught.value) == (
        f"--amlnn-out {folder} is a record of schema 1, and this version of pytest-amlnn writes"
        " 3: it can be reported, not resumed. Resume it with the version that began it, remove"
        f" {folder}, or name another --amlnn-out"
    )
    assert (folder / "plan.json").read_bytes() == before
