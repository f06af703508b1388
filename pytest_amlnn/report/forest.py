"""What changes of cases are worth as a forest plot of characters, for report.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_amlnn.escapes import for_terminal
from pytest_amlnn.improvements import Worth
from pytest_amlnn.report.drawing import is_drawable
from pytest_amlnn.report.effect_axis import ends, placed, ticks, unit_of
from pytest_amlnn.report.figures.curves import shortened
from pytest_amlnn.report.improvements import by_metric
from pytest_amlnn.report.worth import SIGNS, bases_of, verdict_of

WIDTH, NAMES = 57, 26
"""Characters of the axis, which has a middle, and of names."""
APART = 0.12
"""How far named differences are apart, as a share of the axis."""


def forest(worths: Sequence[Worth]) -> Iterator[str]:
    """Draw the effect of each change as lines, an axis a metric; those without a value have
    no row."""
    names = bases_of(worths)
    known = [worth for worth in worths if worth.difference is not None]
    for name, mine in by_metric(known).items():
        metric, base = mine[0].effect.metric, None
        unit = unit_of(mine)
        low, high = ends(mine, unit)
        yield f"difference in {for_terminal(name)}{', points' if metric.share else ''}"
        yield " " * NAMES + heads(low, high, unit, share=metric.share)
        for worth in mine:
            if worth.effect.base.id != base:
                base = worth.effect.base.id
                yield for_terminal(names[base])
            yield f"  {fitted(worth.effect.name)}{row(worth, low, high, unit)}".rstrip()
        yield ""


def fitted(name: str) -> str:
    """Return a name in its column."""
    return shortened(for_terminal(name), NAMES - 3).ljust(NAMES - 2)


def column(x: float, low: float, high: float) -> int:
    """Return which character of the axis a place on it is."""
    return min(max(round((x - low) / (high - low) * (WIDTH - 1)), 0), WIDTH - 1)


def heads(low: float, high: float, unit: float, *, share: bool) -> str:
    """Return the line that names round differences above their places."""
    line = [" "] * (WIDTH + 8)
    for place, words in ticks(low, high, unit, share=share, apart=APART):
        first = max(column(place, low, high) - len(words) // 2, 0)
        line[first : first + len(words)] = words
    return "".join(line).rstrip()


def row(worth: Worth, low: float, high: float, unit: float) -> str:
    """Return a change on the axis: its bounds, and its verdict's mark where it is."""
    line = [" "] * WIDTH
    x, first, last = (placed(v, unit) for v in (worth.difference, worth.low, worth.high))
    if is_drawable(first) and is_drawable(last):
        start, stop = column(first, low, high), column(last, low, high)
        line[start : stop + 1] = "─" * (stop + 1 - start)
    zero = column(0.0, low, high)
    line[zero] = "┼" if line[zero] == "─" else "│"
    if is_drawable(x):
        line[column(x, low, high)] = SIGNS[verdict_of(worth)]
    return "".join(line)
