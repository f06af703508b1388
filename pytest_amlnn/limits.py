"""Limits that results must keep: what they are, and the file that they are read from."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_amlnn.errors import UserError
from pytest_amlnn.fields import nearest
from pytest_amlnn.metrics import COMMON, Metric
from pytest_amlnn.options import PROFILES, Options, is_there

if TYPE_CHECKING:
    from pytest_amlnn.case import Case


class GateError(UserError):
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


def to_plain(limit: Limit) -> dict[str, Any]:
    """Return the limit as JSON-ready data."""
    return asdict(limit)


def load_for(options: Options) -> tuple[Limit, ...]:
    """Return the profile's limits; none with the gate off, or without the default file."""
    wanted = options.gates_named or is_there(options.gates)
    return load(options.gates, options.profile) if wanted and options.gate != "off" else ()


def load(path: Path, profile: str) -> tuple[Limit, ...]:
    """Read the limits of one profile; all profiles are checked.

    Raises GateError for a file that cannot be read, is no TOML, or holds a limit
    that nothing could be held against.
    """
    import tomllib  # only where there is a file: every pytest run loads this module

    try:
        if path.exists() and not path.is_file() and str(path) != os.devnull:  # a pipe may wait
            raise GateError(f"{path}: is no file; --amlnn-gates names the file of limits")
        text = path.read_text(encoding="utf-8-sig")  # an editor may begin a file with a mark
        tables = tomllib.loads(text)
    except OSError as error:
        raise GateError(f"{path}: {error.strerror}; --amlnn-gates names the file") from error
    except UnicodeDecodeError as error:
        raise GateError(f"{path}: not UTF-8, as TOML is: {error}; save it as UTF-8") from error
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits
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
        if not number or not abs(bound) <= sys.float_info.max:  # nan is not, either
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


def unknown(
    limits: Iterable[Limit],
    known: Mapping[str, Mapping[str, Case | None]],
    *,
    elsewhere: Collection[str] = (),
) -> list[str]:
    """Return what is wrong with limits on cases and metrics that do not exist, in words.

    `known` has by test function all cases that it has in this profile, None for one that only
    the test's body knows. `elsewhere` are functions that may have other cases, where nothing
    was collected: two classes, or two files, may each have a function that is called alike.
    """
    found: list[str] = []
    for limit in limits:
        function = limit.case.partition("[")[0]
        cases = known.get(function, {})
        if limit.case in cases:
            case = cases[limit.case]
            task = case.training.task if case else None
            found += wrong_metric(limit, task.metrics, task.name) if task else []
        elif function in elsewhere:
            continue
        elif not cases:
            near = hint(function, sorted(known))
            found.append(f"{limit.where}: no test function '{function}' trains a case{near}")
        elif not any(extends(id, limit.case) for id in cases):
            near = hint(limit.case, sorted(cases))
            found.append(f"{limit.where}: no case '{limit.case}' in this profile{near}")
    return found


def extends(id: str, plain: str) -> bool:
    """Return whether an id is another with more parameters: `test_x[a-1]` is of `test_x[a]`.

    Plugins that repeat tests lengthen ids so.
    """
    _, _, inner = plain.rstrip("]").partition("[")
    _, _, whole = id.rstrip("]").partition("[")
    return re.search(rf"(^|-){re.escape(inner)}(-|$)", whole) is not None


def wrong_metric(limit: Limit, own: Iterable[Metric], task: str) -> list[str]:
    """Say that a limit's metric is unknown, or a share that cannot meet it; `own` are those of
    the task."""
    metrics = {metric.name: metric for metric in (*own, *COMMON)}
    if limit.metric not in metrics:
        remedy = hint(limit.metric, sorted(metrics))
        return [
            f"{limit.where}: unknown metric '{limit.metric}': it is no metric of a {task} case"
            f"{remedy}"
        ]
    return outside_share(limit, share=metrics[limit.metric].share)


def coverage(limits: Iterable[Limit], ids: Iterable[str], file: str | None) -> list[str]:
    """Say how many cases have limits, from which file, and which limits no case bears."""
    limited, planned = {limit.case for limit in limits}, {*ids}
    if not limited:
        return [f"limits: none for this profile in {file}" if file else "limits: none"]
    with_limits = len(limited & planned)
    rest = len(planned) - with_limits
    lines = [f"limits: {file}, for {with_limits} of {len(planned)} cases"]
    if rest:
        lines[0] += f"; {rest} {'has' if rest == 1 else 'have'} none"
    strange = Counter(case.partition("[")[0] for case in sorted(limited - planned))
    if strange:
        names = ", ".join(f"{name} ({count})" for name, count in strange.items())
        lines.append(f"limits not checked, since no case of this run bears them: {names}")
    return lines


def hint(name: str, known: list[str]) -> str:
    """Return the known name that comes nearest, as a question; all where none is near."""
    return nearest(name, known) or f"; known: {', '.join(known)}"


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
