"""Intervals and tests, as few as the record needs; SciPy's distributions."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import inf

CONFIDENCE = 0.95
NORMAL = 10**6
"""Degrees of freedom from which Student's t is the normal distribution."""
FEWEST_GROUPS = 4
"""Whose variances tell of the others'."""
MOST_BORROWED = 4.0
"""Degrees of freedom that a group has from the others."""
DOUBT = 0.1
"""Chance that groups differ more than they are taken to."""
SURE = 0.05
"""Chance that any of a report's differences is called one and is none."""
UNLIKELY = 0.025
"""Chance of so many right answers by guessing, below which a net does better."""
IMPLAUSIBLE = 1e-6
"""Chance of the data under an honest run below which a run is called implausible."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A metric over the seeds: finite, or None where too few runs, or one without it, tell."""

    mean: float | None
    sd: float | None
    """Sample standard deviation over the seeds."""
    low: float | None
    high: float | None
    """95 % interval of the mean: t over seeds, on the log scale for what cannot lie below 0;
    Wilson's where one accuracy is all there is."""
    runs: tuple[float | None, ...]


def spread(
    values: Sequence[float | None],
    *,
    low: float | None = None,
    high: float | None = None,
    tests: int | None = None,
) -> Spread:
    """Sum up one metric; `low` and `high` are its bounds, `tests` counts test examples."""
    runs = tuple(value if is_finite(value) else None for value in values)
    known = [value for value in runs if value is not None]
    unknown = Spread(mean=None, sd=None, low=None, high=None, runs=runs)
    if not known or len(known) < len(runs):
        return unknown
    try:
        mean = math.fsum(known) / len(known)
    except OverflowError:  # of numbers near the largest that there are
        return unknown
    least, most = -inf if low is None else low, inf if high is None else high
    possible = least <= min(known) and max(known) <= most
    if len(known) == 1:
        ends = wilson(mean, tests) if tests and possible else (None, None)
        return replace(unknown, mean=mean, low=ends[0], high=ends[1])
    try:
        squares = math.fsum((value - mean) ** 2 for value in known)
    except OverflowError:
        return replace(unknown, mean=mean)
    sd = math.sqrt(squares / (len(known) - 1))
    half = t_quantile(len(known) - 1) * sd / math.sqrt(len(known))
    ends = interval(mean, half, least, most) if possible else (None, None)
    return replace(unknown, mean=mean, sd=sd, low=ends[0], high=ends[1])


def interval(
    mean: float, half: float, least: float, most: float
) -> tuple[float, float] | tuple[None, None]:
    """Return the ends of an interval around a mean, within the bounds that there are.

    With a lower bound alone, as of seconds, Student's t stands on the log scale (delta method):
    few seeds that disagree leave a factor open, and nothing below the bound. It is cut at two.
    """
    if math.isinf(least) or math.isfinite(most) or mean == least:
        return max(mean - half, least), min(mean + half, most)
    factor = math.exp(half / (mean - least))  # half is at most t times as large
    low, high = least + (mean - least) / factor, least + (mean - least) * factor
    return (low, high) if math.isfinite(high) else (None, None)


def spread_of_ratios(ratios: Sequence[float | None]) -> Spread:
    """Sum up ratios above 0 on the log scale: the geometric mean, and the interval of it.

    Those of the inverse ratios are the inverse: which side is divided by which does not matter.
    """
    found = spread(ratios)
    logs = spread([None if ratio is None else math.log(ratio) for ratio in found.runs])
    if logs.mean is None:
        return replace(found, mean=None, low=None, high=None)
    low, high = (None if end is None else exp(end) for end in (logs.low, logs.high))
    return replace(found, mean=exp(logs.mean), low=low, high=high)


def exp(value: float) -> float:
    """Return the exponential, of what is too large for a float the largest one."""
    return math.exp(min(value, math.log(sys.float_info.max)))


def is_finite(value: float | None) -> bool:
    """Return whether there is a number, and one that a float can hold."""
    return value is not None and abs(value) <= sys.float_info.max


@cache
def t_quantile(freedom: int) -> float:
    """Return Student's t that the 95 % interval reaches to on both sides."""
    from scipy.special import stdtrit  # a light import; scipy.stats costs a second

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


@cache
def normal_quantile() -> float:
    """Return how many standard deviations the 95 % interval reaches to on both sides."""
    from scipy.special import ndtri

    return float(ndtri((1 + CONFIDENCE) / 2))


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share seen in `count` trials (Wilson 1927)."""
    z = normal_quantile()
    center = (share + z * z / (2 * count)) / (1 + z * z / count)
    spread = math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    half = z * spread / (1 + z * z / count)
    return max(0.0, min(center - half, share)), min(1.0, max(center + half, share))


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


def mean_of(values: Sequence[float]) -> float:
    """Return the mean of one value or more."""
    return math.fsum(values) / len(values)


def mean_if_known(values: Sequence[float | None]) -> float | None:
    """Return the mean; None of nothing, and where a value is not known."""
    known = [value for value in values if value is not None and is_finite(value)]
    return mean_of(known) if known and len(known) == len(values) else None


def deviation(values: Sequence[float]) -> float:
    """Return the sample standard deviation of two values or more."""
    mean = mean_of(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def two_sided(away: float, error: float, freedom: float) -> float:
    """Return the chance of a difference so large either way, by Student's t."""
    from scipy.special import stdtr

    if error == 0:
        return 0.0 if away else 1.0
    return float(2 * stdtr(freedom, -abs(away) / error))


def holm(chances: Sequence[float], count: int) -> list[float]:
    """Return chances adjusted for `count` comparisons, of which these are some (Holm 1979)."""
    adjusted, largest = [1.0] * len(chances), 0.0
    for step, i in enumerate(sorted(range(len(chances)), key=lambda i: chances[i])):
        largest = max(largest, min(1.0, chances[i] * (count - step)))
        adjusted[i] = largest
    return adjusted


# variances of several groups


@dataclass(frozen=True, kw_only=True)
class Prior:
    """What the variances of many small groups tell of one more."""

    variance: float
    freedom: float
    """Degrees of freedom that it is worth; 0 where nothing is known."""

    def moderated(self, variance: float, freedom: int) -> tuple[float, float]:
        """Return a group's variance, drawn towards the others', and its degrees of freedom."""
        both = self.freedom + freedom
        return (self.freedom * self.variance + freedom * variance) / both, both


def moderation(groups: Sequence[tuple[float, int]]) -> Prior:
    """Return what groups' sample variances, each with its degrees of freedom, tell of all.

    Smyth 2004 (doi:10.2202/1544-6115.1027) with care: his estimates call up to four times as
    many equals different as they may where the groups' deviations differ by a factor of ten
    (tests/simulated_effects.py). So the variance is the geometric mean, and its degrees of
    freedom are the fewest that the spread of the logarithms allows, `MOST_BORROWED` at most.
    Fewer than `FEWEST_GROUPS` tell nothing.
    """
    from scipy.special import digamma, polygamma

    if len(groups) < FEWEST_GROUPS:
        return Prior(variance=1.0, freedom=0.0)
    logs = [
        math.log(variance) - float(digamma(freedom / 2)) + math.log(freedom / 2)
        for variance, freedom in groups
    ]
    by_chance = mean_of([float(polygamma(1, freedom / 2)) for _, freedom in groups])
    fourth = mean_of([float(polygamma(3, freedom / 2)) for _, freedom in groups])
    seen = deviation(logs) ** 2
    left = seen * most_over_seen(len(groups), fourth / by_chance**2) - by_chance
    enough = left <= float(polygamma(1, MOST_BORROWED / 2))
    return Prior(
        variance=math.exp(mean_of(logs)),
        freedom=MOST_BORROWED if enough else 2 * inverse_trigamma(left),
    )


def most_over_seen(count: int, kurtosis: float) -> float:
    """Return by what a sample variance is multiplied to be at least the true one, but for a
    chance of `DOUBT`; `kurtosis` is the values' excess over the normal distribution's."""
    from scipy.special import chdtri

    freedom = (count - 1) / (1 + kurtosis * (count - 1) / (2 * count))
    return freedom / float(chdtri(freedom, 1 - DOUBT))


def inverse_trigamma(value: float) -> float:
    """Return where the trigamma function has this value, by Newton's method (Smyth 2004)."""
    from scipy.special import polygamma

    found = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, found))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, found))
        found += step
        if -step / found < 1e-8:
            break
    return found
