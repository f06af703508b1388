"""What nets forecast of a series, beside the truth, the floor and the baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_amlnn.report.drawing import (
    GREY,
    INK,
    Figure,
    Marks,
    Models,
    frame,
    is_drawable,
    panels,
    svg_of,
)
from pytest_amlnn.report.facts import Facts
from pytest_amlnn.report.figures.costs import log_scale
from pytest_amlnn.report.figures.curves import log_y, short_names
from pytest_amlnn.report.words import number

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

SHOWN = 120
"""Points of the test block that are drawn: its last ones."""
SMOOTHED = 50
"""Points over which squared errors are averaged."""
STEP = 5
"""Of these averages every fifth is drawn: the others say nothing else."""
BASELINES = {
    "oracle": "oracle (floor)",
    "autoregression": "autoregression",
    "seasonal_naive": "seasonal naive",
    "last_value": "last value",
}


def figures(title: str, cases: Sequence[Facts], models: Models) -> Iterator[Figure]:
    """Draw forecasts, errors over time, and errors beside floor and baselines."""
    known = [case for case in cases if is_forecast(case)]
    if not known:
        return
    first = known[0]  # others may have been trained with other seeds, on another series
    same = [
        case
        for case in known
        if case.result.seeds[0] == first.result.seeds[0]
        and truth_of(case).shape == truth_of(first).shape
    ]
    yield over_time(title, same, models)
    yield beside_baselines(title, known, models)


def truth_of(case: Facts) -> np.ndarray:
    """Return what came after each window, of the first seed."""
    import numpy as np

    return np.asarray(case.answers[0]["truth"], dtype=float).ravel()


def is_forecast(case: Facts) -> bool:
    """Return whether every run says of each window what it forecast, and what came."""
    wanted = ("forecast", "truth")
    return bool(case.answers) and all(
        name in said and said[name].size == len(said["names"]) > 0
        for said in case.answers
        for name in (*wanted, *({"oracle", "noise_scale"} & said.keys()))
    )


def over_time(title: str, cases: Sequence[Facts], models: Models) -> Figure:
    """Draw the end of the test block, and the errors over all of it."""
    import numpy as np

    title = f"Forecasts and errors over time: {title}"
    said, truth = cases[0].answers[0], truth_of(cases[0])
    first = max(0, len(truth) - SHOWN)
    drawing, axes = panels(2, columns=1, width=8.8, height=2.0, gap=(0, 0.55), shared=False)
    draw_band(axes[0], said, first)
    times = np.arange(first, len(truth))
    axes[0].plot(times, truth[first:], ".", color=INK, markersize=3)
    for case in cases:
        drawn = models.of(case.model)
        forecast = np.asarray(case.answers[0]["forecast"], dtype=float).ravel()
        axes[0].plot(times, forecast[first:], "-", **drawn, linewidth=1, alpha=0.9)
        draw_errors(axes[1], case, "forecast", drawn)
    draw_errors(axes[1], cases[0], "oracle", {"color": GREY})
    axes[0].set_ylabel("value")
    axes[0].set_title(f"seed {cases[0].result.seeds[0]}, the last test points", fontsize=8)
    axes[1].set_ylabel("squared error")
    axes[1].set_title(f"mean over {SMOOTHED} points and all seeds", fontsize=8)
    axes[1].set_xlabel("test point")
    log_y(axes[1])
    svg = svg_of(drawing, title)
    each = "; ".join(f"{case.name}: MSE {number(case.mean('test_mse'))}" for case in cases)
    oracle = cases[0].mean("oracle_mse")
    floor_words = f" The floor is {number(oracle)}." if oracle is not None else ""
    return Figure(
        title=title,
        svg=svg,
        words=f"Forecasts of the last {len(truth) - first} test points. {each}.{floor_words}",
        caption="Dots: what came. Grey: the best possible forecast, above with two standard"
        " deviations of the noise around it, below with its own squared error.",
    )


def draw_band(axis: Axes, said: Any, first: int) -> None:
    """Draw the best forecast with two standard deviations of noise, where they are known."""
    import numpy as np

    if "oracle" not in said:
        return
    oracle = np.asarray(said["oracle"], dtype=float).ravel()[first:]
    times = np.arange(first, first + len(oracle))
    axis.plot(times, oracle, color=GREY, linewidth=1, zorder=0)
    if "noise_scale" in said:
        noise = 2 * np.asarray(said["noise_scale"], dtype=float).ravel()[first:]
        axis.fill_between(times, oracle - noise, oracle + noise, color=GREY, alpha=0.2, lw=0)


def draw_errors(axis: Axes, case: Facts, name: str, drawn: Mapping[str, Any]) -> None:
    """Draw the squared errors of a forecast over the test block, the mean of all seeds."""
    import numpy as np

    if any(name not in said for said in case.answers):
        return
    found = [smoothed(said[name], said["truth"]) for said in case.answers]
    if len({len(errors) for errors in found}) > 1:
        return
    errors = np.mean(found, axis=0)
    times = np.arange(len(errors)) + SMOOTHED / 2
    axis.plot(times[::STEP], errors[::STEP], **drawn, linewidth=1)


def smoothed(forecast: Any, truth: Any) -> np.ndarray:
    """Return squared errors, averaged over a window that moves."""
    import numpy as np

    errors = (np.asarray(forecast, dtype=float) - np.asarray(truth, dtype=float)).ravel() ** 2
    window = min(SMOOTHED, len(errors))
    return np.convolve(errors, np.ones(window) / window, mode="valid")


def beside_baselines(title: str, cases: Sequence[Facts], models: Models) -> Figure:
    """Draw the error of each case with its interval, and lines for floor and baselines."""
    title = f"MSE beside floor and baselines: {title}"
    height = 0.24 * len(cases) + 0.7
    marks = []
    drawing, axes = panels(1, columns=1, width=6.4, height=height, left=2.3)
    (axis,) = axes
    for place, case in enumerate(cases):
        found = case.result.metrics.get("test_mse")
        if found is None or not is_drawable(found.mean):
            continue
        drawn = models.of(case.model)
        axis.plot(found.mean, place, "o", **drawn, markersize=5)
        if found.low is not None and found.high is not None:
            axis.plot([found.low, found.high], [place, place], "-", **drawn, linewidth=1.2)
        text = f"{case.name}: {number(found.mean)}"
        of = models.number(case.model)
        marks.append({"a": 0, "m": of, "t": text, "x": found.mean, "y": place})
    known = {n: v for n in BASELINES if is_drawable(v := cases[0].mean(f"{n}_mse")) and v}
    for name, value in known.items():
        axis.axvline(value, color=GREY, linewidth=1.5 if name == "oracle" else 0.8)
    axis.set_yticks([*range(len(cases))], short_names(cases))
    axis.set_ylim(len(cases) - 0.5, -2.4)
    log_scale(axis)
    axis.set_xlabel("MSE, original units")
    axis.grid(visible=False, axis="y")
    name_lines(axis, {BASELINES[name]: value for name, value in known.items()})
    svg = svg_of(drawing, title)
    frames = (frame(axis),)
    lines = ", ".join(f"{BASELINES[name]} {number(value)}" for name, value in known.items())
    each = "; ".join(f"{case.name} {number(case.mean('test_mse'))}" for case in cases)
    return Figure(
        title=title,
        svg=svg,
        words=f"MSE: {each}. Beside them {lines}.",
        caption="Bars are 95 % intervals over the seeds.",
        marks=Marks(axes=frames, points=tuple(marks)),
    )


def name_lines(axis: Axes, lines: Mapping[str, float]) -> None:
    """Write the names of vertical lines beside them, in rows so that none covers another."""
    middle = axis.transData.inverted().transform(axis.transAxes.transform((0.7, 0)))[0]
    for row, (name, value) in enumerate(sorted(lines.items(), key=lambda pair: pair[1])):
        side = "left" if value < middle else "right"
        text = f" {name} " if side == "left" else f"{name} "
        axis.text(value, -2.1 + 0.6 * (row % 3), text, fontsize=7, ha=side, va="center")
