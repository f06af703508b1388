"""What systems of continuous integration take up: a summary, annotations, series of numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_amlnn.escapes import for_terminal
from pytest_amlnn.gates.measured import main_metric_of
from pytest_amlnn.report.sweep import Sweep
from pytest_amlnn.result import FINISHED, Result

LARGEST_SUMMARY = 2**17
"""Bytes. GitHub takes 1 MiB a step, of which others may want some."""
LONGEST = 1000
"""Characters of an annotation."""
SMALLEST = 1e-300
"""Whose inverse is a number."""
MOST = 10
"""Annotations of a step that GitHub shows."""


def append_summary(markdown: str, environment: Mapping[str, str] = os.environ) -> str:
    """Append a report to the summary of a step on GitHub Actions; say what went wrong.

    Does nothing elsewhere. A report that is too long is cut at a line.
    """
    place = environment.get("GITHUB_STEP_SUMMARY")
    if not place or environment.get("GITHUB_ACTIONS") != "true":
        return ""
    try:
        with Path(place).open("a", encoding="utf-8") as stream:
            stream.write(shortened(markdown))
    except OSError as error:
        return f"GITHUB_STEP_SUMMARY {place} cannot be written to: {error.strerror}"
    return ""


def shortened(markdown: str) -> str:
    """Return a report of at most so many bytes, cut at a line."""
    data = markdown.encode()
    if len(data) <= LARGEST_SUMMARY:
        return markdown + "\n"
    kept = data[:LARGEST_SUMMARY].rpartition(b"\n")[0].decode(errors="ignore")
    return f"{kept}\n\nThe rest is in report.md.\n"


def commands(sweep: Sweep, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return commands that annotate each failed case on GitHub Actions; none elsewhere."""
    if environment.get("GITHUB_ACTIONS") != "true":
        return []
    nodes = {case["id"]: case["nodeid"] for case in sweep.plan["cases"]}
    failed = {result.id: trouble_of(result, sweep) for result in sweep.results}
    missing = {case["id"]: case["reason"] for case in sweep.missing}
    failed = {
        id: words for id, words in {**missing, **failed}.items() if words or id in missing
    }
    lines = [
        f"::error file={as_property(nodes.get(id, '').partition('::')[0])},"
        f"title={as_property(id)}::{as_message(words or missing[id])}"
        for id, words in [*failed.items()][:MOST]
    ]
    rest = len(failed) - MOST
    return [*lines, *([f"::notice::and {rest} more cases failed"] if rest > 0 else [])]


def trouble_of(result: Result, sweep: Sweep) -> str:
    """Return why a case fails, in words; nothing where it does not."""
    if result.failed:
        return "; ".join(result.troubles)
    verdict = sweep.verdicts[result.id]
    return "" if verdict.passed else "; ".join(map(str, verdict.failing))


def as_message(text: str) -> str:
    """Return text as the message of a command to GitHub Actions."""
    short = for_terminal(text[:LONGEST])
    return short.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def as_property(text: str) -> str:
    """Return text as a property of a command to GitHub Actions."""
    return as_message(text).replace(":", "%3A").replace(",", "%2C")


def bigger_is_better(sweep: Sweep) -> list[dict[str, Any]]:
    """Return what each case is judged by, in github-action-benchmark's customBiggerIsBetter.

    Of what is better when smaller, the inverse: its tool has one direction a file.
    """
    found = []
    for result in sweep.results:
        metric = main_metric_of(result)
        spread = result.metrics[metric.name]
        if result.status != FINISHED or spread.mean is None:
            continue
        inverse = metric.better == "lower"
        if inverse and spread.mean < SMALLEST:
            continue
        known = spread.low is not None and spread.high is not None and not inverse
        found.append(
            {
                "name": for_terminal(result.id),
                "unit": f"1/{metric.name}" if inverse else metric.name,
                "value": 1 / spread.mean if inverse else spread.mean,
                "range": f"[{spread.low:.4g}, {spread.high:.4g}]" if known else "",
                "extra": f"{len(result.runs)} seeds; gate: {sweep.verdicts[result.id].name}",
            }
        )
    return found
