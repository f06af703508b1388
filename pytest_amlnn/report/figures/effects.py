"""What changes of cases are worth: a forest plot, a row a change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pytest_amlnn.improvements import HELPS, HURTS, IDENTICAL, OPEN, Worth
from pytest_amlnn.report.drawing import (
    GREY,
    INK,
    Figure,
    Marks,
    Models,
    frame,
    is_drawable,
    panels,
    rounded,
    svg_of,
)
from pytest_amlnn.report.effect_axis import ends, placed, ticks, unit_of
from pytest_amlnn.report.figures.curves import shortened
from pytest_amlnn.report.improvements import by_metric
from pytest_amlnn.report.worth import LEGEND, SMALL, bases_of, short, signed, times, verdict_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 40
"""Rows of a figure, but for a base that has more."""
ROW = 0.2
"""Inches."""
SHAPES: dict[str, dict[str, Any]] = {
    HELPS: {"marker": "^", "color": "#009e73", "markersize": 6},
    HURTS: {"marker": "v", "color": "#d55e00", "markersize": 6},
    OPEN: {"marker": "o", "color": "#b8860b", "markersize": 5, "markerfacecolor": "none"},
    SMALL: {"marker": "D", "color": GREY, "markersize": 4},
    IDENTICAL: {"marker": "s", "color": GREY, "markersize": 5, "markerfacecolor": "none"},
}
"""Of verdicts: told by their shape as well as by their colour."""
CAPTION = (
    f"{LEGEND}. Bars are bounds at the level that all changes share; to the right of the line a"
    " change is better."
    " Grey: what matters to nobody. The axis is even within it, and logarithmic further out."
    " Time is that of training, FLOPs are those of its forward passes, as multiples of the"
    " base's."
)


def figures(worths: Sequence[Worth], models: Models) -> Iterator[Figure]:
    """Draw the effect of each change, a figure a metric."""
    names = bases_of(worths)
    for name, mine in by_metric(worths).items():
        for place, part in enumerate(parts(mine)):
            rest = f", from {names[part[0][0].effect.base.id]} on" if place else ""
            yield forest(f"Effect of each change on {name}{rest}", part, names, models)


def parts(worths: Sequence[Worth]) -> Iterator[list[list[Worth]]]:
    """Give the changes of each base, as many bases together as a figure has room for."""
    bases: dict[str, list[Worth]] = {}
    for worth in worths:
        bases.setdefault(worth.effect.base.id, []).append(worth)
    found: list[list[Worth]] = []
    for mine in bases.values():
        if found and sum(map(len, found)) + len(found) + len(mine) + 1 > MOST:
            yield found
            found = []
        found.append(mine)
    yield found


def forest(
    title: str, bases: Sequence[Sequence[Worth]], names: dict[str, str], models: Models
) -> Figure:
    """Draw the changes of several bases on one axis."""
    worths = [worth for mine in bases for worth in mine]
    metric, unit = worths[0].effect.metric, unit_of(worths)
    rows = len(worths) + len(bases)
    drawing, axes = panels(
        1, columns=1, width=4.6, height=ROW * (rows + 0.6), left=1.8, right=1.3
    )
    (axis,) = axes
    axis.set_ylim(rows - 0.4, -1)
    axis.axvline(0, color=INK, linewidth=0.8, zorder=1)
    for place, head in enumerate(("time", "FLOPs")):
        beside(axis, place, -0.7, head)
    marks: list[dict[str, Any]] = []
    first = 0
    for mine in bases:
        base, of = names[mine[0].effect.base.id], models.number(mine[0].effect.model)
        draw_base(axis, first, base, mine, unit)
        for y, worth in enumerate(mine, first + 1):
            draw(axis, y, worth, unit, f"model-{of}")
            marks.append(mark(worth, base, y, unit, of))
        first += 1 + len(mine)
    scale(axis, worths, unit)
    axis.set_yticks([])
    axis.grid(visible=False, axis="y")
    axis.set_xlabel(f"difference in {metric.name}{', points' if metric.share else ''}")
    svg = svg_of(drawing, title)
    words = "; ".join(str(point["t"]) for point in marks)
    frames = (frame(axis),)
    drawn = tuple(point for point in marks if point["x"] is not None)
    return Figure(
        title=title,
        svg=svg,
        words=f"A row a change. {words}.",
        caption=CAPTION,
        marks=Marks(axes=frames, points=drawn),
    )


def draw_base(axis: Axes, y: int, name: str, worths: Sequence[Worth], unit: float) -> None:
    """Write the name of a base above its changes, with the band of what matters to nobody."""
    edge = axis.get_yaxis_transform()
    axis.text(-0.38, y, shortened(name, 36), fontsize=8, va="center", transform=edge)
    matters = placed(worths[0].effect.matters, unit)
    if is_drawable(matters):
        edges = [y + 0.5, y + len(worths) + 0.5]
        axis.fill_betweenx(edges, -matters, matters, color=GREY, alpha=0.18, linewidth=0)


def draw(axis: Axes, y: int, worth: Worth, unit: float, gid: str) -> None:
    """Draw a change: its name, its effect with bounds, and its costs."""
    edge, effect = axis.get_yaxis_transform(), worth.effect
    name = shortened(effect.name, 26)
    axis.text(-0.02, y, name, fontsize=8, va="center", ha="right", transform=edge, gid=gid)
    for place, ratio in enumerate((effect.seconds, effect.operations)):
        beside(axis, place, y, times(ratio) or "-", gid=gid)
    x, low, high = (placed(value, unit) for value in (worth.difference, worth.low, worth.high))
    shape = SHAPES.get(verdict_of(worth))
    if not is_drawable(x) or shape is None:
        said = shortened(f"{worth.verdict}: {short(worth)}", 60)
        axis.text(0.02, y, said, fontsize=7, va="center", transform=edge, gid=gid)
        return
    if is_drawable(low) and is_drawable(high):
        axis.plot([low, high], [y, y], "-", color=shape["color"], linewidth=1.2, gid=gid)
    axis.plot(x, y, linestyle="none", **shape, gid=gid)


def beside(axis: Axes, place: int, y: float, text: str, **marks: Any) -> None:
    """Write a cost to the right of the axis."""
    axis.text(
        1.13 + 0.14 * place,
        y,
        text,
        fontsize=8,
        ha="right",
        va="center",
        transform=axis.get_yaxis_transform(),
        **marks,
    )


def mark(worth: Worth, base: str, y: int, unit: float, model: int) -> dict[str, Any]:
    """Return what pointing at a change tells."""
    effect = worth.effect
    costs = zip(("time", "FLOPs"), (effect.seconds, effect.operations), strict=True)
    said = "".join(f", {name} {times(ratio)} x" for name, ratio in costs if ratio is not None)
    points = " points" if effect.metric.share and worth.difference is not None else ""
    text = f"{base}, {effect.name}: {signed(worth)}{points}, {verdict_of(worth)}{said}"
    x = placed(worth.difference, unit)
    return {"a": 0, "m": model, "t": text, "x": rounded(x) if is_drawable(x) else None, "y": y}


def scale(axis: Axes, worths: Sequence[Worth], unit: float) -> None:
    """Set the limits of the axis, and numbers as its metric is shown."""
    low, high = ends(worths, unit)
    axis.set_xlim(low, high)
    named = ticks(low, high, unit, share=worths[0].effect.metric.share)
    axis.set_xticks([place for place, _ in named], [words for _, words in named])
