"""Intervals and tests, as few as the record needs; SciPy's distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
IMPLAUSIBLE = 1e-6
"""Chance of the data under an honest run below which a run is called implausible."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A metric over the seeds; None where too few runs, or a run without it, leave it open."""

    mean: float | None
    sd: float | None
    """Sample standard deviation over the seeds."""
    low: float | None
    high: float | None
    """95 % interval of the mean: t over seeds; Wilson's where one accuracy is all there is."""
    runs: tuple[float | None, ...]


def spread(
    values: Sequence[float | None],
    *,
    low: float | None = None,
    high: float | None = None,
    tests: int | None = None,
) -> Spread:
    """Sum up one metric; `low` and `high` are its bounds, `tests` counts test examples."""
    runs = tuple(values)
    known = [value for value in runs if value is not None]
    if not known or len(known) < len(runs):
        return Spread(mean=None, sd=None, low=None, high=None, runs=runs)
    mean = math.fsum(known) / len(known)
    if len(known) == 1:
        ends = wilson(mean, tests) if tests else (None, None)
        return Spread(mean=mean, sd=None, low=ends[0], high=ends[1], runs=runs)
    try:
        squares = math.fsum((value - mean) ** 2 for value in known)
    except OverflowError:  # of numbers near the largest that there are
        return Spread(mean=mean, sd=None, low=None, high=None, runs=runs)
    sd = math.sqrt(squares / (len(known) - 1))
    half = t_quantile(len(known) - 1) * sd / math.sqrt(len(known))
    return Spread(
        mean=mean,
        sd=sd,
        low=mean - half if low is None else max(mean - half, low),
        high=mean + half if high is None else min(mean + half, high),
        runs=runs,
    )


def t_quantile(freedom: int) -> float:
    """Return Student's t that the 95 % interval reaches to on both sides."""
    from scipy.special import stdtrit  # a light import; scipy.stats costs a second

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share seen in `count` trials (Wilson 1927)."""
    from scipy.special import ndtri

    z = float(ndtri((1 + CONFIDENCE) / 2))
    center = (share + z * z / (2 * count)) / (1 + z * z / count)
    spread = math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    half = z * spread / (1 + z * z / count)
    return max(0.0, center - half), min(1.0, center + half)


def chance_of_so_few(hits: int, count: int, probability: float) -> float:
    """Return the binomial chance of at most `hits` in `count` trials."""
    from scipy.special import bdtr

    return float(bdtr(hits, count, probability))


def chance_of_so_many(hits: int, count: int, probability: float) -> float:
    """Return the binomial chance of at least `hits` in `count` trials."""
    return 1.0 if hits == 0 else 1 - chance_of_so_few(hits - 1, count, probability)


def chance_of_so_low(differences: Sequence[float]) -> float:
    """Return the chance of a mean so low if it were zero: a one-sided paired t test."""
    from scipy.special import stdtr

    count = len(differences)
    if count < 2:  # nothing is known of the spread
        return 1.0
    mean = math.fsum(differences) / count
    variance = math.fsum((value - mean) ** 2 for value in differences) / (count - 1)
    if variance == 0:
        return 0.0 if mean < 0 else 1.0
    return float(stdtr(count - 1, mean / math.sqrt(variance / count)))
