"""What came out: epochs, runs, and the runs of a case taken together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from typing import Any

from pytest_amlnn.statistics import Spread, spread

SCHEMA = 1

FINISHED = "finished"
STATUSES = (FINISHED, "diverged", "oom", "crashed", "implausible")
"""From best to worst; a case is as bad as its worst run."""

COMMON_METRICS = (
    "train_seconds", "wall_seconds", "seconds_per_step", "samples_per_second",
    "epochs", "parameters", "flops_per_sample", "peak_memory_bytes",
)  # fmt: skip
METRICS: Mapping[str, tuple[str, ...]] = {
    "classification": (
        "test_accuracy", "test_top5", "test_loss", "train_accuracy", "val_accuracy",
        "start_accuracy", "start_loss", *COMMON_METRICS,
    ),
    "forecast": (
        "test_mse", "test_mae", "test_mase", "oracle_mse", "last_value_mse",
        "seasonal_naive_mse", "autoregression_mse", "efficiency", "start_loss",
        *COMMON_METRICS,
    ),
}  # fmt: skip
SHARES = frozenset(
    {"test_accuracy", "test_top5", "train_accuracy", "val_accuracy", "start_accuracy"}
)
"""Metrics in 0..1."""
MACHINE_METRICS = frozenset(
    {
        "train_seconds",
        "wall_seconds",
        "seconds_per_step",
        "samples_per_second",
        "peak_memory_bytes",
    }
)
"""Metrics that say as much of the machine as of the case."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One pass over the training examples, and what the validation split said after it."""

    train_loss: float
    train_accuracy: float | None
    """While training, augmentation and dropout on; None for a forecast."""
    val_loss: float
    val_accuracy: float | None
    learning_rate: float
    """After the epoch's last step."""
    gradient_norm: float
    """Mean over the steps, before clipping."""
    steps: int
    seconds: Mapping[str, float]
    """By part: `train`, `evaluate`."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training of a case with one seed: what is stored, resumed and retried."""

    id: str
    seed: int
    case: Mapping[str, Any]
    """The case as plain data, recipe included."""
    status: str
    reason: str
    """Why training stopped, or what went wrong, in words."""
    epochs: tuple[Epoch, ...]
    best_epoch: int | None
    """Counted from 1; the weights of this epoch were tested."""
    metrics: Mapping[str, float | None]
    parts: Mapping[str, float]
    """Seconds by part; they add up to `wall_seconds`."""
    data: Mapping[str, Any]
    """Name, digest and counts of the dataset."""
    init: str
    precision: str
    environment: Mapping[str, Any]
    """Versions, device and threads that the numbers depend on."""
    calibration_seconds: float | None
    """Of a fixed small computation beside the run: how fast the machine was just then."""
    contended: bool
    """Another run shared the machine, so times say little."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """Tag, source and SHA-256 of those that the net started from."""
    together: int = 1
    """So many seeds were trained at once; each one's seconds are its share."""
    attempts: int = 1
    schema: int = SCHEMA


def to_plain(run: Run) -> dict[str, Any]:
    """Return the run as JSON-ready data, with None for what is not a finite number."""
    plain: dict[str, Any] = finite(asdict(run))
    return plain


def from_plain(plain: Mapping[str, Any]) -> Run:
    """Return the run that `to_plain` was given."""
    return Run(**{**plain, "epochs": tuple(Epoch(**epoch) for epoch in plain["epochs"])})


def finite(value: Any) -> Any:
    """Return plain data with None in place of every number that JSON cannot hold."""
    if isinstance(value, Mapping):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True, kw_only=True)
class Result:
    """The runs of a case, taken together."""

    id: str
    runs: tuple[Run, ...]
    """At least one, in order of their seeds."""
    metrics: Mapping[str, Spread]
    """Mean, spread and interval over the seeds, by metric."""

    @property
    def case(self) -> Mapping[str, Any]:
        """The case as plain data."""
        return self.runs[0].case

    @property
    def status(self) -> str:
        """The worst of the runs' statuses."""
        return max((run.status for run in self.runs), key=STATUSES.index)

    @property
    def contended(self) -> bool:
        """Whether any run shared the machine."""
        return any(run.contended for run in self.runs)

    @property
    def troubles(self) -> list[str]:
        """What went wrong with each run that did not finish."""
        bad = [run for run in self.runs if run.status != FINISHED]
        return [f"{run.id}, seed {run.seed}: {run.status}: {run.reason}" for run in bad]


def gather(runs: Iterable[Run]) -> list[Result]:
    """Return the results of all cases that have a run, in order of their ids."""
    ordered = sorted(runs, key=lambda run: (run.id, run.seed))
    return [result_of(tuple(group)) for _, group in groupby(ordered, key=lambda run: run.id)]


def result_of(runs: tuple[Run, ...]) -> Result:
    """Take the runs of one case together."""
    names = METRICS[runs[0].case["task"]]
    return Result(
        id=runs[0].id, runs=runs, metrics={name: spread_of(runs, name) for name in names}
    )


def spread_of(runs: tuple[Run, ...], name: str) -> Spread:
    """Sum up one metric; a run that lacks it leaves no mean, for no run is ever dropped.

    Runs that were trained at once have equal shares of one time: that is no spread.
    """
    counts = [run.data["counts"]["test"] for run in runs if "counts" in run.data]
    tests = counts[0] if counts and name in ("test_accuracy", "test_top5") else None
    values = [run.metrics.get(name) for run in runs]
    found = spread(values, share=name in SHARES, tests=tests)
    if name in MACHINE_METRICS and any(run.together > 1 for run in runs):
        return replace(found, sd=None, low=None, high=None)
    return found
