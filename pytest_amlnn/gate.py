"""Limits that a result must keep, and the judgement whether it does."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_amlnn.metrics import COMMON, Metric
from pytest_amlnn.options import PROFILES, Options
from pytest_amlnn.result import Result

if TYPE_CHECKING:
    from pytest_amlnn.case import Case

PASSED, REGRESSED, NOT_COMPARABLE = "passed", "regressed", "not comparable"
SEVERITY = (PASSED, NOT_COMPARABLE, REGRESSED)


class GateError(Exception):
    """A file of limits that cannot be used; the message names file, line and remedy."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Bounds on the mean of one metric of one case."""

    case: str
    metric: str
    at_least: float | None = None
    at_most: float | None = None
    where: str = ""
    """File and line, for messages."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One limit, the value that was measured, and what follows."""

    limit: Limit
    value: float | None
    verdict: str

    def __str__(self) -> str:
        limit = self.limit
        sides = (("at least", limit.at_least), ("at most", limit.at_most))
        needs = " and ".join(f"{side} {bound:g}" for side, bound in sides if bound is not None)
        value = "no value" if self.value is None else f"{self.value:.4g}"
        text = f"{limit.case}: {self.verdict}: {limit.metric} is {value}, needs {needs}"
        return f"{text} ({limit.where})" if limit.where else text


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate says of a result."""

    name: str | None
    """The worst judgement; None where the case has no limit or the gate is off."""
    judgements: tuple[Judgement, ...] = ()
    enforced: bool = True

    @property
    def passed(self) -> bool:
        """Whether the item may be green."""
        return not (self.enforced and self.name == REGRESSED)

    @property
    def message(self) -> str:
        """Each limit that was not kept, with case, metric, value and limit."""
        return "\n".join(str(j) for j in self.judgements if j.verdict != PASSED)

    def __repr__(self) -> str:
        return self.message or str(self.name)


def judge(result: Result, limits: Iterable[Limit], *, enforced: bool = True) -> Verdict:
    """Hold a result against its limits."""
    judgements = tuple(judge_one(result, limit) for limit in limits if limit.case == result.id)
    names = [judgement.verdict for judgement in judgements]
    worst = max(names, key=SEVERITY.index) if names else None
    return Verdict(name=worst, judgements=judgements, enforced=enforced)


def judge_one(result: Result, limit: Limit) -> Judgement:
    """Hold one metric's mean against its bounds; times of contended runs prove nothing."""
    metric = result.known.get(limit.metric)  # None: a mistake, which `unknown` names
    value = result.metrics[metric.name].mean if metric else None
    if metric and metric.of_machine and result.contended:
        verdict = NOT_COMPARABLE
    else:
        verdict = PASSED if keeps(value, limit) else REGRESSED
    return Judgement(limit=limit, value=value, verdict=verdict)


def keeps(value: float | None, limit: Limit) -> bool:
    """Return whether a value lies within the bounds; no value does not."""
    if value is None:
        return False
    low = limit.at_least is None or value >= limit.at_least
    return low and (limit.at_most is None or value <= limit.at_most)


def to_plain(limit: Limit) -> dict[str, Any]:
    """Return the limit as JSON-ready data."""
    return asdict(limit)


def load_for(options: Options) -> tuple[Limit, ...]:
    """Return the profile's limits; none with the gate off, or without the default file."""
    wanted = options.gates_named or options.gates.exists()
    return load(options.gates, options.profile) if wanted and options.gate != "off" else ()


def load(path: Path, profile: str) -> tuple[Limit, ...]:
    """Read the limits of one profile; all profiles are checked.

    Raises GateError for a file that cannot be read, is no TOML, or holds a limit
    that nothing could be held against.
    """
    import tomllib  # only where there is a file: every pytest run loads this module

    try:
        text = path.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except OSError as error:
        raise GateError(f"{path}: {error.strerror}; --amlnn-gates names the file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GateError(f"{path}: not TOML: {error}") from error
    read = {name: limits_of(name, cases, path, text) for name, cases in tables.items()}
    return tuple(read.get(profile, ()))


def limits_of(profile: str, cases: Any, path: Path, text: str) -> list[Limit]:
    """Return the limits under one profile's heading."""
    if profile not in PROFILES:
        known = " or ".join(PROFILES)
        raise GateError(f"{at(path, text, profile)}: '{profile}' is no profile; use {known}")
    return [
        limit_of(case, metric, bounds, at(path, text, profile, case, metric))
        for case, metrics in table(cases, at(path, text, profile)).items()
        for metric, bounds in table(metrics, at(path, text, profile, case)).items()
    ]


def table(value: Any, where: str) -> Mapping[str, Any]:
    """Return the value if it is a table, as every level above the bounds must be."""
    if not isinstance(value, dict):
        raise GateError(f"{where}: needs a table such as test_accuracy = {{ at_least = 0.5 }}")
    return value


def limit_of(case: str, metric: str, bounds: Any, where: str) -> Limit:
    """Return one limit, checked as far as it can be without its case."""
    bounds = table(bounds, where)
    if not bounds or not bounds.keys() <= {"at_least", "at_most"}:
        raise GateError(f"{where}: {metric} needs at_least, at_most or both, nothing else")
    for side, bound in bounds.items():
        number = isinstance(bound, int | float) and not isinstance(bound, bool)
        if not number or not math.isfinite(bound):
            raise GateError(f"{where}: {metric}: {side} is {bound!r}, needs a finite number")
    if bounds.get("at_least", bound) > bounds.get("at_most", bound):
        raise GateError(f"{where}: {metric}: at_least exceeds at_most, nothing can pass")
    limit = Limit(case=case, metric=metric, where=where, **bounds)
    impossible = outside_share(limit, share=metric in shares())
    if impossible:
        raise GateError(impossible[0])
    return limit


def shares() -> set[str]:
    """Return the names of those metrics of our own tasks that lie in 0..1."""
    from pytest_amlnn.tasks.classification import CLASSIFICATION  # only where there are limits

    return {metric.name for metric in CLASSIFICATION.metrics if metric.share}


def outside_share(limit: Limit, *, share: bool) -> list[str]:
    """Say which bounds a share of 0..1 cannot meet or miss."""
    return [
        f"{limit.where}: {limit.metric}: {side} is {bound:g}, needs a share from 0 to 1"
        for side, bound in (("at_least", limit.at_least), ("at_most", limit.at_most))
        if share and bound is not None and not 0 <= bound <= 1
    ]


def unknown(limits: Iterable[Limit], cases: Mapping[str, Case], function: str) -> list[str]:
    """Return what is wrong with limits on one test function's cases, in words.

    `cases` are all that the function has in this profile, by id.
    """
    mine = [limit for limit in limits if limit.case.split("[")[0] == function]
    return [words for limit in mine for words in wrong_with(limit, cases)]


def wrong_with(limit: Limit, cases: Mapping[str, Case]) -> list[str]:
    """Say what is wrong with a limit: its case or metric is unknown, a share cannot meet it."""
    if limit.case not in cases:
        remedy = hint(limit.case, sorted(cases))
        return [f"{limit.where}: no case '{limit.case}' in this profile{remedy}"]
    task = cases[limit.case].training.task
    metrics: dict[str, Metric] = {metric.name: metric for metric in (*task.metrics, *COMMON)}
    if limit.metric not in metrics:
        remedy = hint(limit.metric, sorted(metrics))
        return [
            f"{limit.where}: unknown metric '{limit.metric}': it is no metric of a {task.name}"
            f" case{remedy}"
        ]
    return outside_share(limit, share=metrics[limit.metric].share)


def hint(name: str, known: list[str]) -> str:
    """Return the known name that comes nearest, as a question."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}"


def at(path: Path, text: str, *keys: str) -> str:
    """Return file and line of nested keys: tomllib keeps no positions, so look for them."""
    lines = [line.partition("#")[0] for line in text.splitlines()]
    start = 0
    for count in range(len(keys), 0, -1):  # the heading that names most of them comes first
        found = first_line(lines, 0, keys[:count])
        if found is not None:
            start = found
            break
    for key in keys[count:]:
        start = first_line(lines, start, (key,)) or start
    return f"{path}:{start + 1}"


def first_line(lines: list[str], start: int, keys: tuple[str, ...]) -> int | None:
    """Return the index of the first line that holds all of these keys as whole words."""
    words = [re.compile(rf"(?<![\w-]){re.escape(key)}(?![\w-])") for key in keys]
    rest = range(start, len(lines))
    return next((i for i in rest if all(word.search(lines[i]) for word in words)), None)
