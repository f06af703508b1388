"""Hooks of pytest-xdist: what workers are told, who runs what, and what their deaths cost."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from pytest_amlnn import disk, plans, store
from pytest_amlnn.session import end_like_an_interrupt, session_of

RERUNS = 2
"""Times that a case is run again whose worker died."""


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker where this sweep is stored, and whether it is planned."""
    session = session_of(node.config)
    node.workerinput["amlnn_out"] = str(session.options.out)
    node.workerinput["amlnn_planned"] = session.crashes is not None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any) -> None:
    """Do in the controller, which collects nothing itself, what collection asks for."""
    config, session = node.config, session_of(node.config)
    out = session.options.out
    if session.crashes is not None or not (out / plans.PLAN).exists():
        return
    session.crashes = Counter()
    end_like_an_interrupt(config)
    distributed = config.pluginmanager.getplugin("dsession")
    if config.option.maxworkerrestart is None and distributed._max_worker_restart is not None:
        # as many as the cases may cost; xdist's own limit would end the sweep before that
        cases = len(plans.load(out)["cases"])
        distributed._max_worker_restart += cases * (RERUNS + 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Start the costliest trainings first."""
    from pytest_amlnn.schedule import scheduler_for

    return scheduler_for(config, log, session_of(config).options.out)


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: Any, sched: Any) -> None:
    """Run a case again whose worker died, some times; then record it as crashed."""
    session = session_of(report.node.config)
    out = session.options.out
    planned = plans.load(out)["cases"] if session.crashes is not None else []
    ids = {case["nodeid"]: case["id"] for case in planned}
    id = ids.get(store.as_stored(crashitem))
    if id is None or session.crashes is None:
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
        store.give_up(out, id, times)
    except (store.StoreError, disk.DiskError) as error:
        session.trouble = str(error)


def pytest_report_teststatus(
    report: Any,
) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Show that a case is run again."""
    return ("rerun", "R", ("RERUN", {"yellow": True})) if report.outcome == "rerun" else None
