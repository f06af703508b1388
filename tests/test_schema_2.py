"""Records of schema 2: a small sweep that version 0.1 wrote on the way to schema 3."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from small_runs import plan_of

from pytest_amlnn import plans, report, store
from pytest_amlnn.report.tables import tables
from pytest_amlnn.report.text import text_of
from pytest_amlnn.store import StoreError

RECORDS = Path(__file__).parent / "data" / "schema_2"
ID = "test_small[two]"


def test_old_run_is_read():
    """It has all of today's fields but the digest of its answers, which nobody wrote down."""
    (run,) = store.load_runs(RECORDS)

    assert (run.id, run.seed, run.schema, run.answers) == (ID, 0, 2, None)
    assert run.metrics["test_accuracy"] == 1.0


def test_old_sweep_is_reported(tmp_path):
    """Tables of an old run directory show what its own report showed."""
    sweep = report.write(shutil.copytree(RECORDS, tmp_path / "sweep"))
    (table,) = tables(sweep)
    row = dict(zip(table.heads, map(text_of, table.rows[0]), strict=True))

    assert not sweep.missing
    assert row["model"] == "two"
    assert row["accuracy %"].startswith("100.0")


def test_old_sweep_is_not_resumed(tmp_path):
    """An old run directory is refused with what can be done with it."""
    folder = shutil.copytree(RECORDS, tmp_path / "sweep")
    words = (
        f"{re.escape(str(folder))} is a record of schema 2, .* it can be reported, not resumed"
    )
    with pytest.raises(StoreError, match=words):
        plans.begin(folder, plan_of(), token="now", resume=True)


def test_old_names_of_folders_are_known(tmp_path):
    """Schema 2 named folders otherwise where an id has other characters: they are read."""
    folder = shutil.copytree(RECORDS, tmp_path / "sweep")
    (folder / "runs" / "test_small_two").rename(folder / "runs" / "test_small_two_a")
    file = folder / "runs" / "test_small_two_a" / "0.json"
    file.write_text(file.read_text().replace(ID, "test_small[two+a]"))

    assert [run.id for run in store.load_runs(folder)] == ["test_small[two+a]"]
