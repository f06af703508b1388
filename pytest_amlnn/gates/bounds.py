"""Bounds on how far results lie from a reference: by Student's t, and for runs that fail.

Values are turned so that higher is better. A net that mostly works may stay at chance with one
seed of twenty, and a reference of twenty runs may hold no such run. So a run is taken to fail
by itself with a chance that the reference leaves open (beta-binomial, Jeffreys's prior), and a
drop counts only as far as that does not explain it. docs/gates.md has the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from pytest_amlnn.gates.reference import OUTLIER, Reference
from pytest_amlnn.statistics import mean_of

FAMILY = 0.01
"""Chance that a sweep of unchanged cases has any red limit."""
POWER = 0.95
"""Chance of a decision that a margin and a number of seeds are chosen for."""
MOST_SEEDS = 200
"""That a verdict asks for."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Where the difference to a reference lies, at some level; None where nothing bounds it."""

    low: float | None
    high: float | None


# chances


def chance_of_failures(count: int, runs: int, failed: int, worked: int) -> float:
    """Return the chance that `count` of `runs` fail by themselves, after a reference.

    Beta-binomial with Jeffreys's prior: the reference had `failed` and `worked` runs.
    """
    from scipy.special import betaln

    a, b = failed + 0.5, worked + 0.5
    ways = math.log(math.comb(runs, count))
    return math.exp(ways + float(betaln(count + a, runs - count + b) - betaln(a, b)))


@cache
def weights_of_failures(runs: int, failed: int, worked: int) -> tuple[float, ...]:
    """Return the chance of 0, 1, ... `runs` runs that fail by themselves."""
    return tuple(chance_of_failures(i, runs, failed, worked) for i in range(runs + 1))


def fewest_seeds(reference: Reference, level: float) -> int:
    """Return how many seeds can be worse at all: fewer may all have failed by themselves."""
    count = 1
    while count < MOST_SEEDS:
        if weights_of_failures(count, reference.failed, reference.n)[-1] < level:
            break
        count += 1
    return count


def chance_of_drop(values: Sequence[float], reference: Reference, shift: float = 0.0) -> float:
    """Return the chance of runs so low, if their mean were the reference's and `shift` more.

    The sum over how many of them failed by themselves: then the best of the others are judged.
    """
    best = sorted(values, reverse=True)
    weights = weights_of_failures(len(best), reference.failed, reference.n)
    total = weights[-1]
    for failures, weight in enumerate(weights[:-1]):
        kept = best[: len(best) - failures]
        away = mean_of(kept) - reference.mean - shift
        total += weight * one_sided(away, reference.error(len(kept)), reference.freedom)
    return min(1.0, total)


def one_sided(away: float, error: float, freedom: float) -> float:
    """Return the chance of a difference so low, by Student's t."""
    from scipy.special import stdtr

    return float(stdtr(freedom, away / error)) if error else float(away >= 0)


def upper_bound(values: Sequence[float], reference: Reference, level: float) -> float | None:
    """Return what the difference to the reference lies below, but for a chance of `level`."""
    if (
        not reference.freedom
        or weights_of_failures(len(values), reference.failed, reference.n)[-1] >= level
    ):
        return None  # all of them may have failed by themselves
    return solve(
        lambda shift: chance_of_drop(values, reference, shift) - level, values, reference
    )


def lower_bound(values: Sequence[float], reference: Reference, level: float) -> float | None:
    """Return what the difference lies above, but for a chance of `level`: Student's t.

    The deviation is that of both. Where the reference holds runs that failed by themselves, as
    many of these may have, too.
    """
    if not reference.freedom:
        return None
    kept = without_failures(values, reference)
    both = reference.pooled(kept)
    away = mean_of(kept) - reference.mean
    return away - t_quantile(level, both.freedom) * both.error(len(kept))


def without_failures(values: Sequence[float], reference: Reference) -> list[float]:
    """Return runs without those that failed as runs of the reference did, and no more often."""
    best = sorted(values, reverse=True)
    far = reference.mean - OUTLIER * reference.sd
    weights = weights_of_failures(len(best), reference.failed, reference.n)
    while (
        reference.failed
        and len(best) > 1
        and best[-1] < far
        and math.fsum(weights[len(values) - len(best) + 1 :]) > 0.05
    ):
        best.pop()
    return best


def solve(
    excess: Callable[[float], float], values: Sequence[float], reference: Reference
) -> float | None:
    """Return where a falling function of the shift crosses zero, by bisection."""
    unit = reference.error(1) or max(abs(reference.mean), 1e-12)
    away = [value - reference.mean for value in values]
    low, high = min(away) - unit, max(away) + unit
    for _ in range(200):
        if excess(low) > 0:
            break
        low -= unit
        unit *= 2
    for _ in range(200):
        if excess(high) < 0:
            break
        high += unit
        unit *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return high


@cache
def t_quantile(level: float, freedom: float) -> float:
    """Return what Student's t exceeds with a chance of `level`."""
    from scipy.special import stdtrit

    return -float(stdtrit(freedom, level))


# decisions


@dataclass(frozen=True, kw_only=True)
class Levels:
    """How the chance of a false alarm of one limit is shared among what may be alarming."""

    drop: float
    gain: float
    shape: float


def levels(limits: float, *, looks: int = 1) -> Levels:
    """Return the levels of one of so many limits (Bonferroni), judged so many times at most."""
    mine = FAMILY / max(limits, 1) / looks
    return Levels(drop=0.5 * mine, gain=0.2 * mine, shape=0.2 * mine)


def bounds_of(values: Sequence[float], reference: Reference, level: float) -> Bounds:
    """Return the bounds of the difference of a result to its reference."""
    return Bounds(
        low=lower_bound(values, reference, level), high=upper_bound(values, reference, level)
    )


def least_gain(values: Sequence[float], reference: Reference, level: float) -> float | None:
    """Return what a result is better by at least, but for a chance of `level`.

    Nets fail by themselves, and none is far better by itself: Student's t, unless the reference
    holds such runs.
    """
    if not reference.freedom:
        return None
    if reference.soared:
        turned = upper_bound([-value for value in values], reference.turned(), level)
        return None if turned is None else -turned
    away = mean_of(values) - reference.mean
    return away - t_quantile(level, reference.freedom) * reference.error(len(values))


def chance_of_gain(values: Sequence[float], reference: Reference) -> float:
    """Return the chance of runs so high, if their mean were the reference's."""
    turned = [-value for value in values]
    if reference.soared:
        return chance_of_drop(turned, reference.turned())
    error, away = reference.error(len(values)), mean_of(values) - reference.mean
    return one_sided(-away, error, reference.freedom)


def typical(count: int, mean: float, sd: float) -> list[float]:
    """Return so many values as a normal distribution spreads them, with this mean."""
    from scipy.special import ndtri

    return [mean + sd * float(ndtri((i + 0.625) / (count + 0.25))) for i in range(count)]


def margin_told_by(count: int, reference: Reference, level: float) -> float:
    """Return the drop whose presence or absence so many seeds show with a chance of `POWER`."""
    if not reference.freedom:
        return math.inf
    reach = t_quantile(level, reference.freedom) + t_quantile(1 - POWER, reference.freedom)
    return reach * reference.error(count)


def seeds_needed(
    values: Sequence[float], reference: Reference, margin: float, level: float
) -> int | None:
    """Return how many seeds in all would decide, if they went on as these; None if none do.

    They may come in several looks, each at its share of the level.
    """
    if not reference.freedom:
        return None
    kept = without_failures(values, reference)
    away = mean_of(kept) - reference.mean
    unlucky = t_quantile(1 - POWER, reference.freedom)
    count = len(values) + 1
    while count <= MOST_SEEDS:
        error, looks = reference.error(count), 1 + math.ceil(math.log2(count / len(values)))
        reach = t_quantile(level / looks, reference.freedom)
        if away - (reach + unlucky) * error > -margin:
            return count
        if away + (reach + unlucky) * error < 0:  # else runs that fail make it harder still
            seen = typical(count, reference.mean + away + unlucky * error, reference.sd)
            if chance_of_drop(seen, reference) <= level / looks:
                return count
        count += max(1, count // 20)
    return None
