"""Hooks of pytest-xdist: what workers are told, who runs what, how far they are, and what
their deaths cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from pytest_amlnn import planning, plans, store
from pytest_amlnn.errors import UserError
from pytest_amlnn.session import end_like_an_interrupt, session_of

RERUNS = 2
"""Times that a case is run again whose worker died."""


# in a worker


def begin(session: pytest.Session) -> None:
    """Begin the sweep, or end this worker and tell the controller why none can be begun."""
    try:
        planning.begin(session)
    except pytest.UsageError as error:
        session.config.workeroutput["amlnn_refusal"] = str(error)  # type: ignore[attr-defined]
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


# in the controller


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker the options, and whether its sweep is planned."""
    session = session_of(node.config)
    node.workerinput["amlnn_options"] = session.options.to_plain()
    node.workerinput["amlnn_token"] = session.token
    node.workerinput["amlnn_planned"] = session.crashes is not None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Note that a worker ended; end pytest where it could not begin the sweep."""
    session = session_of(node.config)
    if session.watch is not None:
        session.watch.overview.gone.add(node.gateway.id)
    session.refusal = getattr(node, "workeroutput", {}).get("amlnn_refusal") or session.refusal
    if session.refusal:
        node.config.pluginmanager.getplugin("dsession").shouldstop = "no sweep was begun"


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, Any, Any]:
    """Say why no sweep was begun, as a process without workers does; show workers no longer."""
    mine = session_of(session.config)
    try:
        return (yield)
    except KeyboardInterrupt as error:  # pytest-xdist's Interrupted is one
        if mine.refusal:
            raise pytest.UsageError(mine.refusal) from error
        raise
    finally:
        if mine.watch is not None:
            mine.watch.end()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: Sequence[str]) -> None:
    """Do in the controller, which collects nothing itself, what collection asks for."""
    config, session = node.config, session_of(node.config)
    plan = own_plan(config)
    if session.crashes is not None or plan is None:
        return
    session.crashes = Counter()
    session.planned = {case["id"]: tuple(case["seeds"]) for case in plan["cases"]}
    end_like_an_interrupt(config)
    planning.announce(config)
    show_workers(config, ids)
    # once more when they are gone: those that are cut off leave heartbeats to the last
    config.add_cleanup(partial(store.tidy, session.options.out))
    distributed = config.pluginmanager.getplugin("dsession")
    if config.option.maxworkerrestart is None and distributed._max_worker_restart is not None:
        # as many as the cases may cost; xdist's own limit would end the sweep before that
        distributed._max_worker_restart += len(plan["cases"]) * (RERUNS + 1)


def show_workers(config: pytest.Config, ids: Sequence[str]) -> None:
    """Show how far the workers are, where pytest itself shows anything."""
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal is not None:
        from pytest_amlnn.watch import watch  # not before something is trained

        session = session_of(config)
        session.watch = watch(session, ids, terminal)


def own_plan(config: pytest.Config) -> dict[str, Any] | None:
    """Return the plan that a worker wrote; None where nothing trains."""
    session = session_of(config)
    with suppress(OSError, store.StoreError):  # what lies there is somebody else's
        if (session.options.out / plans.PLAN).exists():
            plan = plans.load(session.options.out)
            return plan if plan.get("sweep") == session.token else None
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Learn of a sweep that was begun only as a test ran, so that it is reported, too."""
    mine, plan = session_of(session.config), own_plan(session.config)
    if plan is not None and not mine.planned:
        mine.planned = {case["id"]: tuple(case["seeds"]) for case in plan["cases"]}


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config) -> Generator[None, Any, Any]:
    """Start the costliest trainings first, unless a project has a scheduler of its own."""
    from pytest_amlnn.schedule import costliest_first

    return costliest_first((yield), partial(own_plan, config))


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: Any, sched: Any) -> None:
    """Run a case again whose worker died, some times; then record it as crashed."""
    session = session_of(report.node.config)
    out = session.options.out
    planned = plans.load(out)["cases"] if session.crashes is not None else []
    node = store.as_stored(crashitem)
    ids = [case["id"] for case in planned if case["nodeid"] == node]  # a base's may be its own
    if not ids or session.crashes is None:
        return
    session.crashes[crashitem] += 1
    if session.crashes[crashitem] <= RERUNS:
        with suppress(NotImplementedError):  # schedulers that keep items together do it anyway
            sched.mark_test_pending(crashitem)
        report.outcome = "rerun"
        return
    times = f"its process died {session.crashes[crashitem]} times"
    report.longrepr = f"{crashitem}: {times}, without a word: killed, or out of memory?"
    try:
        for id in ids:
            store.give_up(out, id, times)
    except UserError as error:
        session.trouble = str(error)


def pytest_report_teststatus(
    report: Any, config: pytest.Config
) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Show that a case is run again."""
    mine = report.outcome == "rerun" and session_of(config).crashes is not None
    return ("rerun", "R", ("RERUN", {"yellow": True})) if mine else None
