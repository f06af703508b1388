"""Comparisons of two sides, pair by pair: seed by seed, or before and after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_amlnn.statistics import Spread, spread, spread_of_ratios

By = Literal["difference", "ratio"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How one side stands against another, over all pairs."""

    spread: Spread
    """Of the pairs' differences or ratios; above 0, or 1, where the first side is better."""
    word: str
    """`better`, `worse`, `not distinguishable`, or nothing where too few pairs tell."""


def compare(
    ours: Sequence[float | None],
    theirs: Sequence[float | None],
    *,
    by: By,
    better: Literal["higher", "lower"] = "higher",
    share: bool = False,
) -> Comparison:
    """Compare two sides pair by pair, by the pairs' differences or ratios.

    What both saw alike, such as the noise of a seed, drops out, so the interval is shorter than
    those of the sides. The mean of ratios is the geometric one. A pair of which one value is
    missing leaves no mean: none is dropped. `share` says that both sides lie in 0..1.
    """
    pairs = zip(ours, theirs, strict=True)
    ordered = [pair if better == "higher" else pair[::-1] for pair in pairs]
    found = [one_pair(first, second, by) for first, second in ordered]
    if by == "ratio":
        return Comparison(
            spread=(ratios := spread_of_ratios(found)), word=word_for(ratios, 1.0)
        )
    low, high = (-1.0, 1.0) if share else (None, None)
    differences = spread(found, low=low, high=high)
    return Comparison(spread=differences, word=word_for(differences, 0.0))


def one_pair(first: float | None, second: float | None, by: By) -> float | None:
    """Return the difference of a pair, or the ratio of what is above 0; None without one."""
    if first is None or second is None:
        return None
    if by == "difference":
        return first - second
    ratio = first / second if min(first, second) > 0 else 0.0
    return ratio if 0 < ratio < math.inf else None


def word_for(found: Spread, even: float) -> str:
    """Return which side is better, as far as the interval tells; `even` is where none is."""
    if found.low is None or found.high is None:
        return ""
    return "better" if found.low > even else "worse" if found.high < even else UNDECIDED


UNDECIDED = "not distinguishable"
