"""How sure classifiers are: reliability diagrams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_amlnn.answers import reliability
from pytest_amlnn.report.drawing import GREY, Figure, Models, panels, svg_of
from pytest_amlnn.report.facts import Facts
from pytest_amlnn.report.figures.curves import short_names

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

CAPTION = (
    "Of the answers that were given a chance between two tenths, the share that is right: on"
    " the line where confidences are chances, below it where a net is overconfident. The area"
    " of a dot is the number of answers; ECE is the expected calibration error, the"
    " mean over the seeds."
)
MOST = 24
"""Panels."""


def figures(title: str, cases: Sequence[Facts], models: Models) -> Iterator[Figure]:
    """Draw how often answers are right by how sure a net is of them, a panel a case."""
    known = [case for case in cases if case.calibration_error is not None][:MOST]
    if not known:
        return
    title = f"Share that is right by confidence: {title}"
    drawing, axes = panels(len(known), columns=4, width=1.9, height=1.6)
    for case, axis, name in zip(known, axes, short_names(known), strict=True):
        draw(axis, case, models)
        axis.set_title(name, fontsize=8)
    axes[0].set_xlim(0, 1)
    axes[0].set_xticks([0.2, 0.4, 0.6, 0.8])
    axes[0].set_ylim(0, 1)
    drawing.supxlabel("confidence", fontsize=9, y=0.02, va="bottom")
    drawing.supylabel("share that is right", fontsize=9, x=0.01, ha="left")
    svg = svg_of(drawing, title)
    said = "; ".join(
        f"{case.name}: confidence {case.confidence or 0:.2f}, right"
        f" {case.spread.mean or 0:.2f}, ECE {case.calibration_error or 0:.3f}"
        for case in known
    )
    yield Figure(title=title, svg=svg, words=said, caption=CAPTION)


def draw(axis: Axes, case: Facts, models: Models) -> None:
    """Draw the bins of the answers of all seeds."""
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, zorder=0)
    bins = reliability(pooled(case))
    examples = sum(size for size, _, _ in bins)
    for size, sure, right in bins:
        width = (2 + 60 * size / examples) ** 0.5
        axis.plot(sure, right, "o", **models.of(case.model), markersize=width, alpha=0.75)
    axis.text(0.04, 0.93, f"ECE {case.calibration_error:.3f}", fontsize=8, va="top")


def pooled(case: Facts) -> dict[str, np.ndarray]:
    """Return the answers of all seeds as if one net had given them."""
    import numpy as np

    names = ("label", "predicted", "confidence")
    return {name: np.concatenate([said[name] for said in case.answers]) for name in names}
