"""From collected items to cases, and to the plan that is written before any of them runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import pytest
from pytest_benchmark.utils import get_commit_info

from pytest_amlnn import gate, store
from pytest_amlnn.case import Case, discover, select
from pytest_amlnn.data import DataError
from pytest_amlnn.identity import case_to_plain
from pytest_amlnn.options import Options
from pytest_amlnn.plain import IdentityError
from pytest_amlnn.session import Session

OPTIONS = ("profile", "data", "device", "seed", "repeats", "gate")


def parametrize(metafunc: pytest.Metafunc, session: Session) -> None:
    """Make one item of each case of the profile, for functions that are marked to want it."""
    mark = metafunc.definition.get_closest_marker("amlnn_cases")
    if mark is None:
        return
    chosen, known = select(
        discover(*mark.args),
        **mark.kwargs,
        profile=session.options.profile,
        named=session.options.data.keys(),
    )
    name = metafunc.function.__name__
    session.known[name] = {f"{name}[{case}]": case for case in known}
    metafunc.parametrize("case", chosen, ids=str)


def prepare(
    items: Iterable[pytest.Item], session: Session, clock: Callable[[], float], hook: Any
) -> None:
    """Give every benchmark its clock, and skip the cases that cannot run here."""
    for item in filter(trains, items):
        case = case_of(item)
        session.nodes.setdefault(store.key(item.name), []).append(item.nodeid)
        time_by_training(item, case, clock)
        if case is None:
            continue
        function = getattr(item, "originalname", item.name)
        session.known.setdefault(function, {})[item.name] = case
        reason = unavailable(case, session.options) or hook.pytest_amlnn_unavailable(
            case=case, options=session.options
        )
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


def unavailable(case: Case, options: Options) -> str | None:
    """Say why the data of a case are not on this machine; None where they are."""
    data = case.training.data
    try:
        return data.at(options.data.get(data.name)).unavailable()
    except DataError:  # opening the data says it again, in the test
        return None


def unused_data(session: Session) -> list[str]:
    """Return the datasets that --amlnn-data names and no collected case is trained on."""
    cases = [case for cases in session.known.values() for case in cases.values()]
    used = {
        name
        for case in cases
        for name in (case.training.data.name, case.only_with, case.only_without)
    }
    return sorted(session.options.data.keys() - used)


def time_by_training(item: pytest.Item, case: Case | None, clock: Callable[[], float]) -> None:
    """Have pytest-benchmark read the training clock; what the user's own mark says stays."""
    own = item.get_closest_marker("benchmark")
    settings = {
        "timer": clock,
        "group": case.group if case else None,
        **(own.kwargs if own else {}),
    }
    item.add_marker(pytest.mark.benchmark(**settings), append=False)


def plan_of(
    items: Iterable[pytest.Item], options: Options, limits: Iterable[gate.Limit]
) -> dict[str, Any] | None:
    """Return the plan of these items as plain data, None where none of them is a benchmark."""
    benchmarks = [item for item in items if trains(item)]
    if not benchmarks:
        return None
    return {
        "options": {name: getattr(options, name) for name in OPTIONS},
        "limits": [gate.to_plain(limit) for limit in limits],
        "cases": [plan_entry(item, options) for item in benchmarks],
        "costs": {item.nodeid: case.cost for item in benchmarks if (case := case_of(item))},
        "commit": get_commit_info(),
    }


def remember_code(items: Iterable[pytest.Item]) -> None:
    """Read the code that cases reach, as it is now: it may be edited while they train."""
    for item in filter(trains, items):
        case = case_of(item)
        if case is not None:
            with suppress(IdentityError):  # said where the case is trained
                case_to_plain(case)


def plan_entry(item: pytest.Item, options: Options) -> dict[str, Any]:
    """Return what the plan says of one item."""
    skips = [
        mark.kwargs.get("reason") or next(iter(mark.args), "unconditional skip")
        for mark in item.iter_markers("skip")
    ]
    case = case_of(item)
    return {
        "id": item.name,
        "nodeid": item.nodeid,
        "skip": skips[0] if skips else None,
        "seeds": [*options.seeds_of(case.repeats if case else 1)],
    }


def trains(item: pytest.Item) -> bool:
    """Return whether an item is a benchmark of ours."""
    return "train" in getattr(item, "fixturenames", ())


def case_of(item: pytest.Item) -> Case | None:
    """Return the case that an item is parametrized with, under whatever name, if it is."""
    callspec = getattr(item, "callspec", None)
    cases = [v for v in callspec.params.values() if isinstance(v, Case)] if callspec else []
    return cases[0] if cases else None
