"""The runs of a case that its limits were calibrated with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pytest_amlnn.errors import UserError
from pytest_amlnn.gates.reference import Reference, reference_of
from pytest_amlnn.identity import differences
from pytest_amlnn.result import FINISHED, Run


class CalibrationError(UserError):
    """Runs that no limit can be calibrated with; the message says which and why."""


Values = tuple[tuple[float, ...], ...]
"""Of a metric, one a run, by machine."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The runs of one case, by machine."""

    task: str
    init: str
    dataset: str
    digests: Mapping[str, str]
    """Of the data by seed; where all seeds have the same, under an empty name."""
    machines: tuple[str, ...]
    seeds: tuple[tuple[int, ...], ...]
    runs: Mapping[str, Values]
    """By metric; the first one is what the case is judged by."""
    constants: Mapping[str, float]
    """By metric, of those that have one value in all runs."""
    training: Mapping[str, Any]
    """What was trained, as plain data; of the last run."""

    @property
    def main_metric(self) -> str:
        """The metric that the case is judged by in the first place."""
        return next(iter(self.runs))

    def reference(self, metric: str, machine: str = "") -> Reference:
        """Return what the runs say of a metric, to results of a machine."""
        if metric in self.constants:
            count = sum(map(len, self.seeds))
            return reference_of([[self.constants[metric]] * count])
        here = self.machines.index(machine) if machine in self.machines else None
        return reference_of(self.runs[metric], here)

    def known(self, metric: str) -> Reference | None:
        """Return what the runs say of a metric; None where they say nothing."""
        return self.reference(metric) if self.has(metric) else None

    def values(self, metric: str) -> list[float]:
        """Return the values of a metric, of all machines."""
        if metric in self.constants:
            return [self.constants[metric]] * sum(map(len, self.seeds))
        return [value for mine in self.runs[metric] for value in mine]

    def has(self, metric: str) -> bool:
        """Return whether anything is known of a metric."""
        return metric in self.runs or metric in self.constants


def rounded(known: Calibration, digits: int) -> Calibration:
    """Return a calibration whose values have so many digits, as a file holds them."""
    runs = {
        name: tuple(tuple(float(f"{value:.{digits}g}") for value in mine) for mine in values)
        for name, values in known.runs.items()
    }
    return replace(known, runs=runs)


def machine_of(run: Run) -> str:
    """Return the class of machines that a run's numbers are of, in words."""
    known = run.environment
    name = known.get("accelerator") or known.get("processor") or "unknown"
    settings = known.get("settings")
    settings = settings if isinstance(settings, Mapping) else {}
    sixteen = " with BF16" if "avx512_bf16" in str(settings.get("instructions")).split() else ""
    parts = [
        str(name),
        f"{settings.get('cpu_capability') or ''}{sixteen}",
        f"torch {known.get('packages', {}).get('torch')}",
        run.precision,
    ]
    return ", ".join(part for part in parts if part)


def calibration_of(runs: Iterable[Run], metrics: Iterable[str]) -> Calibration:
    """Return the calibration of a case by its runs, all finished; raises CalibrationError."""
    ordered = sorted(runs, key=lambda run: (machine_of(run), run.seed))
    refuse_unless_alike(ordered)
    machines = tuple(dict.fromkeys(machine_of(run) for run in ordered))
    by_machine = [[run for run in ordered if machine_of(run) == name] for name in machines]
    last = ordered[-1]
    digests = {str(run.seed): str(run.data.get("digest"))[:DIGEST] for run in ordered}
    if len({*digests.values()}) == 1:
        digests = {"": next(iter(digests.values()))}
    values = {id(run): values_of(run) for run in ordered}
    names = [name for name in metrics if all(v.get(name) is not None for v in values.values())]
    single = {name: {v[name] for v in values.values()} for name in names[1:]}
    constants = {name: one.pop() for name, one in single.items() if len(one) == 1}
    return Calibration(
        task=str(last.case["training"]["task"]),
        init=last.init,
        dataset=str(last.case["training"]["dataset"]),
        digests=digests,
        machines=machines,
        seeds=tuple(tuple(run.seed for run in mine) for mine in by_machine),
        runs={
            name: tuple(tuple(values[id(run)][name] for run in mine) for mine in by_machine)
            for name in names
            if name not in constants
        },
        constants=constants,
        training=last.case["training"],
    )


def values_of(run: Run) -> dict[str, Any]:
    """Return what a run is compared by: its metrics, and the shape of its training.

    `train_loss` and `val_loss` are those of the epoch whose weights were tested, `first_rate`
    is the learning rate of the first one, and `gap` is by how much the training score exceeds
    that of the test.
    """
    found: dict[str, Any] = {**run.baselines, **run.metrics}
    if run.epochs:
        best = run.epochs[min(run.best_epoch or MOST_EPOCHS, len(run.epochs)) - 1]
        found |= {
            "train_loss": best.train.get("loss"),
            "val_loss": best.validation.get("loss"),
            "first_rate": run.epochs[0].learning_rate,
        }
        found.setdefault("steps_per_epoch", run.epochs[0].steps)
    train, test = found.get("train_accuracy"), found.get("test_accuracy")
    if train is not None and test is not None:
        found["gap"] = train - test
    return found


MOST_EPOCHS = 2**31
DIGEST = 16
"""Characters of a digest that are kept."""
SHAPE = ("gap", "start_accuracy", "start_loss")
"""Of a training: none of it is better or worse, and all of it is as it was before."""
CAUSES = ("train_accuracy", "val_accuracy", "train_loss", "val_loss", "first_rate")
"""What tells why a result is worse."""
EXACT = ("parameters", "flops_per_sample", "steps_per_epoch")
"""What follows from the net and its recipe alone."""


def refuse_unless_alike(runs: list[Run]) -> None:
    """Raise CalibrationError unless runs are of one training, each seed once a machine."""
    first = runs[0]
    for run in runs:
        if run.status != FINISHED:
            raise CalibrationError(f"{run.id}, seed {run.seed}: {run.status}: {run.reason}")
        found = differences(of_training(first), of_training(run))
        if found:
            raise CalibrationError(
                f"{run.id}: seeds {first.seed} and {run.seed} are of two trainings:"
                f" {'; '.join(found[:3])}"
            )
    seen: set[tuple[str, int]] = set()
    digests: dict[int, str] = {}
    for run in runs:
        digest = str(run.data.get("digest"))
        if digests.setdefault(run.seed, digest) != digest:
            raise CalibrationError(f"{run.id}: seed {run.seed} has data of two digests")
        if (machine_of(run), run.seed) in seen:
            raise CalibrationError(
                f"{run.id}: seed {run.seed} is there twice for {machine_of(run)}: leave out one"
                " of the run directories"
            )
        seen.add((machine_of(run), run.seed))


def of_training(run: Run) -> dict[str, Any]:
    """Return what must be the same of runs that are pooled."""
    return {"training": run.case["training"], "init": run.init}


# plain data


def to_plain(known: Calibration) -> dict[str, Any]:
    """Return a calibration as JSON-ready data."""
    return asdict(known)


def from_plain(plain: Mapping[str, Any]) -> Calibration:
    """Return the calibration that `to_plain` was given; CalibrationError for what is none."""
    tuples = {
        "machines": tuple(plain["machines"]),
        "seeds": tuple(map(tuple, plain["seeds"])),
        "runs": {name: tuple(map(tuple, values)) for name, values in plain["runs"].items()},
    }
    return consistent(Calibration(**{**plain, **tuples}))


def checked(plain: Mapping[str, Any]) -> Calibration:
    """Return the calibration that a file of limits holds, whose `training` is JSON.

    Raises CalibrationError for what is none.
    """
    import msgspec

    from pytest_amlnn.record_forms import Calibration as Form

    try:
        training = json.loads(plain.get("training", ""))
        whole = {**plain, "training": training}
        msgspec.convert(whole, Form)
    except (TypeError, ValueError, RecursionError) as error:  # msgspec's are ValueErrors
        raise CalibrationError(str(error)) from error
    return from_plain(whole)


def consistent(known: Calibration) -> Calibration:
    """Return a calibration if each metric has a value for each run; else CalibrationError."""
    counts = [len(seeds) for seeds in known.seeds]
    if not known.runs:
        raise CalibrationError("runs need the values of at least one metric")
    for name in ("data", "code", "recipe"):
        if not isinstance(known.training.get(name, {}), Mapping):
            raise CalibrationError(f"training.{name} is no table")
    if len(counts) != len(known.machines) or not counts or not all(counts):
        raise CalibrationError("seeds need a list for each machine, with at least one")
    if len({*known.machines}) != len(known.machines):
        raise CalibrationError("machines: one is there twice")
    if any(len({*seeds}) != len(seeds) for seeds in known.seeds):
        raise CalibrationError("seeds: one is there twice")
    for name, values in known.runs.items():
        if [len(mine) for mine in values] != counts:
            raise CalibrationError(f"runs.{name} needs one value a seed, machine by machine")
    return known
