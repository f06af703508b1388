"""Learning curves: what each seed of each case scored, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pytest_amlnn.report.drawing import (
    Figure,
    Marks,
    Models,
    frame,
    is_drawable,
    key,
    panels,
    rounded,
    svg_of,
)
from pytest_amlnn.report.facts import Facts, score_of
from pytest_amlnn.result import Run
from pytest_amlnn.statistics import mean_if_known

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_SEEDS = 20
"""Of a panel; more are one grey."""
MOST = 24
"""Panels of a figure; further cases have a figure of their own."""
CAPTION = (
    "Dashed: training. Solid: validation. Each seed faint, their mean strong; a dot at the"
    " epoch whose weights were tested, a bar where training ended. All panels have the same"
    " axes."
)
STYLES = {"train": "--", "validation": "-"}


def figures(title: str, cases: Sequence[Facts], models: Models) -> Iterator[Figure]:
    """Draw the loss of each case by epoch, and its accuracy where there is one."""
    for first in range(0, len(cases), MOST):
        part = cases[first : first + MOST]
        for score in ("loss", "accuracy"):
            if any(has(case, score) for case in part):
                yield curves(f"{score.capitalize()} by epoch: {title}", part, score, models)


def has(case: Facts, score: str) -> bool:
    """Return whether a case has a score in more than one epoch: a point is no curve."""
    return any(
        len(run.epochs) > 1 and score in run.epochs[0].validation for run in case.result.runs
    )


def curves(title: str, cases: Sequence[Facts], score: str, models: Models) -> Figure:
    """Draw a score by epoch, a panel a case on the same axes."""
    drawing, axes = panels(len(cases), columns=4, width=2.2, height=1.45)
    for case, axis, name in zip(cases, axes, short_names(cases), strict=True):
        draw_case(axis, case, name, score, models)
    scale(axes[0], cases, score)
    drawing.supxlabel("epoch", fontsize=9, y=0.02, va="bottom")
    drawing.supylabel(score, fontsize=9, x=0.01, ha="left")
    key(axes[0], STYLES)
    svg = svg_of(drawing, title)
    marks = Marks(
        axes=tuple(map(frame, axes)),
        lines=tuple(
            line
            for place, case in enumerate(cases)
            for line in lines_of(case, score, place, models)
        ),
    )
    ends = "; ".join(in_words(case, score) for case in cases)
    words = f"{score.capitalize()} by epoch, a panel a case. {ends}."
    return Figure(title=title, svg=svg, words=words, caption=CAPTION, marks=marks)


def draw_case(axis: Axes, case: Facts, title: str, score: str, models: Models) -> None:
    """Draw all seeds of a case, and their mean as far as all of them go."""
    runs = [run for run in case.result.runs if run.epochs][:MOST_SEEDS]
    drawn = models.of(case.model)
    for run in runs:
        for part, style in STYLES.items():
            values = values_of(run, score, part)
            faint: dict[str, Any] = (
                {"alpha": 0.3, "linewidth": 0.7} if len(runs) > 1 else {"linewidth": 1.3}
            )
            axis.plot(range(1, len(values) + 1), values, style, **drawn, **faint)
            if part == "validation":
                axis.plot(len(values), values[-1], "|", **drawn, markersize=6)
                best = run.best_epoch or 0
                if 0 < best <= len(values):
                    axis.plot(best, values[best - 1], "o", **drawn, markersize=2.5)
    shortest = min(len(run.epochs) for run in runs)
    for part, style in STYLES.items() if len(runs) > 1 else ():
        columns = zip(*(values_of(run, score, part)[:shortest] for run in runs), strict=True)
        means = [mean_if_known(column) for column in columns]
        shown = [math.nan if mean is None else mean for mean in means]
        axis.plot(range(1, shortest + 1), shown, style, **drawn, linewidth=1.5)
    axis.set_title(title, fontsize=8)


def values_of(run: Run, score: str, part: str) -> list[float]:
    """Return a score of a run's epochs; nan where there is none that can be drawn."""
    found = (score_of(epoch, score, part == "validation") for epoch in run.epochs)
    return [value if is_drawable(value) else math.nan for value in found]


def scale(axis: Axes, cases: Sequence[Facts], score: str) -> None:
    """Set the axes that all panels share: a log scale for losses, 0 to 1 for shares."""
    if score == "accuracy":
        axis.set_ylim(0, 1)
        return
    values = [
        value
        for case in cases
        for run in case.result.runs
        for part in STYLES
        for value in values_of(run, score, part)
    ]
    if values and all(value > 0 for value in values if not math.isnan(value)):
        log_y(axis)


def log_y(axis: Axes) -> None:
    """Put the y axis on a log scale with numbers as people write them, where any is above 0."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    if not math.isfinite(axis.dataLim.minposy):
        return
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_locator(NullLocator())


def lines_of(case: Facts, score: str, place: int, models: Models) -> Iterator[dict[str, Any]]:
    """Give the values of each seed's curves, to be pointed at."""
    for run in case.result.runs[:MOST_SEEDS]:
        for part in STYLES:
            values = values_of(run, score, part)
            yield {
                "a": place,
                "m": models.number(case.model),
                "t": f"{case.name}, seed {run.seed}, {part}",
                "v": [None if math.isnan(value) else rounded(value) for value in values],
            }


def in_words(case: Facts, score: str) -> str:
    """Say where the validation curves of a case begin and end."""
    first = case.over_runs(lambda epochs: score_of(epochs[0], score, True))
    last = case.end_of(score, validation=True)
    if first is None or last is None:
        return f"{case.name}: no finite {score}"
    return f"{case.name}: {first:.3g} to {last:.3g} in {case.epochs or 0:.0f} epochs"


def short_names(cases: Sequence[Facts]) -> list[str]:
    """Return what cases are called side by side: by model alone where that tells them apart."""
    found = [case.model for case in cases]
    if len({*found}) < len(found):
        found = [case.name for case in cases]
    return [shortened(name) for name in found]


def shortened(name: str, most: int = 34) -> str:
    """Return a name that fits above a panel."""
    return name if len(name) <= most else f"{name[: most - 1]}…"
