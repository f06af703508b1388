"""What runs say of those to come: their mean, how they vary, and which failed by themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from pytest_amlnn.statistics import mean_of

OUTLIER = 5.0
"""So many robust standard deviations from the median, a run of a reference failed by itself."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What is known of a metric before: how its runs vary, and where their mean lies."""

    mean: float
    """Of the runs that did not fail by themselves."""
    sd: float
    """Between seeds on one machine."""
    n: int
    """Runs that the mean follows from."""
    freedom: float
    """Degrees of freedom of `sd`."""
    sd_machines: float = 0.0
    """Between the means of machines, where the mean is of others than the one at hand."""
    failed: int = 0
    """Runs besides that failed by themselves: far below the others."""
    soared: int = 0
    """Runs besides that are far above the others."""

    def turned(self) -> Reference:
        """Return the reference of the values with the sign changed."""
        return replace(self, mean=-self.mean, failed=self.soared, soared=self.failed)

    def error(self, count: int) -> float:
        """Return the standard error of a mean of `count` runs against that of the reference."""
        theirs = self.sd_machines**2 or self.sd**2 / self.n
        return math.sqrt(self.sd**2 / count + theirs)

    def pooled(self, values: Sequence[float]) -> Reference:
        """Return the same with the deviation of these values taken in, too."""
        if len(values) < 2:
            return self
        if self.sd_machines:  # seeds of one machine say nothing of the spread between them
            return self
        mean, freedom = mean_of(values), self.freedom + len(values) - 1
        squares = math.fsum((value - mean) ** 2 for value in values)
        sd = math.sqrt((self.sd**2 * self.freedom + squares) / freedom)
        return replace(self, sd=sd, freedom=freedom)


def reference_of(machines: Sequence[Sequence[float]], here: int | None = None) -> Reference:
    """Return what the runs of one or more machines say; `here` is the index of the one at hand.

    On a machine that the reference knows, its own runs give the mean, and all of them the
    deviation. Elsewhere the mean is that of the machines' means, which vary as well.
    """
    failed = [failed_alone(values) for values in machines]
    usual = [
        [v for v in values if v not in bad]
        for values, bad in zip(machines, failed, strict=True)
        if values
    ]
    odd = [
        v - median(values) for values, bad in zip(machines, failed, strict=True) for v in bad
    ]
    counts = [len(values) for values in usual]
    means = [mean_of(values) for values in usual]
    squares = math.fsum(
        (value - mean) ** 2
        for values, mean in zip(usual, means, strict=True)
        for value in values
    )
    freedom = sum(counts) - len(counts)
    sd = math.sqrt(squares / freedom) if freedom else 0.0
    known = Reference(
        mean=mean_of(means),
        sd=sd,
        n=sum(counts),
        freedom=freedom,
        failed=sum(away < 0 for away in odd),
        soared=sum(away > 0 for away in odd),
    )
    if len(means) == 1:
        return known
    if here is not None:
        return replace(known, mean=means[here], n=counts[here])
    return with_machines(known, means, counts)


def with_machines(known: Reference, means: Sequence[float], counts: Sequence[int]) -> Reference:
    """Return a reference whose machines differ among themselves, as random effects do.

    How much is known from as many means as there are machines: few degrees of freedom.
    """
    number = len(means)
    squares = math.fsum((mean - known.mean) ** 2 for mean in means) / (number - 1)
    noise = known.sd**2 * math.fsum(1 / count for count in counts) / number**2
    spread = math.sqrt(max(squares * (1 + 1 / number), noise))
    return replace(known, sd_machines=spread, freedom=min(number - 1, known.freedom))


FEWEST, SHARE = 10, 0.2
"""Runs of which some can be told to be of another kind, and how many of them at most."""


def failed_alone(values: Sequence[float]) -> list[float]:
    """Return the runs that lie so far from the others that they are of another kind."""
    if len(values) < FEWEST:
        return []
    middle = median(values)
    scale = 1.4826 * median(abs(other - middle) for other in values)  # of a normal distribution
    if scale == 0:  # more than half of them are equal: their mean deviation says more
        scale = math.fsum(abs(other - middle) for other in values) / len(values) * 1.2533
    found = [value for value in values if abs(value - middle) > OUTLIER * scale > 0]
    return found if len(found) <= SHARE * len(values) else []
