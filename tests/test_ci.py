"""What systems of continuous integration get: properties, summaries, annotations, series."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import small_run, sweep
from test_report import LIMIT, small_runs

from pytest_amlnn import report
from pytest_amlnn.gates.limits import Limit
from pytest_amlnn.report import ci, text

LIMITS = """
[quick."test_small[one]"]
test_accuracy = { at_least = 0.99999 }
test_loss = { at_most = 0 }
"""


@pytest.fixture
def github(monkeypatch, tmp_path):
    """Let this process be a step on GitHub Actions; gives the file of its summary."""
    file = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    return file


def test_metrics_and_verdict_are_properties(run, benchmarks):
    """JUnit's file has each metric of a case, and its verdict."""
    (benchmarks.path / "gates.toml").write_text(LIMITS)
    run("--amlnn-gates=gates.toml", "--junitxml=junit.xml")
    root = ElementTree.parse(benchmarks.path / "junit.xml").getroot()
    found = {
        case.get("name"): {p.get("name"): p.get("value") for p in case.iter("property")}
        for case in root.iter("testcase")
    }

    assert found["test_small[one]"]["amlnn_verdict"] == "regressed"
    assert found["test_small[two]"]["amlnn_verdict"] == "None"
    assert 0 <= float(found["test_small[one]"]["test_accuracy"]) <= 1
    assert float(found["test_small[two]"]["parameters"]) == 579


def test_step_has_summary_and_annotations(run, benchmarks, github):
    """On GitHub Actions the report is appended to the step's summary, and each failed case has
    one annotation, with its file."""
    (benchmarks.path / "gates.toml").write_text(LIMITS)
    github.write_text("# before\n")
    result = run("--amlnn-gates=gates.toml")
    report_md = (benchmarks.path / "out" / "report.md").read_text()
    errors = [line for line in result.outlines if line.startswith("::error")]

    assert github.read_text() == f"# before\n{report_md}\n"
    assert len(errors) == 1
    assert errors[0].startswith("::error file=test_small.py,title=test_small[one]::test_small")
    assert "regressed" in errors[0]


def test_nothing_of_it_elsewhere(run, benchmarks, monkeypatch, tmp_path):
    """Where it is not GitHub Actions, no command is printed, whatever the variables say."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    (benchmarks.path / "gates.toml").write_text(LIMITS)
    result = run("--amlnn-gates=gates.toml")

    assert not [line for line in result.outlines if line.startswith("::")]
    assert not (tmp_path / "summary.md").exists()


def test_summary_that_cannot_be_written_is_told(run, benchmarks, github):
    """A summary that nothing can be appended to is told, and loses no report."""
    github.mkdir()
    result = run()

    result.stdout.fnmatch_lines(["*GITHUB_STEP_SUMMARY *summary.md cannot be written to*"])
    assert (benchmarks.path / "out" / "report.md").exists()


@pytest.mark.parametrize("size", [10, ci.LARGEST_SUMMARY - 1, ci.LARGEST_SUMMARY * 3])
def test_summary_is_bounded(size, github):
    """A summary never exceeds what a step may say, and is cut at a line."""
    ci.append_summary("".join(f"| line {i} | ü |\n" for i in range(size // 14)))
    data = github.read_bytes()

    assert len(data) <= ci.LARGEST_SUMMARY + 100
    assert all(
        line.startswith("| line") and line.endswith("| ü |")
        for line in data.decode().splitlines()
        if line and "The rest is in report.md" not in line
    )


def test_annotations_are_bounded(tmp_path, github):
    """However many cases fail, GitHub gets as many annotations as it shows."""
    ids = [f"test_small[{i}]" for i in range(40)]
    runs = [small_run(id, status="diverged", reason="x" * 5000) for id in ids]
    lines = ci.commands(report.read(sweep(tmp_path / "out", runs)))

    assert len(lines) == ci.MOST + 1
    assert lines[-1] == "::notice::and 30 more cases failed"
    assert max(map(len, lines)) < 2 * ci.LONGEST


@given(st.text())
def test_annotation_is_one_command(words):
    """Whatever a stranger wrote stays inside of the message, or of the property, it is in."""
    message, name = ci.as_message(words), ci.as_property(words)

    assert not {"\r", "\n"} & {*message}
    assert not {"\r", "\n", ":", ","} & {*name}


def test_series_of_numbers_have_the_form_of_the_action(tmp_path):
    """bigger_is_better.json is a list of names, units and numbers, as github-action-benchmark's
    customBiggerIsBetter takes it."""
    folder = sweep(tmp_path / "out", small_runs(), limits=[LIMIT])
    report.write(folder)
    found = json.loads((folder / "bigger_is_better.json").read_text())

    assert [set(entry) for entry in found] == [{"name", "unit", "value", "range", "extra"}] * 2
    assert {entry["unit"] for entry in found} == {"test_accuracy", "efficiency"}
    assert all(isinstance(entry["value"], float) for entry in found)
    assert "gate: regressed" in [entry["extra"].partition("; ")[2] for entry in found]


def test_undecided_limits_stand_in_the_report(tmp_path):
    """What the gate could not decide has a place of its own, and what would decide it."""
    limit = Limit(
        case="test_small[linear]",
        metric="test_accuracy",
        reference=0.78,
        margin=0.02,
        sd=0.03,
        n=20,
        where="gates.toml:1",
    )
    folder = sweep(tmp_path / "out", [small_run("test_small[linear]")], limits=[limit])
    found = text.markdown(report.write(folder))

    assert "## Not decided" in found
    assert "inconclusive: test\\_accuracy is 0.75" in found or "inconclusive" in found
