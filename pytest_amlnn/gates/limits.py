"""Limits that results must keep: what they are, and the file that they are read from."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_amlnn.errors import UserError
from pytest_amlnn.fields import nearest
from pytest_amlnn.gates import calibration
from pytest_amlnn.gates.calibration import Calibration
from pytest_amlnn.gates.places import at
from pytest_amlnn.gates.reference import Reference
from pytest_amlnn.options import PROFILES, Options, is_there

LARGEST = 1e100
"""Of numbers in the file: their squares must be numbers."""
CALIBRATION = "calibration"
"""Key beside the metrics of a case: the runs that its references come from."""


class GateError(UserError):
    """A file of limits that cannot be used; the message names file, line and remedy."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What the mean of one metric of one case is held against."""

    case: str
    metric: str
    at_least: float | None = None
    at_most: float | None = None
    exactly: float | None = None
    """Of what follows from the net alone, such as its number of parameters."""
    reference: float | None = None
    """Mean of the runs that the limit was calibrated with."""
    margin: float | None = None
    """The drop below the reference that matters."""
    told_by: int | None = None
    """The margin is what so many seeds can tell, where less would matter."""
    sd: float | None = None
    """Between the seeds of one machine."""
    sd_machines: float | None = None
    n: int | None = None
    """Runs behind the reference."""
    range: tuple[float, float] | None = None
    """The lowest and the highest of them."""
    where: str = ""
    """File and line, for messages."""

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds that a value is held against as it is, by their names."""
        names = ("at_least", "at_most", "exactly")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @property
    def stated(self) -> Reference | None:
        """What the limit itself says of its reference, without the runs behind it."""
        if self.reference is None or self.sd is None or self.n is None:
            return None
        return Reference(
            mean=self.reference,
            sd=self.sd,
            n=self.n,
            freedom=self.n - 1,
            sd_machines=self.sd_machines or 0.0,
        )


@dataclass(frozen=True, kw_only=True)
class Limits:
    """All limits of a profile, and the runs that those with a reference come from, by case."""

    limits: tuple[Limit, ...] = ()
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """Return what a plan says of the limits."""
        return {
            "limits": [to_plain(limit) for limit in self.limits],
            "calibrations": {
                case: calibration.to_plain(known) for case, known in self.calibrations.items()
            },
        }

    @cached_property
    def by_case(self) -> dict[str, list[Limit]]:
        """The limits of each case."""
        found: dict[str, list[Limit]] = {}
        for limit in self.limits:
            found.setdefault(limit.case, []).append(limit)
        return found


def to_plain(limit: Limit) -> dict[str, Any]:
    """Return a limit as JSON-ready data."""
    return {name: value for name, value in asdict(limit).items() if value is not None}


def from_plan(plan: Mapping[str, Any]) -> Limits:
    """Return the limits that a plan holds."""
    held = plan.get("calibrations", {}).items()
    return Limits(
        limits=tuple(Limit(**plain) for plain in plan["limits"]),
        calibrations={case: calibration.from_plain(plain) for case, plain in held},
    )


def load_for(options: Options) -> Limits:
    """Return the profile's limits; none with the gate off, or without the default file."""
    wanted = options.gates_named or is_there(options.gates)
    return (
        load(options.gates, options.profile) if wanted and options.gate != "off" else Limits()
    )


def load(path: Path, profile: str) -> Limits:
    """Read the limits of one profile; all profiles are checked.

    Raises GateError for a file that cannot be read, is no TOML, or holds a limit
    that nothing could be held against.
    """
    try:
        if path.exists() and not path.is_file() and str(path) != os.devnull:  # a pipe may wait
            raise GateError(f"{path}: is no file; --amlnn-gates names the file of limits")
        text = path.read_text(encoding="utf-8-sig")  # an editor may begin a file with a mark
    except OSError as error:
        raise GateError(f"{path}: {error.strerror}; --amlnn-gates names the file") from error
    except UnicodeDecodeError as error:
        raise GateError(f"{path}: not UTF-8, as TOML is: {error}; save it as UTF-8") from error
    return parse(path, text).get(profile, Limits())


def parse(path: Path, text: str) -> dict[str, Limits]:
    """Return the limits of all profiles in the text of a file; raises GateError."""
    import tomllib  # only where there is a file: every pytest run loads this module

    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits
        raise GateError(f"{path}: not TOML: {error}") from error
    return {name: limits_of(name, cases, path, text) for name, cases in tables.items()}


def limits_of(profile: str, cases: Any, path: Path, text: str) -> Limits:
    """Return the limits under one profile's heading."""
    if profile not in PROFILES:
        known = " or ".join(PROFILES)
        raise GateError(f"{at(path, text, profile)}: '{profile}' is no profile; use {known}")
    limits, calibrations = [], {}
    for case, metrics in table(cases, at(path, text, profile)).items():
        for metric, bounds in table(metrics, at(path, text, profile, case)).items():
            where = at(path, text, profile, case, metric)
            if metric == CALIBRATION:
                calibrations[case] = calibration_of(table(bounds, where), where)
            else:
                limits.append(limit_of(case, metric, bounds, where))
    for limit in limits:
        refuse_unless_calibrated(limit, calibrations.get(limit.case))
    return Limits(limits=tuple(limits), calibrations=calibrations)


def calibration_of(plain: Mapping[str, Any], where: str) -> Calibration:
    """Return what `amlnn calibrate` wrote of the runs of a case."""
    try:
        return calibration.checked(plain)
    except calibration.CalibrationError as error:
        raise GateError(
            f"{where}: {CALIBRATION}: {error}; `amlnn calibrate DIR` writes it anew"
        ) from error


def refuse_unless_calibrated(limit: Limit, known: Calibration | None) -> None:
    """Raise GateError for a reference that does not follow from what stands beside it."""
    if limit.reference is None:
        return
    if known is not None and known.has(limit.metric):
        mean = known.reference(limit.metric).mean
        if not math.isclose(mean, limit.reference, rel_tol=1e-3, abs_tol=1e-9):
            raise GateError(
                f"{limit.where}: {limit.metric}: reference is {limit.reference:g}, and the"
                f" runs under {CALIBRATION} have the mean {mean:g}; `amlnn calibrate DIR`"
                " writes both"
            )
    elif limit.stated is None:
        raise GateError(
            f"{limit.where}: {limit.metric}: a reference needs sd and n, or the runs that"
            " `amlnn calibrate DIR` writes beside it"
        )
    if limit.range and not limit.range[0] <= limit.reference <= limit.range[1]:
        raise GateError(f"{limit.where}: {limit.metric}: the reference is out of its range")


def table(value: Any, where: str) -> Mapping[str, Any]:
    """Return the value if it is a table, as every level above the bounds must be."""
    if not isinstance(value, dict):
        raise GateError(f"{where}: needs a table such as test_accuracy = {{ at_least = 0.5 }}")
    return value


KEYS = {
    "at_least": "a finite number",
    "at_most": "a finite number",
    "exactly": "a finite number",
    "reference": "a finite number",
    "margin": "a number above 0",
    "sd": "a number from 0 up",
    "sd_machines": "a number from 0 up",
    "told_by": "a whole number from 1 up",
    "n": "a whole number from 2 up",
    "range": "two numbers, the lower first",
}
"""Of a limit in the file, and what each needs."""
OF_REFERENCE = {"sd", "sd_machines", "told_by", "n", "range"}


def limit_of(case: str, metric: str, bounds: Any, where: str) -> Limit:
    """Return one limit, checked as far as it can be without its case."""
    bounds = table(bounds, where)
    unknown = sorted(bounds.keys() - KEYS.keys())
    if unknown:
        near = nearest(unknown[0], [*KEYS]) or f"; known: {', '.join(KEYS)}"
        raise GateError(f"{where}: {metric}: unknown key '{unknown[0]}'{near}")
    for name, value in bounds.items():
        if not fits(name, value):
            raise GateError(f"{where}: {metric}: {name} is {value!r}, needs {KEYS[name]}")
    if not bounds.keys() & {"at_least", "at_most", "exactly", "reference"}:
        raise GateError(
            f"{where}: {metric} needs at_least, at_most, exactly or a reference with its margin"
        )
    if ("reference" in bounds) != ("margin" in bounds):
        raise GateError(
            f"{where}: {metric}: a reference needs a margin, the drop that matters, and a"
            " margin needs a reference"
        )
    alone = sorted(bounds.keys() & OF_REFERENCE) if "reference" not in bounds else []
    if alone:
        raise GateError(f"{where}: {metric}: {alone[0]} says something of a reference: name it")
    if bounds.get("at_least", -math.inf) > bounds.get("at_most", math.inf):
        raise GateError(f"{where}: {metric}: at_least exceeds at_most, nothing can pass")
    low, high = bounds.get("at_least", -math.inf), bounds.get("at_most", math.inf)
    if not low <= bounds.get("exactly", low) <= high:
        raise GateError(f"{where}: {metric}: exactly is out of at_least and at_most")
    ends = {"range": tuple(bounds["range"])} if "range" in bounds else {}
    limit = Limit(case=case, metric=metric, where=where, **{**bounds, **ends})
    impossible = outside_share(limit, share=metric in shares())
    if impossible:
        raise GateError(impossible[0])
    return limit


def fits(name: str, value: Any) -> bool:
    """Return whether a key of a limit has a value that it can have."""
    if name == "range":
        pair = isinstance(value, list) and len(value) == 2
        return pair and all(is_number(end) for end in value) and value[0] <= value[1]
    if not is_number(value):
        return False
    if name in ("told_by", "n"):
        return isinstance(value, int) and value >= (1 if name == "told_by" else 2)
    if name == "margin":
        return bool(value > 0)
    return bool(value >= 0) if name in ("sd", "sd_machines") else True


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) <= LARGEST  # nan is not, either


def shares() -> set[str]:
    """Return the names of those metrics of our own tasks that lie in 0..1."""
    from pytest_amlnn.tasks.classification import CLASSIFICATION  # only where there are limits

    return {metric.name for metric in CLASSIFICATION.metrics if metric.share}


def outside_share(limit: Limit, *, share: bool) -> list[str]:
    """Say which bounds a share of 0..1 cannot meet or miss."""
    return [
        f"{limit.where}: {limit.metric}: {side} is {bound:g}, needs a share from 0 to 1"
        for side, bound in {
            **limit.bounds,
            "reference": limit.reference,
            "margin": limit.margin,
        }.items()
        if share and bound is not None and not 0 <= bound <= 1
    ]
