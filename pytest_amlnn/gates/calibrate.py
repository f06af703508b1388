"""Limits from runs: `amlnn calibrate DIR...` writes them into a file of limits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_amlnn import disk, plans, store
from pytest_amlnn.gates import calibration
from pytest_amlnn.gates.bounds import levels, margin_told_by
from pytest_amlnn.gates.calibration import (
    CAUSES,
    EXACT,
    SHAPE,
    Calibration,
    CalibrationError,
    calibration_of,
)
from pytest_amlnn.gates.limits import CALIBRATION, load, parse
from pytest_amlnn.gates.measured import main_metric_of
from pytest_amlnn.metrics import COMMON, Metric, change_that_matters
from pytest_amlnn.result import Result, Run, gather

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

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
    times = [m.name for m in COMMON if m.unit in ("s", "1/s")]
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
    limit: dict[str, Any] = {
        "reference": number(reference.mean),
        "margin": number(max(told, least), 3),
    }
    which = f"the drop of {least:.2g} that matters"
    if told > least:
        limit["told_by"] = seeds
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
    return limit, said


def number(value: float, digits: int = DIGITS) -> float:
    """Return a number with so many digits."""
    return float(f"{value:.{digits}g}")


# the file


def write(file: Path, profile: str, found: Iterable[Calibrated]) -> list[str]:
    """Write limits into a file, which keeps what was written by hand; say what changed.

    Raises GateError for a file that cannot be read.
    """
    import tomlkit

    document = tomlkit.document()
    if file.exists():
        load(file, profile)  # so that what is wrong with it is said with its line
        document = tomlkit.parse(file.read_text(encoding="utf-8-sig"))
    try:
        words = [line for one in found for line in put(document, profile, one)]
    except ValueError as error:  # a table in a form that nothing can be added to
        raise CalibrationError(
            f'{file}: {error}: write each case as a table of its own, [quick."CASE"]'
        ) from error
    text = tomlkit.dumps(document)
    parse(file, text)  # what nobody could read is not written
    disk.write(file, text.encode())
    return words


def text_of(profile: str, found: Iterable[Calibrated]) -> str:
    """Return limits as the text of a file."""
    import tomlkit

    document = tomlkit.document()
    for one in found:
        put(document, profile, one)
    return tomlkit.dumps(document)


def put(document: TOMLDocument, profile: str, found: Calibrated) -> list[str]:
    """Put the limits of one case into a document; bounds that stand there stay."""
    import tomlkit

    cases = document.setdefault(profile, tomlkit.table(is_super_table=True))
    case = cases.setdefault(found.case, tomlkit.table())
    said = []
    for metric, limit in found.limits.items():
        before = dict(case.get(metric, {}))
        kept = {name: before[name] for name in ("at_least", "at_most") if name in before}
        if "margin" in before and "told_by" not in before:  # somebody set it
            limit = {**limit, "margin": before["margin"]}
            limit.pop("told_by", None)
        new = tomlkit.inline_table()
        new.update({**kept, **limit})
        case[metric] = new
        if "reference" in before and before["reference"] != limit.get("reference"):
            said.append(f"{metric} was {before['reference']:.4g}, is {limit['reference']:.4g}")
    case[CALIBRATION] = calibration_table(found.known)
    changes = f" (before: {'; '.join(said)})" if said else ""
    return [f"{line}{changes}" for line in found.words]


def calibration_table(known: Calibration) -> Any:
    """Return a calibration as a table of TOML."""
    import tomlkit

    plain = calibration.to_plain(known)
    training = json.dumps(store.as_stored(plain["training"]), sort_keys=True)
    plain["training"] = tomlkit.string(training, literal="'" not in training)
    made = tomlkit.table()
    for name, value in plain.items():
        if isinstance(value, dict):
            inner = tomlkit.table() if name == "runs" else tomlkit.inline_table()
            for key, entry in value.items():
                inner[key] = [list(mine) for mine in entry] if name == "runs" else entry
            if name == "runs":
                inner.add(tomlkit.nl())
            made[name] = inner
        else:
            made[name] = (
                [list(part) if isinstance(part, tuple) else part for part in value]
                if isinstance(value, list | tuple)
                else value
            )
    return made
