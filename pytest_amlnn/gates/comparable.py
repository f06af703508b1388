"""What may be compared with what, and what changed since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_amlnn.gates.calibration import Calibration
from pytest_amlnn.gates.limits import Limit
from pytest_amlnn.gates.measured import Measured
from pytest_amlnn.identity import differences
from pytest_amlnn.metrics import Metric

MOST = 6
"""Changed fields that are named one by one."""


def incomparable(
    result: Measured, limit: Limit, calibration: Calibration | None, metric: Metric
) -> str:
    """Say why a result cannot be held against a reference; nothing where it can."""
    if metric.of_clock:
        return "times are compared side by side alone: amlnn ab"
    if calibration is None:
        return ""
    if metric.of_machine and not {*result.machines} <= {*calibration.machines}:
        return f"{metric.name} was calibrated on {' and '.join(calibration.machines)}"
    pairs = (
        ("task", calibration.task, result.task),
        ("init", calibration.init, result.init),
        ("dataset", calibration.dataset, result.dataset),
    )
    for name, then, now in pairs:
        if then != now:
            return f"{name} was {then}, is {now}"
    return other_data(result, calibration)


def other_data(result: Measured, calibration: Calibration) -> str:
    """Say that a result is of other data than a calibration; nothing where it is not."""
    for seed, now in zip(result.seeds, result.digests, strict=False):
        then = calibration.digests.get("", calibration.digests.get(str(seed)))
        if then is not None and then != str(now)[: len(then)]:
            return f"the data of seed {seed} had the digest {then[:12]}, have {str(now)[:12]}"
    # where each seed has data of its own, no digest may be known of these: what they are of is
    before, after = table_in(calibration.training, "data"), table_in(result.training, "data")
    both = before.keys() & after.keys()
    now_both = {name: after[name] for name in both}
    found = differences({name: before[name] for name in both}, now_both)
    return f"the data are others: {found[0]}" if found else ""


def changed(then: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> str:
    """Return what changed between two trainings, in a line; nothing where nothing did."""
    if then is None or now is None:
        return ""
    fields = differences(without_code(then), without_code(now))
    before, after = table_in(then, "code"), table_in(now, "code")
    code = [
        f"code of {module}"
        for module in sorted({*before, *after})
        if before.get(module) != after.get(module)
    ]
    found = [*fields, *code]
    more = [f"and {len(found) - MOST} more"] if len(found) > MOST else []
    return ", ".join([*found[:MOST], *more])


def table_in(training: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    """Return what a training says under a name, if that is a table: a stranger wrote it."""
    found = (training or {}).get(name)
    return found if isinstance(found, Mapping) else {}


def without_code(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return a training without the digests of its code."""
    return {name: value for name, value in training.items() if name != "code"}
