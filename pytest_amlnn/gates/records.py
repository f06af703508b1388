"""What results are compared with, checked when it is read: it may be a stranger's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_amlnn.disk import StoreError
from pytest_amlnn.gates.forms import Baseline, Summary
from pytest_amlnn.metrics import Metric
from pytest_amlnn.records import LARGEST_PLAN, checked, read_json, refuse_unless

READABLE = (1, 2)
"""Schemas of summary.json."""


def read_summary(file: Path) -> dict[str, Any]:
    """Read a summary.json; StoreError where it is missing, damaged or of another version."""
    plain = read_json(file, LARGEST_PLAN)
    if plain["schema"] not in READABLE:
        raise StoreError(f"{file} was written by another version of pytest-amlnn")
    refuse_unless(Summary, plain, f"{file} cannot be read")
    for case in plain["cases"]:
        if case.get("judged_by") is not None:
            where = f"{file} cannot be read"
            checked({"better": "", "name": "", **case["judged_by"]}, Metric, "judged_by", where)
        if len(case.get("digests") or case["seeds"]) != len(case["seeds"]):
            raise StoreError(f"{file} cannot be read: {case['id'][:200]} needs a digest a seed")
        for name, metric in case["metrics"].items():
            if len(metric["runs"]) != len(case["seeds"]):
                raise StoreError(
                    f"{file} cannot be read: {case['id'][:200]}: {name[:200]} has"
                    f" {len(metric['runs'])} values of {len(case['seeds'])} seeds"
                )
    return plain


def read_baseline(file: Path) -> dict[str, Any]:
    """Read a baseline.json; StoreError where it is damaged."""
    plain = read_json(file, LARGEST_PLAN)
    refuse_unless(Baseline, plain, f"{file} cannot be read")
    for id, case in plain["cases"].items():
        counts = {len(values) for values in case["values"].values()}
        checked(case["metric"], Metric, "metric", f"{file} cannot be read")
        if counts - {len(case["seeds"])}:
            raise StoreError(f"{file} cannot be read: {id[:200]} needs one value a seed")
    return plain
