"""What the plugin knows while pytest runs, and the signals that end it."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_amlnn.command_line import workerinput
from pytest_amlnn.options import Options
from pytest_amlnn.time_left import Pace

if TYPE_CHECKING:
    from pytest_amlnn.gates.gate import Gate
    from pytest_amlnn.watch import Watch

TERMINATED = 128 + signal.SIGTERM
"""Exit status."""


@dataclass(kw_only=True)
class Session:
    """One pytest run, or one worker's part of it."""

    options: Options
    token: str
    """Tells this sweep from others, in all of its processes."""
    gate: Gate | None = None
    """What results are held against; known once benchmarks are about to run."""
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By test function, the case of each id that it has in this profile, whether it was
    selected or not; None where only the test's body knows the case."""
    files: set[Path] = field(default_factory=set)
    """Those that tests were collected from."""
    classes: set[str] = field(default_factory=set)
    """Node ids of those in these files that no test was collected from."""
    nodes: dict[str, list[str]] = field(default_factory=dict)
    """By case key, the items that bear it; a run directory can hold only one."""
    planned: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """By case id, the seeds that stand in the plan; empty as long as none was written."""
    refusal: str = ""
    """Why no sweep was begun, as a worker said."""
    trouble: str = ""
    """Why there is no report."""
    warning: str = ""
    """What went wrong besides, of which nothing depends."""
    passed: set[str] = field(default_factory=set)
    """Cases whose items asked the gate and are green."""
    signals: list[int] | None = None
    """Those that ended pytest; a list once handlers are set."""
    crashes: Counter[str] | None = None
    """By node id, how many workers died with it; counted once a parallel sweep is planned."""
    ended: set[str] = field(default_factory=set)
    """Node ids of the items of a sweep that are over, whichever process they ran in."""
    pace: Pace = field(default_factory=Pace)
    """Of the runs that ended in this process."""
    watch: Watch | None = None
    """What shows how far workers are, while they train."""
    sweep: Any = None
    """What was reported, a `report.Sweep`; None where nothing was."""


class Reported:
    """Takes note of what the items' own gates said, whichever process they ran in."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep which items are over, and the verdict of one that passed."""
        if report.when == "teardown" and self.session.planned:
            self.session.ended.add(report.nodeid)
        said = dict(report.user_properties)
        if report.when == "call" and report.passed and CASE in said:
            self.session.passed.add(str(said[CASE]))


VERDICT, CASE = "amlnn_verdict", "amlnn_case"
"""Properties of an item: what its gate said, and of which case."""
KEY = pytest.StashKey[Session]()


def session_of(config: pytest.Config) -> Session:
    """Return what is known of this pytest run; there once it is configured."""
    return config.stash[KEY]


# signals


def end_like_an_interrupt(config: pytest.Config) -> None:
    """Have SIGTERM end pytest as Ctrl-C does, with a report, but with its own exit status."""
    session = session_of(config)
    if workerinput(config) or session.signals is not None:
        return
    if threading.current_thread() is not threading.main_thread():
        return  # Python lets no other thread set handlers
    session.signals = []
    handler = partial(interrupt, session)
    restore = partial(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, handler))
    config.add_cleanup(restore)  # type: ignore[arg-type]


def interrupt(session: Session, number: int, _: object) -> None:
    """Interrupt pytest; a second signal is ignored, since the report is on its way."""
    signal.signal(number, signal.SIG_IGN)
    assert session.signals is not None  # the handler is set with it
    session.signals.append(number)
    raise KeyboardInterrupt


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore signals while a report is written, as far as Python allows."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
