"""Where the time of each case went, by part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

from pytest_amlnn.record_forms import Part
from pytest_amlnn.report.drawing import COLOURS, Figure, is_drawable, panels, svg_of
from pytest_amlnn.report.facts import Facts
from pytest_amlnn.report.figures.curves import shortened
from pytest_amlnn.statistics import mean_of

PARTS: tuple[str, ...] = get_args(Part)


def figures(cases: Sequence[Facts]) -> Iterator[Figure]:
    """Draw the mean seconds of a run by part, a bar a case."""
    timed = [case for case in cases if total(case) and is_drawable(total(case))]
    if not timed:
        return
    title = "Mean seconds of a run by part"
    height = 0.19 * len(timed) + 0.2
    drawing, axes = panels(1, columns=1, width=6.4, height=height, left=2.7)
    (axis,) = axes
    places = [*range(len(timed))]
    start = [0.0] * len(timed)
    for name, colour in zip(PARTS, COLOURS, strict=False):
        seconds = [part(case, name) for case in timed]
        if any(seconds):
            axis.barh(places, seconds, left=start, color=colour, label=name, height=0.7)
        start = [a + b for a, b in zip(start, seconds, strict=True)]
    axis.set_yticks(places, [shortened(case.name, 40) for case in timed])
    axis.set_ylim(len(timed) - 0.4, -0.6)
    axis.set_xlabel("seconds")
    axis.grid(visible=False, axis="y")
    drawing.legend(ncols=len(PARTS), loc="upper center", fontsize=8)
    svg = svg_of(drawing, title)
    longest = max(timed, key=total)
    words = f"A bar a case; the longest is {longest.name} with {total(longest):.3g} s"
    most = max(PARTS, key=lambda name: part(longest, name))
    words += f", of which {part(longest, most):.3g} s {most}."
    yield Figure(title=title, svg=svg, words=words)


def part(case: Facts, name: str) -> float:
    """Return the mean seconds of a part."""
    return mean_of([run.parts.get(name, 0.0) or 0.0 for run in case.result.runs])


def total(case: Facts) -> float:
    """Return the mean seconds of all parts."""
    return sum(part(case, name) for name in PARTS)
