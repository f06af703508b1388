"""From collected items to cases: which of them train, what, and whether they can here."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from pytest_amlnn import store
from pytest_amlnn.case import Case, discover, select
from pytest_amlnn.command_line import patterns_of_tests
from pytest_amlnn.data import DataError
from pytest_amlnn.session import Session

FIXTURES = "pytest_amlnn.fixtures"
"""The module of the fixture `train`."""
IMPROVEMENT = "improvement"
"""The marker of cases that are compared with a base."""
MOST_FOLDERS = 2_000
"""That are searched for test files."""


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
    cases = {f"{name}[{case}]": case for case in known}
    session.known.setdefault(name, {}).update(cases)  # another file may have its own
    metafunc.parametrize("case", chosen, ids=str)


def remember(collector: pytest.Collector, made: Any, session: Session) -> None:
    """Take note of the benchmarks that a file or class has, before any selection leaves some
    out."""
    session.files.add(collector.path)
    session.classes.discard(collector.nodeid)
    for item in made if isinstance(made, list) else [made]:
        if isinstance(item, pytest.Class):
            session.classes.add(item.nodeid)
        elif isinstance(item, pytest.Item) and trains(item):
            session.known.setdefault(function_of(item), {})[item.name] = case_of(item)


def prepare(items: Iterable[pytest.Item], session: Session, clock: Callable[[], float]) -> None:
    """Give every benchmark its clock, and skip the cases that cannot run here."""
    for item in filter(trains, items):
        case = case_of(item)
        session.nodes.setdefault(store.key(item.name), []).append(item.nodeid)
        time_by_training(item, case, clock)
        reason = case and unavailable(case, item, session)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))
        if case and case.improvement:
            item.add_marker(IMPROVEMENT)


def leave_out_improvements(items: list[pytest.Item], config: pytest.Config) -> None:
    """Deselect the improvements, unless `-m` speaks of them: they train much besides."""
    if IMPROVEMENT in (config.option.markexpr or ""):
        return
    kept, left_out = list[pytest.Item](), list[pytest.Item]()
    for item in items:
        case = case_of(item)
        (left_out if case and case.improvement else kept).append(item)
    if left_out:
        items[:] = kept
        config.hook.pytest_deselected(items=left_out)


def unavailable(case: Case, item: pytest.Item, session: Session) -> str | None:
    """Say why a case cannot run on this machine; None where it can.

    The hook is that of the folders above the item, as a conftest.py speaks for what is below.
    """
    data, search = case.training.data, case.improvement and case.improvement.search
    try:
        reason = data.at(session.options.data.get(data.name)).unavailable()
    except DataError:  # opening the data says it again, in the test
        reason = None
    reason = reason or (search.unavailable() if search else None)
    asked = item.ihook.pytest_amlnn_unavailable
    return reason or asked(case=case, options=session.options)


def unused_data(session: Session) -> list[str]:
    """Return the datasets that --amlnn-data names and no collected case is trained on."""
    cases = [case for cases in session.known.values() for case in cases.values()]
    if None in cases:  # a test's body knows more
        return []
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


def yield_names(session: pytest.Session, names: Iterable[str]) -> None:
    """Have other plugins' fixtures override ours, as those of a conftest.py do.

    Of plugins pytest takes the one that was loaded last, and that may be this one. It has no
    interface for that: where it keeps fixtures elsewhere, its own order stays.
    """
    manager = session._fixturemanager
    nearest_last = getattr(manager, "_arg2fixturedefs", {})
    nearest_first = getattr(manager, "_arg2node2fixturedefs", {})  # from pytest 9.1 on
    for name in names:
        nearest_last.get(name, []).sort(key=is_ours, reverse=True)
        nearest_first.get(name, {}).get(session, []).sort(key=is_ours)


def is_ours(definition: Any) -> bool:
    """Return whether a fixture is one of this plugin."""
    return getattr(definition.func, "__module__", None) == FIXTURES


# items


def trains(item: pytest.Item) -> bool:
    """Return whether an item has the plugin's fixture `train`, itself or through others.

    A project's own fixture or parameter of that name is none, unless it asks for ours.
    """
    if "train" in getattr(getattr(item, "callspec", None), "params", ()):
        return False
    info = getattr(item, "_fixtureinfo", None)
    for definition in reversed(info.name2fixturedefs.get("train", ()) if info else ()):
        if is_ours(definition):
            return True
        if "train" not in definition.argnames:
            return False
    return False


def function_of(item: pytest.Item) -> str:
    """Return the name of an item's test function."""
    return getattr(item, "originalname", None) or item.name


def case_of(item: pytest.Item) -> Case | None:
    """Return the case that an item is parametrized with, under whatever name, if it is."""
    callspec = getattr(item, "callspec", None)
    cases = [v for v in callspec.params.values() if isinstance(v, Case)] if callspec else []
    return cases[0] if cases else None


# what was collected


def defined_elsewhere(
    functions: Iterable[str], session: Session, config: pytest.Config
) -> set[str]:
    """Return those test functions that may stand where no test was collected from: in another
    file of the project, or another class.

    What would take long to find out, as below a home, may stand anywhere.
    """
    wanted, found = {*functions}, set[str]()
    for file in uncollected(session, config) if wanted else ():
        if file is None:
            return wanted
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        found |= {name for name in wanted if re.search(rf"\bdef\s+{re.escape(name)}\b", text)}
    return found


def uncollected(session: Session, config: pytest.Config) -> Iterator[Path | None]:
    """Yield the test files that nothing, or not every class, was collected from; None where
    there are too many folders to know them."""
    yield from {config.rootpath / id.partition("::")[0] for id in session.classes}
    patterns, pruned = patterns_of_tests(config)
    for number, (place, folders, names) in enumerate(os.walk(config.rootpath)):
        if number == MOST_FOLDERS:
            yield None
            return
        folders[:] = [f for f in folders if is_entered(Path(place, f), pruned)]
        for name in names:
            wanted = any(fnmatch(name, pattern) for pattern in patterns)
            if wanted and Path(place, name) not in session.files:
                yield Path(place, name)


def is_entered(folder: Path, pruned: Iterable[str]) -> bool:
    """Return whether pytest looks for tests in a folder; it does in no virtual environment."""
    named = any(fnmatch(folder.name, pattern) for pattern in pruned)
    return not named and not (folder / "pyvenv.cfg").exists()
