"""What a change is worth: a case against its base, seed by seed, among all that were tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from pytest_amlnn.gates.bounds import MOST_SEEDS, t_quantile
from pytest_amlnn.gates.measured import main_metric_of, trace_of
from pytest_amlnn.metrics import Metric, change_that_matters
from pytest_amlnn.result import BREAKS, FINISHED, Result, Run
from pytest_amlnn.statistics import (
    SURE,
    deviation,
    mean_of,
    moderation,
    spread_of_ratios,
    two_sided,
)

IDENTICAL, HELPS, HURTS = "identical", "helps", "hurts"
OPEN, NOT_COMPARABLE = "not distinguishable", "not comparable"
ENOUGH = 3
"""Pairs of seeds from which their spread is estimated."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A case and its base, as far as they were trained."""

    case: Result
    base: Result

    @property
    def name(self) -> str:
        """Of the change."""
        return str(self.case.case["improvement"]["name"])

    @property
    def advice(self) -> str:
        """Which advice it puts to the test; nothing where it is nobody's."""
        return str(self.case.case["improvement"]["advice"])

    @cached_property
    def metric(self) -> Metric:
        """The one that the base is judged by."""
        return main_metric_of(self.base)

    @cached_property
    def differences(self) -> tuple[float, ...]:
        """By how much the case is better than its base, by seed; nothing without values."""
        sign = -1.0 if self.metric.better == "lower" else 1.0
        sides = [{run.seed: run.value(self.metric.name) for run in r.runs} for r in self.sides]
        pairs = [(sides[0].get(seed), sides[1].get(seed)) for seed in self.case.seeds]
        known = [sign * (a - b) for a, b in pairs if a is not None and b is not None]
        return tuple(known) if len(known) == len(pairs) else ()

    @property
    def sides(self) -> tuple[Result, Result]:
        """The case and its base."""
        return self.case, self.base

    @property
    def broken(self) -> tuple[Run, ...]:
        """Runs of the case that the change kept from learning."""
        return tuple(run for run in self.case.runs if run.status in BREAKS)

    @property
    def trouble(self) -> str:
        """Say why the two cannot be compared; nothing where they can."""
        for side, name in ((self.base, "its base"), (self.case, "the case")):
            wrong = [run for run in side.runs if run.status != FINISHED]
            wrong = [run for run in wrong if side is self.base or run not in self.broken]
            if wrong:
                return f"{name}: seed {wrong[0].seed} {wrong[0].status}"
        lacking = [seed for seed in self.case.seeds if seed not in self.base.seeds]
        if lacking:
            return f"its base has no run with seed {lacking[0]}"
        if not self.differences and not self.broken:
            return f"not every run has {self.metric.name}"
        return ""

    @property
    def is_identical(self) -> bool:
        """Whether each run has the bits of the base's with the same seed."""
        theirs = {run.seed: trace_of(run) for run in self.base.runs}
        return all(
            (mine.epochs, mine.end) == (theirs[run.seed].epochs, theirs[run.seed].end)
            for run in self.case.runs
            if (mine := trace_of(run))
        )

    @property
    def group(self) -> tuple[object, ...]:
        """What effects have in common whose seeds differ about as much."""
        return (self.metric.name, self.base.training["dataset"], self.base.case["size"])

    @property
    def matters(self) -> float:
        """The change that anybody would act on."""
        values = [run.value(self.metric.name) or 0.0 for run in self.base.runs]
        return change_that_matters(self.metric, mean_of(values))

    @property
    def seconds(self) -> float | None:
        """Training time over that of the base, the geometric mean over the seeds; None where
        another run shared the machine."""
        if self.case.contended or self.base.contended:
            return None
        theirs = {run.seed: run.value("train_seconds") for run in self.base.runs}
        pairs = [(run.value("train_seconds"), theirs.get(run.seed)) for run in self.case.runs]
        return spread_of_ratios([a / b if a and b else None for a, b in pairs]).mean

    @property
    def operations(self) -> float | None:
        """Operations of all forward passes in training over those of the base."""
        ours, theirs = (operations_of(side) for side in self.sides)
        return ours / theirs if ours and theirs else None


def operations_of(result: Result) -> float | None:
    """Return the operations of a run's forward passes in training, the mean over the runs."""
    batch = float(result.training["recipe"]["batch_size"])
    each = [
        (run.value("flops_per_sample") or 0.0) * batch * sum(e.steps for e in run.epochs)
        for run in result.runs
    ]
    return mean_of(each) if all(each) else None


def effects_of(results: Sequence[Result]) -> list[Effect]:
    """Return the improvements among results whose base was trained, too."""
    known = {result.id: result for result in results}
    return [
        Effect(case=result, base=known[found["base"]])
        for result in results
        if (found := result.case.get("improvement")) and found["base"] in known
    ]


# verdicts


@dataclass(frozen=True, kw_only=True)
class Worth:
    """What is said of an effect."""

    effect: Effect
    verdict: str
    """`helps`, `hurts`, `not distinguishable`, `identical` or `not comparable`."""
    difference: float | None = None
    """Mean over the seeds, above 0 where the change is better."""
    low: float | None = None
    high: float | None = None
    """Bounds of it, at the level that it has in its family."""
    chance: float | None = None
    """Of a difference so large either way, if there were none."""
    adjusted: float | None = None
    """The same, for all that were tried (Holm)."""
    needs_seeds: int | None = None
    """So many would decide, if they went on as these do; of one that is open."""
    why: str = ""
    """What is behind the verdict, in words."""

    @property
    def small(self) -> bool:
        """Whether the change matters to nobody, either way."""
        if self.low is None or self.high is None:
            return False
        return max(-self.low, self.high) < self.effect.matters


def judge(
    effects: Sequence[Effect], *, family: int | None = None, looks: int = 1
) -> list[Worth]:
    """Judge effects together, by Holm's steps: of `family` that were planned.

    Each may be judged up to `looks` times, as it gets more seeds. The variance between seeds is
    moderated by that of the other effects on the same data: three seeds alone say little of it
    (Smyth 2004, doi:10.2202/1544-6115.1027).
    """
    tested = {i: error_of(effect, effects) for i, effect in enumerate(effects)}
    known = {i: found for i, found in tested.items() if found is not None}
    fixed = sum(not e.trouble and e.is_identical for e in effects)
    among = max((family or len(effects)) - fixed, len(known), 1)
    chances = {
        i: min(1.0, looks * two_sided(mean_of(effects[i].differences), error, freedom))
        for i, (error, freedom) in known.items()
    }
    order, worths, largest = sorted(chances, key=lambda i: chances[i]), {}, 0.0
    for step, i in enumerate(order):
        largest = max(largest, min(1.0, chances[i] * (among - step)))
        level = SURE / (among - step) / looks
        found = bounded(effects[i], *known[i], level)
        found = replace(found, chance=chances[i], adjusted=largest)
        worths[i] = with_verdict(found, known[i][0], level)
    return [
        worths[i] if i in worths else without_chance(effect) for i, effect in enumerate(effects)
    ]


def without_chance(effect: Effect) -> Worth:
    """Return what is said of an effect that is not tested against chance."""
    if effect.trouble:
        return Worth(effect=effect, verdict=NOT_COMPARABLE, why=effect.trouble)
    if effect.broken:
        first = effect.broken[0]
        count, all_runs = len(effect.broken), len(effect.case.runs)
        why = f"{count} of {all_runs} runs {first.status}: seed {first.seed}, {first.reason}"
        return Worth(effect=effect, verdict=HURTS, why=why)
    if effect.is_identical:
        return Worth(effect=effect, verdict=IDENTICAL, difference=0.0, low=0.0, high=0.0)
    return Worth(
        effect=effect,
        verdict=OPEN,
        difference=mean_of(effect.differences),
        needs_seeds=ENOUGH,
        why=f"{len(effect.differences)} seeds: how much seeds differ is not known",
    )


def error_of(effect: Effect, effects: Sequence[Effect]) -> tuple[float, float] | None:
    """Return the standard error of an effect, and its degrees of freedom; None without one."""
    if not is_tested(effect):
        return None
    alike = [e for e in effects if is_tested(e) and e.group == effect.group]
    prior = moderation([(variance_of(e), len(e.differences) - 1) for e in alike])
    count = len(effect.differences)
    variance, freedom = prior.moderated(variance_of(effect), count - 1)
    return math.sqrt(variance / count), freedom


def is_tested(effect: Effect) -> bool:
    """Return whether chance is what an effect has to be told from."""
    usable = not (effect.trouble or effect.broken or effect.is_identical)
    return usable and len(effect.differences) >= ENOUGH


def variance_of(effect: Effect) -> float:
    """Return the variance of the differences; equal ones are so by rounding."""
    tests = effect.base.tests
    one_example = 1 / tests if effect.metric.of_examples and tests else 0.0
    return max(deviation(effect.differences), one_example, 1e-12) ** 2


def bounded(effect: Effect, error: float, freedom: float, level: float) -> Worth:
    """Return an effect with its bounds at a level, which both sides share."""
    mean, half = mean_of(effect.differences), t_quantile(level / 2, freedom) * error
    return Worth(
        effect=effect, verdict=OPEN, difference=mean, low=mean - half, high=mean + half
    )


def with_verdict(worth: Worth, error: float, level: float) -> Worth:
    """Return it with its verdict, and if that is open the seeds that would decide."""
    away, count = worth.difference or 0.0, len(worth.effect.differences)
    said = f"paired by {count} seeds"
    if worth.adjusted is not None and worth.adjusted < SURE:
        return replace(worth, verdict=HELPS if away > 0 else HURTS, why=said)
    if worth.small:
        return replace(worth, why=f"{said}: too small to matter either way")
    needs = seeds_needed(worth, error * math.sqrt(count), level)
    return replace(worth, needs_seeds=needs, why=said)


def seeds_needed(worth: Worth, sd: float, level: float) -> int | None:
    """Return how many seeds would decide, if they went on as these do; None if none would."""
    away = abs(worth.difference or 0.0)
    for count in range(len(worth.effect.differences) + 1, MOST_SEEDS + 1):
        half = t_quantile(level / 2, count - 1) * sd / math.sqrt(count)
        if away > half or away + half < worth.effect.matters:
            return count
    return None


def is_open(effect: Effect, *, family: int, looks: int) -> bool:
    """Return whether more seeds could decide what an effect is worth."""
    (worth,) = judge([effect], family=family, looks=looks)
    return worth.verdict == OPEN and not worth.small
