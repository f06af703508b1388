"""Results with references, written by hand, for what a gate says of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from small_runs import small_epoch, small_run

from pytest_amlnn import Run
from pytest_amlnn.gates.bounds import typical
from pytest_amlnn.gates.calibrate import calibrated
from pytest_amlnn.gates.gate import Gate
from pytest_amlnn.gates.limits import Limit, Limits
from pytest_amlnn.result import Result, gather

ID = "test_small[linear]"
MACHINE = {"processor": "A processor", "packages": {"torch": "2.11.0"}, "threads": 1}


def runs_with(
    accuracies: Sequence[float], *, first: int = 0, id: str = ID, **changes: Any
) -> list[Run]:
    """Give a run for each accuracy."""
    metrics = changes.pop("metrics", {})
    return [
        small_run(
            id,
            first + number,
            metrics={"test_accuracy": accuracy, "steps_per_epoch": 2, **metrics},
            **{"environment": MACHINE, **changes},
        )
        for number, accuracy in enumerate(accuracies)
    ]


def result_of(accuracies: Sequence[float], **changes: Any) -> Result:
    """Give a result with these accuracies, of seeds that no reference has."""
    return gather(runs_with(accuracies, first=changes.pop("first", 100), **changes))[0]


def reference_runs(
    count: int = 20, mean: float = 0.7, sd: float = 0.02, **changes: Any
) -> list[Run]:
    """Give runs whose accuracies are as a normal distribution spreads them."""
    return runs_with(typical(count, mean, sd), **changes)


def limits_from(runs: Iterable[Run], metrics: Sequence[str] = (), family: int = 1) -> Limits:
    """Give the limits that `amlnn calibrate` writes for these runs."""
    found = [calibrated(result, family, metrics) for result in gather(runs)]
    return Limits(
        limits=tuple(
            Limit(case=one.case, metric=metric, **{**plain, **ends(plain)})
            for one in found
            for metric, plain in one.limits.items()
        ),
        calibrations={one.case: one.known for one in found},
    )


def ends(plain: dict[str, Any]) -> dict[str, Any]:
    return {"range": tuple(plain["range"])} if "range" in plain else {}


def gate_from(runs: Iterable[Run], metrics: Sequence[str] = (), **changes: Any) -> Gate:
    """Give a gate that was calibrated with these runs."""
    held = limits_from(runs, metrics)
    planned = {limit.case: 1 for limit in held.limits}
    return Gate(**{"held": held, "planned": planned, **changes})


def epoch_with(train: float = 1.0, validation: float = 1.1, **changes: Any) -> Any:
    """Give an epoch with these losses."""
    return small_epoch(
        train={"loss": train, "accuracy": 0.8},
        validation={"loss": validation, "accuracy": 0.7},
        **changes,
    )
