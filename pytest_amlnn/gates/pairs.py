"""Two sides run by run: pairs with the same seed, or one run each, example by example."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from pytest_amlnn.gates import bounds
from pytest_amlnn.gates.bounds import Levels, one_sided, t_quantile
from pytest_amlnn.gates.limits import Limit
from pytest_amlnn.gates.measured import Measured, right_of
from pytest_amlnn.gates.verdict import INCONCLUSIVE, Judgement, decided
from pytest_amlnn.metrics import Metric, change_that_matters
from pytest_amlnn.statistics import NORMAL, deviation, mean_of

LARGEST_MARGIN = 0.1
"""Of the baseline's value: a drop that few seeds cannot tell is not therefore small."""
SEEDS_DIFFER = 0.05
"""Standard deviation between seeds of an accuracy, taken where one run is all there is: 14 of
the 16 picture cases of the quick suite have less (benchmarks/gates.toml)."""


def margin_within(told: float, least: float, reference: float) -> float:
    """Return the drop that matters against a baseline: what seeds tell, up to a tenth."""
    return max(least, min(told, LARGEST_MARGIN * abs(reference)))


def by_pairs(
    differences: Sequence[float],
    mine: list[float],
    base: list[float],
    metric: Metric,
    levels: Levels,
) -> Judgement:
    """Judge by the differences of pairs with the same seed: Student's t."""
    count, reference = len(differences), mean_of(base)
    least = change_that_matters(metric, reference)
    away, sd = math.fsum(differences) / count, deviation(differences)
    if sd == 0 and away != 0:  # equal by rounding, as accuracies are
        sd = least
    error, words = sd / math.sqrt(count), f"paired by {count} seeds"
    found = by_error(away, error, count - 1, mine, base, metric, levels, words)
    if found.verdict != INCONCLUSIVE:
        return found
    sign = -1.0 if metric.better == "lower" else 1.0
    needs = pairs_needed(sign * away, sd, count, reference, least, levels.drop)
    return replace(found, needs_seeds=needs)


def pairs_needed(
    away: float, sd: float, count: int, reference: float, least: float, level: float
) -> int | None:
    """Return how many pairs would decide, if they went on as these; None if none do.

    The margin is what these tell, so it falls as they get more, down to the drop that matters.
    """
    for more in range(count + 1, bounds.MOST_SEEDS + 1):
        error = sd / math.sqrt(more)
        reach = (t_quantile(level, more - 1) + t_quantile(1 - bounds.POWER, more - 1)) * error
        if away - reach > -margin_within(reach, least, reference) or away + reach < 0:
            return more
    return None


def by_error(
    away: float,
    error: float,
    freedom: int,
    mine: list[float],
    base: list[float],
    metric: Metric,
    levels: Levels,
    words: str,
) -> Judgement:
    """Judge a difference whose standard error is known, with so many degrees of freedom."""
    sign, reference = -1.0 if metric.better == "lower" else 1.0, mean_of(base)
    least = change_that_matters(metric, reference)
    half = t_quantile(levels.drop, freedom) * error
    gain = sign * away - t_quantile(levels.gain, freedom) * error
    told = half + t_quantile(1 - bounds.POWER, freedom) * error
    margin = margin_within(told, least, reference)
    low, high = sign * away - half, sign * away + half
    gains = math.inf if metric.of_machine else least  # less memory is no wonder
    verdict = decided(low, high, gain, margin=margin, gains=gains)
    chances = [one_sided(side * sign * away, error, freedom) for side in (1.0, -1.0)]
    return Judgement(
        limit=Limit(case="", metric=metric.name),
        value=mean_of(mine),
        reference=reference,
        verdict=verdict,
        margin=margin,
        low=away - half,
        high=away + half,
        chance=min(chances[0] / levels.drop, chances[1] / levels.gain),
        why=(words,),
    )


def one_run(
    ours: Measured,
    theirs: Measured,
    mine: list[float],
    base: float,
    metric: Metric,
    levels: Levels,
) -> Judgement:
    """Judge by one run of the baseline: the test examples, one by one (McNemar 1947).

    They say whether two nets differ. Two trainings that differ by chance alone give nets that
    differ, too: for that a variance between seeds is added. A net that fails by itself with one
    seed of many cannot be told from one that was broken: who wants that takes more seeds.
    """
    now, then = (right_of(side.right) for side in (ours, theirs))
    if len(mine) > 1 or metric.name != "test_accuracy" or not now or len(now) != len(then):
        return several_against_one(mine, base, metric, levels)
    count = len(now)
    gained = sum(x and not y for x, y in zip(now, then, strict=True))
    lost = sum(y and not x for x, y in zip(now, then, strict=True))
    between_nets = (gained + lost - (gained - lost) ** 2 / count) / count**2
    error = math.sqrt(between_nets + 2 * SEEDS_DIFFER**2)
    words = (
        f"one run on each side: {lost} test examples were right and are wrong, {gained} the"
        " other way round"
    )
    away = mine[0] - base
    found = by_error(away, error, NORMAL, mine, [base], metric, levels, words)
    if found.verdict != INCONCLUSIVE:
        return found
    least = change_that_matters(metric, base)
    needs = pairs_needed(away, math.sqrt(2) * SEEDS_DIFFER, 2, base, least, levels.drop)
    return replace(found, needs_seeds=needs)


def several_against_one(
    mine: list[float], base: float, metric: Metric, levels: Levels
) -> Judgement:
    """Judge runs by one run of the baseline, by how much ours differ among themselves."""
    count, least = len(mine), SEEDS_DIFFER if metric.share else 0.0
    sd = max(deviation(mine) if count > 1 else 0.0, least)
    words = f"{count} run{'s' * (count > 1)} against one"
    if sd == 0 or (count < 3 and not least):
        return Judgement(
            limit=Limit(case="", metric=metric.name),
            value=math.fsum(mine) / count,
            reference=base,
            verdict=INCONCLUSIVE,
            needs_seeds=3 if count < 3 else None,
            why=(words, "how much its seeds differ is not known"),
        )
    freedom = NORMAL if sd == least else count - 1
    error = sd * math.sqrt(1 / count + 1)
    away = math.fsum(mine) / count - base
    return by_error(away, error, freedom, mine, [base], metric, levels, words)
