"""How long the rest of a sweep takes, from what the runs took that have ended in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pytest_amlnn import store


def clock(seconds: float) -> str:
    """Return a duration as minutes and seconds, with hours if there are any: `1:02:05`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What runs that ended were to cost, and the seconds that they took."""

    cost: float = 0.0
    """As `Case.cost` says."""
    seconds: float = 0.0

    def __add__(self, other: Self) -> Self:
        return type(self)(cost=self.cost + other.cost, seconds=self.seconds + other.seconds)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A run of a sweep's plan."""

    id: str
    seed: int
    nodeid: str
    cost: float

    def is_stored(self, out: Path) -> bool:
        """Return whether the run has ended."""
        return store.run_file(out, self.id, self.seed).exists()


def planned_runs(plan: Mapping[str, Any], nodeids: Collection[str]) -> list[Planned]:
    """Return the runs that a plan has of these items, and that are not skipped.

    The cost of a case that is known only as its test runs is taken for the mean of the others.
    """
    costs = plan["costs"]
    usual = sum(costs.values()) / len(costs) if costs else 1.0
    return [
        Planned(
            id=case["id"],
            seed=seed,
            nodeid=case["nodeid"],
            cost=costs.get(case["nodeid"], usual),
        )
        for case in plan["cases"]
        if case["nodeid"] in nodeids and not case["skip"]
        for seed in case["seeds"]
    ]


def seconds_left(
    under_way: Sequence[float], to_come: Iterable[float], pace: Pace, *, at_once: int = 1
) -> float | None:
    """Return the seconds until a sweep ends; None as long as nothing tells of them.

    `under_way` are the seconds left of what is trained now, each in its process, `to_come` the
    costs of the runs that did not begin, and so many processes train at once.
    """
    cost = sum(to_come)
    if cost and not (pace.cost and pace.seconds):
        return None
    work = sum(under_way) + (cost * pace.seconds / pace.cost if cost else 0.0)
    return max(work / max(at_once, 1), *under_way, 0.0)


# before anything is trained

KERNELS_PER_OPERATION = 5.5e-9
"""Training seconds for an operation of a forward pass, over those of `device.calibrate`: 3e-9
to 1.2e-8 for the nets of this repository, on series as on pictures (docs/performance.md)."""
USUAL_KERNEL = 0.006
"""Seconds of that on two cores."""
LONG = 1800.0
"""Seconds of training that are worth an announcement."""


def announcement(plan: Mapping[str, Any], out: Path, device: str) -> str:
    """Say how long a sweep will train on a CPU, at most; nothing where that is not long.

    `device` is as --amlnn-device says. Torch is loaded, and the machine measured, only where
    the plan is a long one.
    """
    nodeids = {case["nodeid"] for case in plan["cases"]}
    runs = [run for run in planned_runs(plan, nodeids) if not run.is_stored(out)]
    kernels = KERNELS_PER_OPERATION * sum(run.cost for run in runs)
    if kernels * USUAL_KERNEL < LONG or device not in ("auto", "cpu"):
        return ""
    from pytest_amlnn.device import calibrate, resolve

    if (found := resolve(device)).type != "cpu":
        return ""
    hours = kernels * calibrate(found) / 3600
    amount = f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:,.0f} days"
    return (
        f"amlnn: up to {amount} of training on this CPU, for {len(runs)} runs, give or take a"
        " factor of two; fewer where runs stop early"
    )
