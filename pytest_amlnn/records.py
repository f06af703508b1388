"""What a run directory holds, checked once, when it is read: it may come from a stranger.

What is read through here has the forms of `record_forms`, in bounds of size, depth and numbers:
it can be computed with and shown. Whether it is true is another matter.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec

from pytest_amlnn import disk, result
from pytest_amlnn.disk import StoreError
from pytest_amlnn.gates import calibration
from pytest_amlnn.metrics import COMMON, Metric, Paired
from pytest_amlnn.record_forms import (
    LARGEST_NUMBER,
    LONGEST_TEXT,
    Environment,
    Epoch,
    Plan,
    RunRecord,
    Scores,
    SearchRecord,
)
from pytest_amlnn.result import FINISHED, SCHEMA, Run

READABLE = (1, 2, SCHEMA)
MIB = 2**20
LARGEST_RUN = LARGEST_ENVIRONMENT = LARGEST_SEARCH = 8 * MIB
LARGEST_PLAN = 16 * MIB
"""In bytes. A run of 1,000 epochs has 0.4 MiB, a plan of 20,000 cases 6."""
DEEPEST = 32
"""Levels of nesting."""
LARGEST_INTEGER = 2**63
ROUNDING = 1e-6
"""By which the mean of shares may lie outside of 0..1."""
FORMAT = re.compile(r"[^{}]{0,20}\{:[ +-]?,?(\.\d{1,2})?[eEfFgG%]\}[^{}]{0,20}")
"""How a number may be shown: no fields of objects, no widths."""
EPOCH = frozenset(Epoch.__struct_fields__)


# reading


def read_plan(file: Path) -> dict[str, Any]:
    """Read plan.json; StoreError where it is missing, damaged or not what a plan is."""
    plain = read_json(file, LARGEST_PLAN)
    refuse_unless(Plan, plain, f"{file} cannot be read")
    counts = Counter(case["id"] for case in plain["cases"])
    twice = [id for id, count in counts.items() if count > 1]
    if twice:
        raise StoreError(f"{file} cannot be read: cases: {twice[0][:200]} is planned twice")
    for case in plain.get("calibrations", {}):
        try:
            calibration.from_plain(plain["calibrations"][case])
        except calibration.CalibrationError as error:
            raise StoreError(f"{file} cannot be read: {case[:200]}: {error}") from error
    for i, limit in enumerate(plain["limits"]):
        bounds = ("at_least", "at_most", "exactly", "reference")
        if all(limit.get(name) is None for name in bounds):
            raise StoreError(f"{file} cannot be read: limits[{i}] has no bound")
        known = plain.get("calibrations", {}).get(limit["case"], {"runs": (), "constants": ()})
        has_runs = limit["metric"] in known["runs"] or limit["metric"] in known["constants"]
        stated = limit.get("sd") is not None and (limit.get("n") or 0) > 1
        if limit.get("reference") is not None and not (has_runs or stated):
            raise StoreError(f"{file} cannot be read: limits[{i}] has no runs, or sd and n")
    return plain


def read_environment(file: Path) -> dict[str, Any]:
    """Read environment.json; StoreError where it is missing, damaged or something else."""
    plain = read_json(file, LARGEST_ENVIRONMENT)
    refuse_unless(Environment, plain, f"{file} cannot be read")
    return plain


def read_search(file: Path) -> dict[str, Any]:
    """Read what was tried for a case; StoreError where it is damaged or something else."""
    plain = read_json(file, LARGEST_SEARCH)
    refuse_unless(SearchRecord, plain, f"{file} cannot be read")
    return plain


def read_run(file: Path) -> Run:
    """Read one run; StoreError where it is damaged or of another version."""
    plain = read_json(file, LARGEST_RUN)
    try:
        if plain["schema"] == 1:
            from pytest_amlnn.schema_1 import upgrade  # seldom needed

            plain = upgrade(plain)
        refuse_unless_run(plain, f"{file} cannot be read")
        return result.from_plain(plain)
    except KeyError as error:
        raise StoreError(f"{file} cannot be read: it lacks the field {error}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise StoreError(f"{file} cannot be read: {error}") from error


def read_json(file: Path, most: int = LARGEST_PLAN) -> dict[str, Any]:
    """Read plain data of a schema that is known, of at most so many bytes; else StoreError."""
    try:
        plain: Any = msgspec.json.decode(disk.read(file, most))
    except FileNotFoundError as error:
        raise StoreError(f"{file} is missing: {file.parent} is no run directory") from error
    except disk.DiskError as error:
        raise StoreError(str(error)) from error
    except RecursionError as error:
        raise StoreError(f"{file} cannot be read: it is nested too deeply") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise StoreError(f"{file} cannot be read: {error}") from error
    if not isinstance(plain, dict) or type(plain.get("schema")) is not int:
        raise StoreError(f"{file} is no record of pytest-amlnn, or of another version")
    if plain["schema"] not in READABLE:
        raise StoreError(f"{file} was written by another version of pytest-amlnn")
    refuse_unbounded(plain, f"{file} cannot be read")
    return plain


# checks


def refuse_unless_run(plain: Mapping[str, Any], what: str) -> None:
    """Raise StoreError, naming the field, unless plain data are a run in today's form.

    `what` begins the message: which file it is, and what cannot be done.
    """
    refuse_unless(RunRecord, plain, what)
    refuse_unless_scores(plain["epochs"], what)
    columns = [
        checked(column, Paired if part == "columns" and "by" in column else Metric, where, what)
        for part in ("metrics", "columns")
        for i, column in enumerate(plain["task"][part])
        if (where := f"task.{part}[{i}]")
    ]
    metrics = [column for column in columns if isinstance(column, Metric)]
    for field in ("metrics", "baselines"):
        for metric in (*metrics, *COMMON):
            value = plain.get(field, {}).get(metric.name)
            if value is not None and not possible(metric, value):
                raise StoreError(f"{what}: {field}.{metric.name} is {value}")
    tested = plain["status"] == FINISHED and plain["best_epoch"]
    if tested and tested > len(plain["epochs"]):
        raise StoreError(f"{what}: best_epoch is {plain['best_epoch']}")


def refuse_unless_scores(epochs: Sequence[Mapping[str, Any]], what: str) -> None:
    """Raise StoreError unless what epochs hold besides the fields of all are numbers."""
    scores = [{name: epoch[name] for name in epoch.keys() - EPOCH} for epoch in epochs]
    refuse_unless(list[Scores], scores, what, "epochs")


def possible(metric: Metric, value: float) -> bool:
    """Return whether a metric can have a value."""
    if metric.share:
        return -ROUNDING <= value <= 1 + ROUNDING
    return value >= 0 or not (metric.positive or metric in COMMON)


def checked(plain: Mapping[str, Any], kind: Any, field: str, what: str) -> Any:
    """Return a metric or a comparison from plain data; StoreError where it is neither."""
    refuse_unless(kind, plain, what, field)
    unknown = sorted(plain.keys() - {field.name for field in fields(kind)})
    if unknown:
        raise StoreError(f"{what}: {field}: unknown field {unknown[0][:200]!r}")
    made = kind(**plain)
    if not FORMAT.fullmatch(made.format):
        raise StoreError(
            f"{what}: {field}.format is {made.format[:200]!r}, needs one such as '{{:.3f}}'"
        )
    return made


def refuse_unless(kind: Any, plain: Any, what: str, field: str = "") -> None:
    """Raise StoreError, naming the field, unless plain data are of a kind."""
    try:
        msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        said, _, path = str(error).partition(" - at `$")
        place = (field + path.rstrip("`")).removeprefix(".")
        words = f"{place}: {said}" if place else said
        raise StoreError(f"{what}: {words}") from error


def refuse_unbounded(plain: Any, what: str) -> None:
    """Raise StoreError where plain data are too deep, or hold too long texts or numbers.

    It looks at every value of every record, so it is one loop.
    """
    level, depth = [plain], 0
    while level:
        inner: list[Any] = []
        for value in level:
            kind, wrong = type(value), ""
            if kind is dict:
                inner += value
                inner += value.values()
            elif kind is list:
                inner += value
            elif kind is str and len(value) > LONGEST_TEXT:
                wrong = f"a text has more than {LONGEST_TEXT:,} characters: {value[:50]!r}..."
            elif kind is int and abs(value) >= LARGEST_INTEGER:
                wrong = "an integer has more than 63 bits"
            elif kind is float and not abs(value) <= LARGEST_NUMBER:
                wrong = f"a number is larger than {LARGEST_NUMBER:g}"
            if wrong:
                raise StoreError(f"{what}: {wrong}")
        level, depth = inner, depth + 1
        if depth > DEEPEST:
            raise StoreError(f"{what}: it has more than {DEEPEST} levels")
