"""What the runs of a case show of how it learned: the material of explanations and figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from pytest_amlnn import answers, store
from pytest_amlnn.gates.measured import main_metric_of
from pytest_amlnn.metrics import Metric
from pytest_amlnn.report.words import known
from pytest_amlnn.result import Epoch, Result, Run
from pytest_amlnn.statistics import Spread, mean_if_known

UNSTEADY = 2.0  # ratio of the times of two seeds that a quiet machine does not make
LATE = 4
"""The end of a training is the last one of so many parts, and at least one epoch."""


@dataclass(frozen=True)
class Facts:
    """One case, and what its finished runs show; means over the seeds, None where unknown."""

    result: Result
    folder: Path | None = None
    """Where answers lie."""
    name: str = ""
    """In sentences: the text between the brackets of its id where that is enough."""

    @property
    def id(self) -> str:
        """The case."""
        return self.result.id

    @property
    def model(self) -> str:
        """The model's name."""
        return str(self.result.training["model"])

    @property
    def size(self) -> int:
        """Training examples, or points of a series."""
        return int(self.result.case["size"])

    @property
    def forecasts(self) -> bool:
        """Whether it forecasts series: their size counts points, and examples are windows."""
        return bool(self.result.training.get("task") == "forecast")

    @property
    def recipe(self) -> Mapping[str, Any]:
        """How it was trained, as plain data."""
        found = self.result.training.get("recipe")
        return found if isinstance(found, Mapping) else {}

    @cached_property
    def metric(self) -> Metric:
        """The one that the case is judged by."""
        return main_metric_of(self.result)

    @cached_property
    def spread(self) -> Spread:
        """Of that metric, over the seeds."""
        return self.result.spread(self.metric)

    def mean(self, name: str) -> float | None:
        """Return the mean of a metric or baseline."""
        return mean_if_known([run.value(name) for run in self.result.runs])

    # learning

    @property
    def gap(self) -> float | None:
        """By how much the accuracy on training examples exceeds that of the test."""
        return difference(self.mean("train_accuracy"), self.mean("test_accuracy"))

    @property
    def used_up(self) -> float:
        """Share of the runs that ended with the budget of epochs, not before."""
        budget = self.recipe.get("epochs")
        return share_of(self.result.runs, lambda run: len(run.epochs) == budget)

    @property
    def best_is_last(self) -> float:
        """Share of the runs whose best epoch is the last."""
        return share_of(self.result.runs, lambda run: run.best_epoch == len(run.epochs))

    @property
    def epochs(self) -> float | None:
        """Epochs that were trained."""
        return mean_if_known([float(len(run.epochs)) for run in self.result.runs])

    @property
    def steady(self) -> bool:
        """Whether its times tell anything: no run shared the machine, and seeds took alike."""
        seconds = [run.value("train_seconds") or 0.0 for run in self.result.runs]
        return max(seconds) <= UNSTEADY * min(seconds) and not self.result.contended

    @property
    def steps(self) -> float | None:
        """Steps that were trained."""
        return self.over_runs(lambda epochs: float(sum(epoch.steps for epoch in epochs)))

    def end_of(self, score: str, *, validation: bool = False) -> float | None:
        """Return a score of the last epoch."""
        return self.over_runs(lambda epochs: score_of(epochs[-1], score, validation))

    def start_of(self, score: str) -> float | None:
        """Return a score of the first epoch, of training."""
        return self.over_runs(lambda epochs: score_of(epochs[0], score, False))

    def best_losses(self, *, validation: bool = False) -> list[float | None]:
        """Return of each run the loss of the epoch whose weights were tested."""
        kept = [kept_epoch(run) for run in self.result.runs]
        return [score_of(epoch, "loss", validation) if epoch else None for epoch in kept]

    def best_loss(self, *, validation: bool = False) -> float | None:
        """Return the mean of these losses."""
        return mean_if_known(self.best_losses(validation=validation))

    def change_of(self, score: str, *, validation: bool = False) -> float | None:
        """Return by how much a score changed over the end of the training."""

        def change(epochs: tuple[Epoch, ...]) -> float | None:
            before = epochs[-1 - max(1, len(epochs) // LATE)] if len(epochs) > 1 else None
            if before is None:
                return None
            ends = (score_of(epoch, score, validation) for epoch in (epochs[-1], before))
            return difference(*ends)

        return self.over_runs(change)

    def falling(self, *, validation: bool = False) -> float | None:
        """Return by which share the loss fell over the end of the training."""
        end, change = (
            self.end_of("loss", validation=validation),
            self.change_of("loss", validation=validation),
        )
        if end is None or change is None or end - change <= 0:
            return None
        return -change / (end - change)

    @property
    def end(self) -> str:
        """The end of the training, in words."""
        epochs = max(1, min((len(run.epochs) for run in self.result.runs), default=1) // LATE)
        return "the last epoch" if epochs == 1 else f"the last {epochs} epochs"

    @property
    def risen(self) -> float | None:
        """By which share the validation loss ended above its lowest."""

        def rise(epochs: tuple[Epoch, ...]) -> float | None:
            losses = [score_of(epoch, "loss", True) for epoch in epochs]
            known = [loss for loss in losses if loss is not None]
            lowest = min(known, default=0.0)
            return known[-1] / lowest - 1 if lowest > 0 else None

        return self.over_runs(rise)

    @property
    def fell_on(self) -> float | None:
        """By which share the training loss fell after the best epoch."""
        best, last = self.best_loss(), self.end_of("loss")
        return None if best is None or last is None or best <= 0 else 1 - last / best

    @cached_property
    def jumps(self) -> list[tuple[float, Run, int]]:
        """Of each run the largest ratio of an epoch's training loss to the one before it."""
        found = []
        for run in self.result.runs:
            losses = [score_of(epoch, "loss", False) for epoch in run.epochs]
            rises = [
                (after / before, number)
                for number, (before, after) in enumerate(pairwise(losses), 2)
                if before is not None and after is not None and before > 0
                if known(after / before)
            ]
            if rises:
                most, number = max(rises)
                found.append((most, run, number))
        return found

    @property
    def gradient(self) -> float | None:
        """Norm of the gradient, the median epoch's."""

        def median(epochs: tuple[Epoch, ...]) -> float | None:
            norms = sorted(norm for epoch in epochs if known(norm := epoch.gradient_norm))
            return norms[len(norms) // 2] if norms else None

        return self.over_runs(median)

    @property
    def moved(self) -> bool | None:
        """Whether the training loss fell by a tenth over the epochs."""
        first, last = self.start_of("loss"), self.end_of("loss")
        return None if first is None or last is None else last < 0.9 * first

    @property
    def made_harder(self) -> bool:
        """Whether training examples are changed or smoothed, so that fewer are got right."""
        transforms = self.recipe.get("transforms")
        changes = transforms if isinstance(transforms, Mapping) else {}
        changed = any(changes.get(name) for name in ("mixup", "cutmix", "shift", "flip"))
        cropped = changes.get("crop", 1.0) != 1
        return changed or cropped or bool(self.recipe.get("label_smoothing"))

    def over_runs(self, of: Callable[[tuple[Epoch, ...]], float | None]) -> float | None:
        """Return the mean of what follows from each run's epochs."""
        return mean_if_known(
            [of(run.epochs) if run.epochs else None for run in self.result.runs]
        )

    # answers

    @cached_property
    def answers(self) -> tuple[Mapping[str, Any], ...]:
        """Arrays by name of what the net said of each test example, a run each, with `names`.

        Nothing where any run lacks them, or where they are not as they were stored.
        """
        folder = self.folder
        if folder is None or any(
            run.answers is None or answers.damaged_answers(folder, run)
            for run in self.result.runs
        ):
            return ()
        try:
            found = [answers.load_answers(folder, run.id, run.seed) for run in self.result.runs]
        except store.StoreError:
            return ()
        if not all(answers.are_rows(names, arrays) for names, arrays in found):
            return ()
        return tuple({**arrays, "names": names} for names, arrays in found)

    @cached_property
    def classified(self) -> bool:
        """Whether every run says of each test example its class, and the predicted one."""
        wanted = {"label", "predicted", "confidence"}
        found = [
            a
            for a in self.answers
            if wanted <= a.keys() and answers.are_chances(a["confidence"])
        ]
        return bool(found) and len(found) == len(self.answers)

    @property
    def confidence(self) -> float | None:
        """Mean of the chance that it gives to what it predicts."""
        if not self.classified:
            return None
        return mean_if_known([float(a["confidence"].mean()) for a in self.answers])

    @cached_property
    def calibration_error(self) -> float | None:
        """Expected calibration error of the answers (Guo et al. 2017, arXiv 1706.04599)."""
        if not self.classified:
            return None
        return mean_if_known([answers.calibration_error(a) for a in self.answers])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by label; nothing where the records do not say."""
        found = self.result.runs[0].data.get("classes")
        return tuple(map(str, found)) if isinstance(found, list | tuple) else ()

    @property
    def counts(self) -> Mapping[str, int]:
        """Examples by split."""
        said = self.result.runs[0].data.get("counts")
        known = said.items() if isinstance(said, Mapping) else ()
        return {name: count for name, count in known if isinstance(count, int)}


def difference(first: float | None, second: float | None) -> float | None:
    """Return a difference, None where either side is not known."""
    return None if first is None or second is None else first - second


def kept_epoch(run: Run) -> Epoch | None:
    """Return the epoch whose weights were tested."""
    best = run.best_epoch
    return run.epochs[best - 1] if best and best <= len(run.epochs) else None


def score_of(epoch: Epoch, score: str, validation: bool) -> float | None:
    """Return a finite score of an epoch."""
    value = (epoch.validation if validation else epoch.train).get(score)
    return value if value is not None and math.isfinite(value) else None


def share_of(runs: tuple[Run, ...], holds: Callable[[Run], bool]) -> float:
    """Return the share of runs that something holds of."""
    return sum(map(holds, runs)) / len(runs)
