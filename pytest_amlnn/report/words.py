"""Numbers as sentences say them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeGuard

from pytest_amlnn.metrics import Metric


def percent(share: float | None) -> str:
    """Return a share in per cent."""
    return "-" if not known(share) else f"{100 * share:.1f} %"


def points(share: float | None) -> str:
    """Return a difference of shares in points."""
    return "-" if not known(share) else f"{100 * share:.1f} points"


def number(value: float | None) -> str:
    """Return a number in three digits, a large one in all that stand before the point."""
    if not known(value):
        return "-"
    return f"{value:,.0f}" if 1000 <= abs(value) < 10**6 else f"{value:.3g}"


def known(value: float | None) -> TypeGuard[float]:
    """Return whether there is a number, and a finite one."""
    return value is not None and math.isfinite(value)


def value_of(metric: Metric, value: float | None) -> str:
    """Return the value of a metric, a share in per cent."""
    return percent(value) if metric.share else number(value)


def chance(value: float) -> str:
    """Return a probability; one that is too small for its digits to say anything is a bound."""
    return "< 1e-6" if value < 1e-6 else f"{value:.2g}"


def listed(words: Sequence[str], most: int = 4) -> str:
    """Return words as an enumeration, the first few of them: `a, b and c`."""
    shown = [*words[:most], *([f"{len(words) - most} more"] if len(words) > most else [])]
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1] if shown else ""]))


def either(words: Sequence[str], most: int = 4) -> str:
    """Return words as alternatives, the first few of them: `a, b or c`."""
    before, _, last = listed(words, most).rpartition(" and ")
    return f"{before} or {last}" if before else last


def count(number: int, noun: str) -> str:
    """Return so many of something: `1 seed`, `3 seeds`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def verb(word: str, number: int) -> str:
    """Return a verb for so many, none among them: `1 helps`, `2 help`, `none helps`."""
    return word if number > 1 else f"{word}s"
