"""Numbers as sentences say them."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_amlnn.metrics import Metric


def percent(share: float | None) -> str:
    """Return a share in per cent."""
    return "-" if share is None else f"{100 * share:.1f} %"


def points(share: float | None) -> str:
    """Return a difference of shares in points."""
    return "-" if share is None else f"{100 * share:.1f} points"


def number(value: float | None) -> str:
    """Return a number in three digits."""
    return "-" if value is None else f"{value:.3g}"


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


def count(number: int, noun: str) -> str:
    """Return so many of something: `1 seed`, `3 seeds`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
