"""Which sweeps of a history can be compared with the newest one, and why others cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_amlnn.gates.against import other_case
from pytest_amlnn.gates.measured import Measured
from pytest_amlnn.identity import differences
from pytest_amlnn.metrics import Metric
from pytest_amlnn.report.sweep import Sweep
from pytest_amlnn.result import FINISHED, Result, Run


def trouble_of(sweep: Sweep, result: Result, side: Measured, metric: Metric) -> str:
    """Say why a case has no value in a sweep; nothing where it has one."""
    if (status := sweep.status(result)) != FINISHED:
        return status
    if metric.of_clock and result.contended:
        return "other trainings shared the machine"
    known = side.numbers(metric.name)
    if not known:
        return f"no value of {metric.name} from every run"
    return "a time of 0" if metric.of_clock and min(known) <= 0 else ""


def other(newest: Result, result: Result, now: Measured, then: Measured, metric: Metric) -> str:
    """Say why a case of one sweep cannot be compared with the newest; nothing where it can."""
    if then is now:
        return ""
    if why := other_case(now, then):
        return why
    if not metric.of_clock:
        return ""
    return "; ".join(differences(clock_of(result), clock_of(newest)))


def clock_of(result: Result) -> dict[str, str]:
    """Return what seconds depend on besides training, versions and what else goes on there."""
    found = [
        {
            "machine": run.environment.get("accelerator") or run.environment.get("processor"),
            "device": run.environment.get("device"),
            "cores": run.environment.get("cores"),
            "threads": run.environment.get("threads"),
            "instructions": capability_of(run),
            "seeds trained at once": run.together,
        }
        for run in result.runs
    ]
    return {
        name: " and ".join(sorted({str(one[name]) for one in found if one[name] is not None}))
        for name in found[0]
    }


def capability_of(run: Run) -> Any:
    """Return the instructions that kernels were chosen for."""
    settings = run.environment.get("settings")
    return settings.get("cpu_capability") if isinstance(settings, Mapping) else None
