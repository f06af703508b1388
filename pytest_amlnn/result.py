"""What came out: epochs, runs, and the runs of a case taken together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

from pytest_amlnn.metrics import COMMON, Column, Metric, Paired
from pytest_amlnn.statistics import Spread, spread

if TYPE_CHECKING:
    from pytest_amlnn.recipe import Recipe
    from pytest_amlnn.tasks import Task

SCHEMA = 3
"""Of everything in a run directory but summary.json; `records` reads what came before."""

FINISHED = "finished"
STATUSES = (FINISHED, "diverged", "oom", "crashed", "implausible")
"""From best to worst; a case is as bad as its worst run."""
BREAKS = ("diverged",)
"""Those of them that a change of a recipe is the reason of; a leak is a fault wherever."""


# epochs


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One pass over the training examples, and what the validation split said after it."""

    train: Mapping[str, float]
    """`loss`, and the task's scores by name, while training: augmentation and dropout on."""
    validation: Mapping[str, float]
    """The same of the validation split, afterwards."""
    learning_rate: float
    """Of the epoch's last step."""
    gradient_norm: float
    """Mean over the steps, before clipping."""
    steps: int
    seconds: Mapping[str, float]
    """By part: `train`, `evaluate`; and `processor`, those that processors worked on training,
    all threads together: what else runs on a machine lengthens them little."""


PREFIXES = {"train": "train_", "validation": "val_"}
"""Of an epoch's scores on disk: `train_loss`, `val_accuracy`."""


def epoch_to_plain(epoch: Epoch) -> dict[str, Any]:
    """Return the epoch as plain data, every score beside the others."""
    plain = asdict(epoch)
    for name, prefix in PREFIXES.items():
        plain |= {f"{prefix}{score}": value for score, value in plain.pop(name).items()}
    return plain


def epoch_from_plain(plain: Mapping[str, Any]) -> Epoch:
    """Return the epoch that `epoch_to_plain` was given."""
    parts: dict[str, Any] = {
        name: {key.removeprefix(prefix): plain[key] for key in plain if key.startswith(prefix)}
        for name, prefix in PREFIXES.items()
    }
    others = ("learning_rate", "gradient_norm", "steps", "seconds")
    return Epoch(**parts, **{name: plain[name] for name in others})


def stop_reason(epochs: Sequence[Epoch], recipe: Recipe) -> str:
    """Say why training is over after these epochs; nothing as long as it goes on."""
    if not epochs:
        return ""
    done = len(epochs)
    if diverged(epochs):
        rate = f"learning rate {epochs[-1].learning_rate:.3g}"
        return f"the loss of epoch {done} is not a finite number ({rate}); try a lower one"
    if done >= recipe.epochs:
        return f"the budget of {done} epochs is used up"
    best = best_epoch(epochs) or 0
    # annealing lowers the loss late, so the first half of the schedule is not held against it
    waited = done - max(best, recipe.epochs // 2)
    if waited >= recipe.patience:
        return f"no lower validation loss for {done - best} epochs"
    return ""


def diverged(epochs: Sequence[Epoch]) -> bool:
    """Return whether the last epoch ended with a loss that is no finite number."""
    last = epochs[-1]
    return not (math.isfinite(last.train["loss"]) and math.isfinite(last.validation["loss"]))


def best_epoch(epochs: Sequence[Epoch]) -> int | None:
    """Return the number, from 1, of the first epoch with the lowest validation loss."""
    losses = [(epoch.validation["loss"], i) for i, epoch in enumerate(epochs, 1)]
    finite = [pair for pair in losses if math.isfinite(pair[0])]
    return min(finite)[1] if finite else None


# runs


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training of a case with one seed: what is stored, resumed and retried."""

    id: str
    seed: int
    case: Mapping[str, Any]
    """The case as plain data; `training` is what its numbers follow from."""
    task: Mapping[str, Any]
    """Metrics and columns of its task, as plain data."""
    status: str
    reason: str
    """Why training stopped, or what went wrong, in words."""
    epochs: tuple[Epoch, ...]
    best_epoch: int | None
    """Counted from 1; the weights of this epoch were tested."""
    metrics: Mapping[str, float | None]
    baselines: Mapping[str, float | None] = field(default_factory=dict)
    """What follows from the data alone, such as chance."""
    parts: Mapping[str, float]
    """Seconds by part; with those between the parts they add up to `wall_seconds`."""
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
    answers: str | None = None
    """SHA-256 of the file with what the net said of each test example, where there is one."""
    schema: int = SCHEMA

    def value(self, name: str) -> float | None:
        """Return the value of a metric or baseline; None where the run has none."""
        return self.metrics.get(name, self.baselines.get(name))


def task_to_plain(task: Task) -> dict[str, Any]:
    """Return a task's metrics and columns as plain data, so that reports need no code of it."""
    return {
        "metrics": [asdict(metric) for metric in task.metrics],
        "columns": [asdict(column) for column in task.columns],
    }


def column_from_plain(plain: Mapping[str, Any]) -> Column:
    """Return the column that `task_to_plain` was given."""
    return Paired(**plain) if "by" in plain else Metric(**plain)


def to_plain(run: Run) -> dict[str, Any]:
    """Return the run as JSON-ready data, with None for what is not a finite number."""
    plain = asdict(replace(run, epochs=()))
    plain["epochs"] = [epoch_to_plain(epoch) for epoch in run.epochs]
    finite_plain: dict[str, Any] = finite(plain)
    return finite_plain


def from_plain(plain: Mapping[str, Any]) -> Run:
    """Return the run that `to_plain` was given."""
    return Run(**{**plain, "epochs": tuple(map(epoch_from_plain, plain["epochs"]))})


def finite(value: Any) -> Any:
    """Return plain data with None in place of every number that JSON cannot hold."""
    if isinstance(value, Mapping):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# results


@dataclass(frozen=True, kw_only=True)
class Result:
    """The runs of a case, taken together."""

    id: str
    runs: tuple[Run, ...]
    """At least one, in order of their seeds."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the runs."""
        return tuple(run.seed for run in self.runs)

    @property
    def case(self) -> Mapping[str, Any]:
        """The case as plain data."""
        return self.runs[0].case

    @property
    def training(self) -> Mapping[str, Any]:
        """What was trained, as plain data."""
        training: Mapping[str, Any] = self.case["training"]
        return training

    @property
    def improvement(self) -> Mapping[str, Any] | None:
        """What the case changes of its base, as plain data; None where it has none."""
        found: Mapping[str, Any] | None = self.case.get("improvement")
        return found

    @cached_property
    def known(self) -> dict[str, Metric]:
        """Every metric that the case can have, by name."""
        own = [Metric(**plain) for plain in self.runs[0].task["metrics"]]
        return {metric.name: metric for metric in [*own, *COMMON]}

    @cached_property
    def columns(self) -> list[Column]:
        """The columns of its task."""
        return [column_from_plain(plain) for plain in self.runs[0].task["columns"]]

    @cached_property
    def metrics(self) -> dict[str, Spread]:
        """Mean, spread and interval over the seeds, by metric."""
        return {name: self.spread(metric) for name, metric in self.known.items()}

    def spread(self, metric: Metric) -> Spread:
        """Sum up one metric; a run that lacks it leaves no mean, for no run is ever dropped.

        Runs that were trained at once have equal shares of one time: that is no spread.
        """
        found = spread(
            [run.value(metric.name) for run in self.runs],
            low=0.0 if metric.share or metric.positive else None,
            high=1.0 if metric.share else None,
            tests=self.tests if metric.share and metric.of_examples else None,
        )
        if metric.of_machine and any(run.together > 1 for run in self.runs):
            return replace(found, sd=None, low=None, high=None)
        return found

    @property
    def tests(self) -> int | None:
        """How many test examples there were, as far as the dataset says."""
        counts = [c for run in self.runs if isinstance(c := run.data.get("counts"), Mapping)]
        found = counts[0].get("test") if counts else None
        return found if type(found) is int and found > 0 else None

    @property
    def status(self) -> str:
        """The worst of the runs' statuses."""
        return max((run.status for run in self.runs), key=STATUSES.index)

    @property
    def failed(self) -> bool:
        """Whether a run did not end as it should, so that the item fails, whatever the gate.

        That a change breaks the learning is what an improvement may find out.
        """
        expected = (FINISHED, *BREAKS) if self.improvement else (FINISHED,)
        return any(run.status not in expected for run in self.runs)

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
    return [
        Result(id=id, runs=tuple(group))
        for id, group in groupby(ordered, key=lambda run: run.id)
    ]
