"""A case beside its base, seed by seed: what a change did, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeGuard

from pytest_amlnn.gates.comparable import table_in, without_code
from pytest_amlnn.gates.measured import main_metric_of, trace_of
from pytest_amlnn.identity import changes
from pytest_amlnn.metrics import Metric, change_that_matters
from pytest_amlnn.result import BREAKS, FINISHED, Result, Run
from pytest_amlnn.statistics import (
    IMPLAUSIBLE,
    UNLIKELY,
    chance_of_so_many,
    mean_if_known,
    spread_of_ratios,
)

LARGEST = 1e50
"""Of values that are compared: their squares are numbers."""
TRAINED = "recipe.trained"
"""The field that says which layers are trained."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A case and its base, as far as they were trained."""

    case: Result
    base: Result
    lacking: tuple[int, ...] = ()
    """Seeds of the case that were planned and have no run."""
    looks: int = 1
    """So many times it may be judged, as it gets more seeds."""

    @property
    def name(self) -> str:
        """Of the change."""
        return str(self.case.case["improvement"]["name"])

    @property
    def advice(self) -> str:
        """Which advice it puts to the test; nothing where it is nobody's."""
        return str(self.case.case["improvement"].get("advice") or "")

    @property
    def model(self) -> str:
        """Of the base."""
        return str(self.base.training["model"])

    @cached_property
    def metric(self) -> Metric:
        """The one that the base is judged by."""
        return main_metric_of(self.base)

    @cached_property
    def pairs(self) -> tuple[tuple[Run, Run], ...]:
        """Runs of the case, each with that of its base with the same seed."""
        theirs = {run.seed: run for run in self.base.runs}
        return tuple((run, theirs[run.seed]) for run in self.case.runs if run.seed in theirs)

    # values

    @cached_property
    def differences(self) -> tuple[float, ...]:
        """By how much the case is better than its base, by seed; none where a value lacks."""
        sign = -1.0 if self.metric.better == "lower" else 1.0
        found = [
            (value_of(mine, self.metric), value_of(base, self.metric))
            for mine, base in self.pairs
        ]
        known = [sign * (a - b) for a, b in found if a is not None and b is not None]
        return tuple(known) if len(known) == len(found) else ()

    @property
    def mean(self) -> float | None:
        """Of the case, over the seeds."""
        return mean_if_known([value_of(mine, self.metric) for mine, _ in self.pairs])

    @property
    def base_mean(self) -> float | None:
        """Of the base, over the same seeds."""
        return mean_if_known([value_of(base, self.metric) for _, base in self.pairs])

    @property
    def matters(self) -> float:
        """The change that anybody would act on."""
        return change_that_matters(self.metric, self.base_mean or 0.0)

    # what can be said of them

    @cached_property
    def trouble(self) -> str:
        """Say why the two cannot be compared; nothing where they can."""
        if self.lacking:
            more = f" and {len(self.lacking) - 1} more" if len(self.lacking) > 1 else ""
            return f"no run with seed {self.lacking[0]}{more}"
        lacking = [seed for seed in self.case.seeds if seed not in self.base.seeds]
        if lacking:
            return f"its base has no run with seed {lacking[0]}"
        for mine, base in self.pairs:
            if base.status != FINISHED:
                return f"its base {base.status} with seed {base.seed}"
            if mine.status not in (FINISHED, *BREAKS):
                return f"{mine.status} with seed {mine.seed}"
        if not self.differences and not self.broken:
            return f"not every run has a {self.metric.name} that can be compared"
        return ""

    @property
    def broken(self) -> tuple[Run, ...]:
        """Runs of the case that the change kept from learning."""
        return tuple(run for run in self.case.runs if run.status in BREAKS)

    @cached_property
    def is_at_chance(self) -> bool:
        """Whether no run is better than guessing, where every run of the base surely is."""
        chances = [(guessed(mine, self), guessed(base, self)) for mine, base in self.pairs]
        return all(
            mine is not None and base is not None and mine >= UNLIKELY and base < IMPLAUSIBLE
            for mine, base in chances
        )

    @cached_property
    def is_identical(self) -> bool:
        """Whether each run has the bits of the base's with the same seed."""
        return all(
            (ours.epochs, ours.end) == (theirs.epochs, theirs.end)
            for ours, theirs in ((trace_of(mine), trace_of(base)) for mine, base in self.pairs)
        )

    @property
    def group(self) -> tuple[object, ...]:
        """What effects have in common whose seeds differ about as much."""
        return (self.metric.name, self.base.training["dataset"], self.base.case["size"])

    @cached_property
    def changed(self) -> dict[str, tuple[Any, Any]]:
        """What differs between the two trainings: of each field its value before, and now."""
        return changes(without_code(self.base.training), without_code(self.case.training))

    # costs

    @property
    def seconds(self) -> float | None:
        """Training time over that of the base, the geometric mean over the seeds; None where
        another run shared the machine, more seeds were trained at once on one side, or a run
        broke off."""
        if self.case.contended or self.base.contended or self.broken:
            return None
        if any(mine.together != base.together for mine, base in self.pairs):
            return None
        found = [(a.value("train_seconds"), b.value("train_seconds")) for a, b in self.pairs]
        ratios = [a / b if a and b else None for a, b in found]
        return spread_of_ratios([ratio or None for ratio in ratios]).mean

    @property
    def operations(self) -> float | None:
        """Operations of all forward passes in training over those of the base; None where a run
        broke off, or another share of the layers is trained: backward passes differ then."""
        if self.broken or TRAINED in self.changed:
            return None
        ours = operations_of([mine for mine, _ in self.pairs])
        theirs = operations_of([base for _, base in self.pairs])
        return ours / theirs if ours and theirs else None


def value_of(run: Run, metric: Metric) -> float | None:
    """Return the value of a metric that can be compared; None where a run has none."""
    value = run.value(metric.name)
    return value if value is not None and abs(value) <= LARGEST else None


def guessed(run: Run, effect: Effect) -> float | None:
    """Return the chance of so many right answers by guessing; None where nothing tells."""
    value, chance, tests = run.value(effect.metric.name), run.value("chance"), effect.base.tests
    if not effect.metric.of_examples or value is None or chance is None or not tests:
        return None
    return chance_of_so_many(round(value * tests), tests, chance)


def operations_of(runs: Sequence[Run]) -> float | None:
    """Return the operations of a run's forward passes in training, the mean over the runs."""
    each = []
    for run in runs:
        batch = table_in(run.case["training"], "recipe").get("batch_size")
        examples = float(batch) * sum(e.steps for e in run.epochs) if is_count(batch) else 0.0
        operations = (run.value("flops_per_sample") or 0.0) * examples
        each.append(operations if 0 < operations <= LARGEST else None)
    return mean_if_known(each)


def is_count(value: Any) -> TypeGuard[float]:
    """Return whether a value of a record is a number above 0."""
    return isinstance(value, int | float) and 0 < value < math.inf


def effects_of(
    results: Sequence[Result],
    *,
    lacking: Mapping[str, Sequence[int]] | None = None,
    looks: Mapping[str, int] | None = None,
) -> list[Effect]:
    """Return the improvements among results whose base was trained, too.

    `lacking` are the seeds that cases were planned with and have no run, `looks` says how often
    a case may be judged.
    """
    known = {result.id: result for result in results}
    return [
        Effect(
            case=result,
            base=known[found["base"]],
            lacking=tuple((lacking or {}).get(result.id, ())),
            looks=(looks or {}).get(result.id, 1),
        )
        for result in results
        if (found := result.improvement) and found["base"] in known
    ]
