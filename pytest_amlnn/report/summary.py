"""summary.json: what other programs read."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pytest_amlnn.gate import judge
from pytest_amlnn.report import Sweep
from pytest_amlnn.result import SCHEMA, Result, finite


def plain(sweep: Sweep) -> dict[str, Any]:
    """Return the whole sweep in the documented schema."""
    summary: dict[str, Any] = finite(
        {
            "schema": SCHEMA,
            "profile": sweep.plan["options"]["profile"],
            "environment": sweep.environment,
            "cases": [plain_case(result, sweep) for result in sweep.results],
            "skipped": sweep.skipped,
            "missing": sweep.missing,
        }
    )
    return summary


def plain_case(result: Result, sweep: Sweep) -> dict[str, Any]:
    """Return one case: what it was, what it reached, what the gate says."""
    case = result.case
    verdict = judge(result, sweep.limits)
    limits = [
        {"metric": j.limit.metric, "at_least": j.limit.at_least, "at_most": j.limit.at_most}
        | {"value": j.value, "verdict": j.verdict}
        for j in verdict.judgements
    ]
    return {
        "id": result.id,
        "family": case["family"],
        "task": case["task"],
        "model": case["model"],
        "init": result.runs[0].init,
        "size": case["size"],
        "dataset": case["dataset"],
        "status": sweep.status(result),
        "seeds": [run.seed for run in result.runs],
        "metrics": {name: asdict(spread) for name, spread in result.metrics.items()},
        "gate": {"verdict": verdict.name, "limits": limits},
        "contended": result.contended,
    }
