"""What a change is worth: whether chance makes its effect, among all that were tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_amlnn.effects import Effect
from pytest_amlnn.gates.bounds import MOST_SEEDS, t_quantile
from pytest_amlnn.statistics import (
    SURE,
    Prior,
    deviation,
    mean_of,
    moderation,
    two_sided,
)

IDENTICAL, HELPS, HURTS = "identical", "helps", "hurts"
OPEN, NOT_COMPARABLE = "not distinguishable", "not comparable"
ENOUGH = 3
"""Pairs of seeds from which their spread is estimated."""


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
    """Bounds of it, at the level that it has in its family: 0 is between them unless it helps
    or hurts. None where it is not told from chance."""
    chance: float | None = None
    """Of a difference so large either way, if there were none."""
    adjusted: float | None = None
    """The same, for all that were tried (Holm), and all times that they may be judged."""
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

    @property
    def is_open(self) -> bool:
        """Whether more seeds may tell what it is worth."""
        return self.verdict == OPEN and not self.small


def judge(effects: Sequence[Effect], *, family: int | None = None) -> list[Worth]:
    """Judge effects together, by Holm's steps: of `family` that were planned.

    The variance between seeds is moderated by that of the other effects on the same data: three
    seeds alone say little of it. What is told from chance has bounds at the level of its step;
    the others at that of the first, so that those that are too small to matter share it, too.
    """
    priors = priors_of([effect for effect in effects if is_tested(effect)])
    errors = {
        i: error_of(effect, priors[effect.group])
        for i, effect in enumerate(effects)
        if is_tested(effect)
    }
    identical = sum(not effect.trouble and effect.is_identical for effect in effects)
    among = max((family or len(effects)) - identical, len(errors), 1)
    chances = {i: two_sided(mean_of(effects[i].differences), *errors[i]) for i in errors}
    worths, adjusted = [*map(without_chance, effects)], 0.0
    tried = {i: chance * effects[i].looks for i, chance in chances.items()}
    for i in sorted(tried, key=lambda i: tried[i]):
        left, looks = among - sum(t < tried[i] for t in tried.values()), effects[i].looks
        adjusted = max(adjusted, min(1.0, tried[i] * left))
        sure = adjusted < SURE
        level = SURE / (left if sure else among) / looks
        found = replace(worths[i], chance=chances[i], adjusted=adjusted)
        worths[i] = with_verdict(found, *errors[i], level, sure=sure)
    return worths


def is_open(effect: Effect, *, family: int, looks: int) -> bool:
    """Return whether more seeds could decide what an effect is worth."""
    (worth,) = judge([replace(effect, looks=looks)], family=family)
    return worth.is_open


# without chance


def without_chance(effect: Effect) -> Worth:
    """Return what is said of an effect before it is told from chance."""
    if effect.trouble:
        return Worth(effect=effect, verdict=NOT_COMPARABLE, why=effect.trouble)
    if effect.broken:
        first = effect.broken[0]
        runs = f"{len(effect.broken)} of {len(effect.case.runs)} runs {first.status}"
        why = f"{runs}: seed {first.seed}, {first.reason}"
        return Worth(effect=effect, verdict=HURTS, why=why)
    if effect.is_identical:
        why = "the same bits with every seed"
        return Worth(
            effect=effect, verdict=IDENTICAL, difference=0.0, low=0.0, high=0.0, why=why
        )
    return Worth(
        effect=effect,
        verdict=OPEN,
        difference=mean_of(effect.differences),
        needs_seeds=ENOUGH,
        why=f"{in_words(effect)} alone: how much seeds differ is not known",
    )


def is_tested(effect: Effect) -> bool:
    """Return whether chance is what an effect has to be told from."""
    usable = not (effect.trouble or effect.broken or effect.is_identical)
    return usable and len(effect.differences) >= ENOUGH


def in_words(effect: Effect) -> str:
    """Return how many seeds an effect has."""
    count = len(effect.differences)
    return "1 seed" if count == 1 else f"{count} seeds"


# with chance


def priors_of(effects: Sequence[Effect]) -> dict[tuple[object, ...], Prior]:
    """Return what the effects of each group tell of how much its seeds differ.

    Those that are equal with every seed tell nothing of it.
    """
    found: dict[tuple[object, ...], list[tuple[float, int]]] = {}
    for effect in effects:
        mine = found.setdefault(effect.group, [])
        if len({*effect.differences}) > 1:
            mine.append((variance_of(effect), len(effect.differences) - 1))
    return {group: moderation(variances) for group, variances in found.items()}


def variance_of(effect: Effect) -> float:
    """Return the variance of the differences; equal ones are so by rounding."""
    tests = effect.base.tests
    one_example = 1 / tests if effect.metric.of_examples and tests else 0.0
    return max(deviation(effect.differences), one_example, 1e-12) ** 2


def error_of(effect: Effect, prior: Prior) -> tuple[float, float]:
    """Return the standard error of an effect, and its degrees of freedom."""
    count = len(effect.differences)
    variance, freedom = prior.moderated(variance_of(effect), count - 1)
    return math.sqrt(variance / count), freedom


def with_verdict(
    worth: Worth, error: float, freedom: float, level: float, *, sure: bool
) -> Worth:
    """Return it with bounds and verdict, and if that is open the seeds that would decide."""
    away, half = worth.difference or 0.0, t_quantile(level / 2, freedom) * error
    found = replace(worth, low=away - half, high=away + half, needs_seeds=None)
    said = f"paired by {in_words(worth.effect)}"
    if sure:
        less = "; less than matters" if found.small else ""
        return replace(found, verdict=HELPS if away > 0 else HURTS, why=said + less)
    if worth.effect.is_at_chance:
        why = (
            "at chance with every seed: no run is better than guessing, and each of its base is"
        )
        return replace(worth, verdict=HURTS, needs_seeds=None, why=why)
    if found.small:
        return replace(found, why=f"{said}: too small to matter either way")
    needs = seeds_needed(found, error, freedom, level)
    return replace(found, needs_seeds=needs, why=said)


def seeds_needed(worth: Worth, error: float, freedom: float, level: float) -> int | None:
    """Return how many seeds would decide, if they went on as these do; None if none would."""
    away, seeds = abs(worth.difference or 0.0), len(worth.effect.differences)
    for count in range(seeds + 1, MOST_SEEDS + 1):
        half = t_quantile(level / 2, freedom + count - seeds) * error
        half *= math.sqrt(seeds / count)
        if away > half or away + half < worth.effect.matters:
            return count
    return None
