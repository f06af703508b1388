"""A difference of two cases in words: how large it is, and how sure."""

from __future__ import annotations

from pytest_amlnn.report.differences import Difference
from pytest_amlnn.report.facts import Facts
from pytest_amlnn.report.words import chance, number, points


def amount(found: Difference) -> str:
    """Return a difference as its metric is shown."""
    return f"{points(found.away) if found.better.metric.share else number(found.away)} of"


def interval_of(found: Difference) -> str:
    """Return the interval of a difference."""
    if found.low is None or found.high is None:
        return ""
    if found.better.metric.share:
        return f"[{100 * found.low:.1f}, {100 * found.high:.1f}]"
    return f"[{number(found.low)}, {number(found.high)}]"


def seeds_of(found: Difference) -> list[str]:
    """Return the values by seed of both, where there are few."""
    sides: tuple[Facts, ...] = (found.better, found.worse)
    if any(len(case.result.runs) > 5 for case in sides):
        return []
    lists = [" ".join(number(value) for value in case.spread.runs) for case in sides]
    return [f"by seed: {lists[0]} and {lists[1]}"]


def certainty(found: Difference) -> str:
    """Return interval and chances of a difference."""
    pair = (found.better, found.worse)
    if found.low is None:
        return f"no interval from {' and '.join(str(len(c.result.runs)) for c in pair)} seeds"
    among = f" ({chance(found.adjusted)} adjusted for {found.among:,} comparisons, Holm)"
    return (
        f"95 % interval {interval_of(found)}; chance of so large a difference between equals"
        f" {chance(found.chance)}{among if found.among > 1 else ''}"
    )
