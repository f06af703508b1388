"""Comparisons of two sides, pair by pair: seed by seed, or before and after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_amlnn.statistics import Spread, spread

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
) -> Comparison:
    """Compare two sides pair by pair, by the pairs' differences or ratios.

    What both saw alike, such as the noise of a seed, drops out, so the interval is shorter than
    those of the sides. A pair of which one value is missing leaves no mean: none is dropped.
    """
    pairs = zip(ours, theirs, strict=True)
    ordered = [pair if better == "higher" else pair[::-1] for pair in pairs]
    found = spread([one_pair(first, second, by) for first, second in ordered])
    return Comparison(spread=found, word=word_for(found, 1.0 if by == "ratio" else 0.0))


def one_pair(first: float | None, second: float | None, by: By) -> float | None:
    """Return the difference or ratio of a pair, None where there is none."""
    if first is None or second is None:
        return None
    if by == "difference":
        return first - second
    ratio = first / second if first and second else 0.0
    return ratio if ratio and math.isfinite(ratio) else None


def word_for(found: Spread, even: float) -> str:
    """Return which side is better, as far as the interval tells; `even` is where none is."""
    if found.low is None or found.high is None:
        return ""
    return "better" if found.low > even else "worse" if found.high < even else UNDECIDED


UNDECIDED = "not distinguishable"
