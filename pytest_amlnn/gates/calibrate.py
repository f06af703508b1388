"""Limits from runs, as `amlnn calibrate DIR...` gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_amlnn import plans, store
from pytest_amlnn.gates import calibration
from pytest_amlnn.gates.bounds import fewest_seeds, levels, margin_told_by
from pytest_amlnn.gates.calibration import (
    CAUSES,
    EXACT,
    SHAPE,
    Calibration,
    CalibrationError,
    calibration_of,
)
from pytest_amlnn.gates.measured import main_metric_of
from pytest_amlnn.metrics import COMMON, Metric, change_that_matters, whole_value
from pytest_amlnn.result import Result, Run, gather

if TYPE_CHECKING:
    pass

FEWEST = 3
"""Runs that a reference can be made of."""
DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """The new limits of one case, and in words what they are and what they were before."""

    case: str
    limits: dict[str, dict[str, Any]]
    known: Calibration
    words: tuple[str, ...]


def calibrate(
    folders: Sequence[Path], metrics: Sequence[str] = ()
) -> tuple[str, list[Calibrated]]:
    """Return the profile of these sweeps, and the limits that their runs give for each case.

    `metrics` are taken besides each task's first one. Raises CalibrationError for runs that are
    too few, did not finish, or are of two trainings.
    """
    profiles = {str(plans.load(folder)["options"]["profile"]): folder for folder in folders}
    if len(profiles) > 1:
        raise CalibrationError(
            "the sweeps are of several profiles: "
            + ", ".join(f"{folder} of {name}" for name, folder in profiles.items())
        )
    runs: list[Run] = []
    for folder in folders:
        found, unreadable = store.read_runs(folder)
        if unreadable:
            raise CalibrationError(f"{folder}: not every record can be read: {unreadable[0]}")
        ended = {result.id: result.seeds for result in gather(found)}
        for id, seeds in plans.lacking(plans.load(folder), ended).items():
            raise CalibrationError(
                f"{folder}: {id}: no run ended with seed {', '.join(map(str, seeds))}: go on"
                f" with --amlnn-resume --amlnn-out {folder}"
            )
        runs += found
    results = gather(runs)
    if not results:
        raise CalibrationError(f"{', '.join(map(str, folders))}: no run has ended")
    return next(iter(profiles)), [
        calibrated(result, len(results) * (1 + len(metrics)), metrics) for result in results
    ]


def calibrated(result: Result, family: int, metrics: Sequence[str]) -> Calibrated:
    """Return the limits that the runs of one case give; `family` of them share the level."""
    if len(result.runs) < FEWEST:
        raise CalibrationError(
            f"{result.id}: {len(result.runs)} runs are too few; train at least {FEWEST} seeds,"
            " better 20: --amlnn-repeats 20"
        )
    main = main_metric_of(result)
    wanted = [main, *(known_metric(result, name) for name in metrics)]
    wanted = list({metric.name: metric for metric in wanted}.values())
    names = [metric.name for metric in wanted]
    known = calibration_of(result.runs, [*names, *EXACT, *SHAPE, *CAUSES])
    lacking = [name for name in names if not known.has(name)]
    if lacking:
        raise CalibrationError(f"{result.id}: not every run has a {lacking[0]}")
    rounded = calibration.rounded(known, DIGITS)
    limits, words = {}, []
    for metric in wanted:
        limits[metric.name], said = limit_on(metric, rounded, result, family)
        words.append(f"{result.id}: {said}")
    for name in EXACT:
        if (value := rounded.constants.get(name)) is not None:
            limits[name] = {"exactly": int(value) if value == int(value) else value}
    return Calibrated(case=result.id, limits=limits, known=rounded, words=tuple(words))


def known_metric(result: Result, name: str) -> Metric:
    """Return a metric of a case by name; CalibrationError where it has none of that name."""
    metric = result.known.get(name)
    times = [m.name for m in COMMON if m.of_clock]
    if metric is None or metric.better == "neither" or name in times:
        names = [m.name for m in result.known.values() if m.better != "neither"]
        known = [name for name in names if name not in times]
        raise CalibrationError(
            f"{result.id}: '{name}' is no metric that is compared with the past; known:"
            f" {', '.join(known)}"
        )
    return metric


def limit_on(
    metric: Metric, known: Calibration, result: Result, family: int
) -> tuple[dict[str, Any], str]:
    """Return a limit on one metric as it stands in the file, and what it is in words."""
    reference = known.reference(metric.name)
    seeds = max(1, int(result.case["repeats"]))
    least = change_that_matters(metric, reference.mean)
    told = margin_told_by(seeds, reference, levels(family).drop)
    values = known.values(metric.name)
    if not reference.freedom or not max(told, least) > 0:
        raise CalibrationError(
            f"{result.id}: {metric.name}: these runs do not say how it varies: train more seeds"
            " on each machine"
        )
    tells = told < whole_value(metric, reference.mean)
    limit: dict[str, Any] = {
        "reference": number(reference.mean),
        "margin": number(max(told, least) if tells else least, 3),
        "told_by": seeds,
    }
    which = f"the drop of {least:.2g} that matters"
    if not tells:
        which += f", and {seeds} seed{'s' * (seeds > 1)} cannot tell it from the whole value"
    elif told > least:
        which = f"what {seeds} seed{'s' * (seeds > 1)} can tell, where {least:.2g} would matter"
    limit |= {
        "sd": number(reference.sd, 3),
        "n": len(values),
        "range": [min(values), max(values)],
    }
    if reference.sd_machines:
        limit["sd_machines"] = number(reference.sd_machines, 3)
    odd = reference.failed + reference.soared
    said = (
        f"{metric.name} {reference.mean:.4g}, sd {reference.sd:.2g}, {len(values)} runs from"
        f" {min(values):.4g} to {max(values):.4g}; margin {limit['margin']:.2g}: {which}"
    )
    if odd:
        said += f"; {odd} of them {'was' if odd == 1 else 'were'} far off by themselves"
    fewest = fewest_seeds(reference, levels(family).drop)
    if fewest > seeds:
        said += f"; nets may fail by themselves, so only {fewest} seeds or more can be worse"
    return limit, said


def number(value: float, digits: int = DIGITS) -> float:
    """Return a number with so many digits."""
    return float(f"{value:.{digits}g}")
