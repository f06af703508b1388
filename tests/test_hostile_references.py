"""References and baselines of a run directory that a stranger changed."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from changed_records import GONE, NASTY, changed, fields
from small_runs import sweep
from small_sweeps import ID, limits_from, reference_runs, runs_with

from pytest_amlnn import plans, report, store
from pytest_amlnn.cli import main
from pytest_amlnn.errors import UserError
from pytest_amlnn.gates import baseline
from pytest_amlnn.gates.bounds import typical
from pytest_amlnn.gates.measured import measured
from pytest_amlnn.report import text
from pytest_amlnn.result import gather

CHANGES = 200
"""Of each file."""


@pytest.fixture
def folder(tmp_path):
    """A run directory with calibrated limits and a baseline."""
    made = sweep(tmp_path / "out", runs_with(typical(3, 0.65, 0.02), first=100), seeds=[100])
    held = limits_from(reference_runs(), ["test_loss"]).to_plain()
    plan = plans.load(made)
    options = {**plan["options"], "baseline": "old", "max_repeats": 8, "gate": "enforce"}
    store.write_json(made / "plan.json", {**plan, **held, "options": options})
    (before,) = gather(reference_runs(5))
    baseline.save(made, {ID: measured(before)})
    return made


def changes_of(file: Path, kind: str) -> list[str]:
    """Give some of the texts that a file may have become."""
    plain = json.loads(file.read_text())
    ways = [way for way in fields(plain) if kind in way]
    every = [(way, value) for way in ways for value in (*NASTY, GONE)]
    chosen = random.Random(0).sample(every, min(CHANGES, len(every)))
    return [changed(plain, way, value) for way, value in chosen]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("plan.json", "calibrations"),
        ("plan.json", "limits"),
        ("baseline.json", "cases"),
    ],
)
def test_changed_references_end_in_words_or_in_a_report(folder, name, kind):
    """Whatever a stranger made of references, limits and baseline: a report is rendered, or it
    is said in words why not."""
    file = folder / name
    plain = text.markdown(report.write(folder))
    assert "reference 0.7" in plain
    said = []
    for changed_text in changes_of(file, kind):
        file.write_text(changed_text)
        try:
            text.markdown(report.write(folder))
        except UserError as error:
            said.append(str(error))

    assert said
    assert max(map(len, said)) < 3000


def test_changed_summaries_end_in_words_or_in_a_comparison(tmp_path, capsys):
    """Whatever a stranger made of a summary.json, `amlnn compare` ends with one of its four
    exit statuses."""
    made = sweep(tmp_path / "out", reference_runs(5), seeds=range(5))
    report.write(made)
    file = made / "summary.json"
    for changed_text in changes_of(file, "cases"):
        file.write_text(changed_text)
        assert main(["compare", str(file), str(made)]) in (0, 1, 2, 3)
        assert "Traceback" not in capsys.readouterr().err
