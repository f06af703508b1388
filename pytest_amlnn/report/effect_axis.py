"""The axis of effects: even within what matters to nobody, logarithmic further out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_amlnn.improvements import Worth
from pytest_amlnn.report.drawing import is_drawable


def unit_of(worths: Sequence[Worth]) -> float:
    """Return within which differences the axis is even: what matters to nobody."""
    known = [w.effect.matters for w in worths if is_drawable(w.effect.matters)]
    return max(known, default=0.0) or 1.0


def placed(value: float | None, unit: float) -> float | None:
    """Return where a difference lies on the axis: even up to a unit, logarithmic beyond."""
    return None if value is None else math.asinh(value / unit)


def ends(worths: Sequence[Worth], unit: float) -> tuple[float, float]:
    """Return where the axis begins and ends: it holds all differences and their bounds."""
    places = [
        x
        for worth in worths
        for value in (worth.low, worth.difference, worth.high)
        if is_drawable(x := placed(value, unit))
    ]
    return min([*places, -1.0]) - 0.2, max([*places, 1.0]) + 0.2


def ticks(
    low: float, high: float, unit: float, *, share: bool, apart: float = 0.07
) -> list[tuple[float, str]]:
    """Return places on the axis that are named, and how, of a share in points: 0, and round
    differences that are so far `apart`, as a share of its length."""
    found = [(0.0, "0")]
    for side in (-1, 1):
        last = 0.0
        for value in round_values(unit):
            x = math.asinh(value / unit)
            if low < side * x < high and x - last >= apart * (high - low):
                found.append((side * x, f"{side * value * (100 if share else 1):+g}"))
                last = x
    return found


def round_values(unit: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten, from half a unit on."""
    first = math.floor(math.log10(unit / 2))
    return [
        float(f"{digit}e{power}")
        for power in range(first, first + 60)
        for digit in (1, 2, 5)
        if float(f"{digit}e{power}") >= 0.49 * unit
    ]
