"""benchmark.json: training times in pytest-benchmark's format.

pytest-benchmark measures nothing under pytest-xdist; this file is written from the
run directory, so `pytest-benchmark compare` works however the suite was run.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pytest_benchmark import __version__
from pytest_benchmark.stats import Stats

from pytest_amlnn.case import group_of
from pytest_amlnn.report import Sweep
from pytest_amlnn.result import Result, finite


def plain(sweep: Sweep) -> dict[str, Any]:
    """Return one benchmark a case, its rounds the training seconds of its runs."""
    timed = [result for result in sweep.results if None not in seconds(result)]
    nodes = {case["id"]: case["nodeid"] for case in sweep.plan["cases"]}
    packages = sweep.environment.get("packages", {})
    document: dict[str, Any] = finite(
        {
            "machine_info": {**sweep.environment, "python_packages": packages},
            "commit_info": sweep.plan["commit"],
            "benchmarks": [plain_case(result, nodes) for result in timed],
            "datetime": datetime.now(UTC).isoformat(),
            "version": __version__,
            "schema": 1,
        }
    )
    return document


def seconds(result: Result) -> tuple[float | None, ...]:
    """Return the training seconds of each run."""
    return result.metrics["train_seconds"].runs


def plain_case(result: Result, nodes: dict[str, str]) -> dict[str, Any]:
    """Return one case as pytest-benchmark would have recorded it."""
    stats = Stats()
    for value in seconds(result):
        stats.update(value)
    case = result.case
    means = {name: spread.mean for name, spread in result.metrics.items()}
    return {
        "group": group_of(case),
        "name": result.id,
        "fullname": nodes.get(result.id, result.id),
        "params": {"case": case["label"]},
        "param": case["label"],
        "extra_info": {**means, "status": result.status, "contended": result.contended},
        "options": {
            "disable_gc": False,
            "timer": "train_seconds",
            "min_rounds": len(result.runs),
        },
        "stats": {**stats.as_dict(), "data": list(stats.data), "iterations": 1},
    }
