"""How the cases of several sweeps went over time, and where they stepped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pytest_amlnn.report.drawing import (
    COLOURS,
    GREY,
    INK,
    Figure,
    Marks,
    frame,
    is_drawable,
    panels,
    rounded,
    svg_of,
)
from pytest_amlnn.report.figures.curves import shortened
from pytest_amlnn.report.history import History, Point
from pytest_amlnn.report.words import count, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 24
"""Panels of a figure."""
CAPTION = (
    "A dot a sweep, in the order of time, with its 95 % interval; grey and hollow where it"
    " cannot be compared with the newest one. Lines are levels; a dashed line is a step."
)


def figures(found: Sequence[History], sweeps: int) -> Iterator[Figure]:
    """Draw each metric of each case, a panel each."""
    kinds: dict[str, list[History]] = {}
    for one in found:
        kinds.setdefault(f"{one.metric.name}, {one.family}, {one.profile}", []).append(one)
    for kind, mine in kinds.items():
        for first in range(0, len(mine), MOST):
            rest = f", from case {first + 1} on" if first else ""
            yield over_time(f"{kind}{rest}", mine[first : first + MOST], sweeps)


def over_time(title: str, found: Sequence[History], sweeps: int) -> Figure:
    """Draw one metric of several cases over the sweeps."""
    drawing, axes = panels(
        len(found), columns=3, width=2.5, height=1.3, gap=(0.6, 0.45), shared=False
    )
    for one, axis in zip(found, axes, strict=True):
        draw(axis, one, sweeps)
    drawing.supxlabel("sweep", fontsize=9, y=0.02, va="bottom")
    svg = svg_of(drawing, title)
    marks = [
        {
            "a": place,
            "m": -1,
            "t": f"{point.label}: {number(point.spread.mean)}",
            "x": point.moment + 1,
            "y": rounded(point.spread.mean),
        }
        for place, one in enumerate(found)
        for point in shown(one)
    ]
    frames = tuple(map(frame, axes))
    words = "; ".join(map(in_words, found))
    return Figure(
        title=title,
        svg=svg,
        words=f"{words}.",
        caption=CAPTION,
        marks=Marks(axes=frames, points=tuple(marks)),
    )


def shown(one: History) -> list[Point]:
    """Return the points that have a place on an axis."""
    return [point for point in one.points if is_drawable(point.spread.mean)]


def draw(axis: Axes, one: History, sweeps: int) -> None:
    """Draw the points of a history, its levels and its steps."""
    from matplotlib.ticker import MaxNLocator

    for point in shown(one):
        x, spread = point.moment + 1, point.spread
        colour = COLOURS[0] if point.comparable else GREY
        fill: dict[str, Any] = {} if point.comparable else {"markerfacecolor": "none"}
        axis.plot(x, spread.mean or 0.0, "o", color=colour, markersize=3.5, **fill)
        if is_drawable(spread.low) and is_drawable(spread.high):
            axis.plot([x, x], [spread.low, spread.high], color=colour, linewidth=0.8, alpha=0.6)
    for left, right in pairwise([None, *one.steps, None]):
        level = right.was if right else left.now if left else None
        if is_drawable(level) and one.steps:
            begin = one.points[left.place].moment + 1 if left else 0.5
            end = one.points[right.last].moment + 1 if right else sweeps + 0.5
            axis.plot([begin, end], [level, level], color=INK, linewidth=1)
    for step in one.steps:
        between = (one.points[step.last].moment + one.points[step.place].moment) / 2 + 1
        axis.axvline(between, color=INK, linewidth=0.8, linestyle="--")
    axis.set_xlim(0.5, sweeps + 0.5)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axis.set_title(shortened(one.case), fontsize=8)


def in_words(one: History) -> str:
    """Say where a history begins and ends, and how often it stepped."""
    points = [point for point in shown(one) if point.comparable]
    if not points:
        return f"{one.case}: no value in {len(one.points)} sweeps can be compared"
    first, last = (number(points[i].spread.mean) for i in (0, -1))
    steps = count(len(one.steps), "step")
    return f"{one.case}: {first} to {last} over {len(points)} sweeps, {steps}"
