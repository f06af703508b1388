"""What is reached against what it costs, and against the size of the data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from pytest_amlnn.report.differences import sign
from pytest_amlnn.report.drawing import (
    GREY,
    Figure,
    Marks,
    Models,
    frame,
    is_drawable,
    panels,
    rounded,
    svg_of,
)
from pytest_amlnn.report.facts import Facts
from pytest_amlnn.report.figures.curves import log_y
from pytest_amlnn.report.scaling import (
    error_label,
    errors,
    exponent,
    in_words,
    lines_of,
    seconds,
)
from pytest_amlnn.report.words import number
from pytest_amlnn.statistics import spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COSTS: Mapping[str, str] = {
    "train_seconds": "seconds of training",
    "flops_per_sample": "operations of a forward pass",
    "parameters": "parameters",
}
FRONTIER = (
    "The line joins the cases that none beats in both. Larger dots: more data. Bars are 95 %"
    " intervals."
)


def figures(title: str, cases: Sequence[Facts], models: Models) -> Iterator[Figure]:
    """Draw what is reached against each cost, with the frontier."""
    known = [case for case in cases if is_drawable(case.spread.mean)]
    if len(known) < 2:  # there is nothing to compare
        return
    metric = known[0].metric
    title = f"{metric.name} against cost: {title}"
    said, marks = [], []
    steps = sorted({case.size for case in known})
    drawing, axes = panels(
        len(COSTS), columns=3, width=2.65, height=2.0, gap=(0.5, 0.4), shared=False
    )
    for panel, (name, axis) in enumerate(zip(COSTS, axes, strict=True)):
        places = [(cost, case) for case in known if is_cost(cost := case.mean(name))]
        for cost, case in places:
            draw_point(axis, cost, case, models, 3 + 2 * steps.index(case.size))
            marks.append(mark(panel, cost, case.spread.mean, case, models))
        best = frontier(places)
        axis.plot(
            [cost for cost, _ in best],
            [case.spread.mean or 0.0 for _, case in best],
            color=GREY,
            linewidth=0.8,
            zorder=0,
        )
        axis.set_xlabel(COSTS[name])
        log_scale(axis)
        if best:
            names = ", ".join(case.name for _, case in best)
            said.append(f"{COSTS[name]}: none is better and cheaper than {names}")
    axes[0].set_ylabel(metric.name)
    svg = svg_of(drawing, title)
    frames = tuple(map(frame, axes))
    yield Figure(
        title=title,
        svg=svg,
        words="; ".join(said) or "No costs are known.",
        caption=FRONTIER,
        marks=Marks(axes=frames, points=tuple(marks)),
    )


def is_cost(value: float | None) -> TypeGuard[float]:
    """Return whether a cost has a place on a log axis."""
    return is_drawable(value) and value > 0


def draw_point(axis: Axes, cost: float, case: Facts, models: Models, size: float) -> None:
    """Draw a case with its interval."""
    drawn = models.of(case.model)
    axis.plot(cost, case.spread.mean or 0.0, "o", **drawn, markersize=min(size, 9))
    if case.spread.low is not None and case.spread.high is not None:
        ends = [case.spread.low, case.spread.high]
        axis.plot([cost, cost], ends, "-", **drawn, linewidth=1, alpha=0.6)


def mark(place: int, x: float, y: float | None, case: Facts, models: Models) -> dict[str, Any]:
    """Return a point that can be pointed at."""
    text = f"{case.name}: {number(y)} at {number(x)}"
    number_of_model = models.number(case.model)
    return {"a": place, "m": number_of_model, "t": text, "x": rounded(x), "y": rounded(y)}


def frontier(places: Iterable[tuple[float, Facts]]) -> list[tuple[float, Facts]]:
    """Return those that none beats in cost and value, the cheapest first."""
    found: list[tuple[float, Facts]] = []
    for cost, case in sorted(places, key=lambda place: (place[0], -worth(place[1]))):
        if not found or worth(case) > worth(found[-1][1]):
            found.append((cost, case))
    return found


def worth(case: Facts) -> float:
    """Return what a case reached, turned so that more is better."""
    return sign(case) * (case.spread.mean or 0.0)


def log_scale(axis: Axes) -> None:
    """Put the x axis on a log scale with few, plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    if not math.isfinite(axis.dataLim.minposx):
        return
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    decades = math.log10(high / low) if low > 0 else 1.0
    subs = (1.0,) if decades > 2 else (1.0, 2.0, 5.0)
    axis.xaxis.set_major_locator(MaxNLocator(4) if decades < 0.5 else LogLocator(subs=subs))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axis.xaxis.set_minor_locator(NullLocator())


def short(value: float) -> str:
    """Return a number of an axis in few characters: 0.2, 500, 20k, 3M, 4G."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if letter == 'k' else size):g}{letter}"
    return f"{value:g}"


# scaling

SLOPES = "Both axes are logarithmic, so that a power law is a line."


def scaling(title: str, cases: Sequence[Facts], models: Models) -> Iterator[Figure]:
    """Draw error and training time against the size of the data, with fitted exponents."""
    known = [case for case in cases if case.spread.mean is not None]
    lines = lines_of(known)
    if not lines:
        return
    title, said, marks = f"Error and time by size: {title}", [], []
    drawing, axes = panels(2, columns=2, width=3.6, height=2.2, gap=(0.8, 0.4), shared=False)
    for model, mine in lines.items():
        sizes = [case.size for case in mine]
        for place, (axis, of) in enumerate(zip(axes, (errors, seconds), strict=True)):
            found = (spread(of(case)).mean for case in mine)
            means = [mean if is_cost(mean) else None for mean in found]
            shown = [math.nan if mean is None else mean for mean in means]
            axis.plot(sizes, shown, "o-", **models.of(mine[0].model), markersize=4, linewidth=1)
            marks += [
                mark(place, case.size, mean, case, models)
                for case, mean in zip(mine, means, strict=True)
            ]
        error, time = (in_words(exponent(mine, of)) for of in (errors, seconds))
        said.append(f"{model}: error as the size to the power {error}, time to {time}")
    labels = (error_label(known[0]), "seconds of training")
    for axis, label in zip(axes, labels, strict=True):
        log_scale(axis)
        log_y(axis)
        axis.set_xlabel("size of the data")
        axis.set_ylabel(label)
    svg = svg_of(drawing, title)
    frames = tuple(map(frame, axes))
    words = "; ".join(said)
    yield Figure(
        title=title,
        svg=svg,
        words=words,
        caption=SLOPES,
        marks=Marks(axes=frames, points=tuple(marks)),
    )
