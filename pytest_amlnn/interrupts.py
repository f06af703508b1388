"""Signals: SIGTERM ends pytest as Ctrl-C does, and none cuts a report."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from pytest_amlnn.options import workerinput
from pytest_amlnn.session import Session, session_of

TERMINATED = 128 + signal.SIGTERM
"""Exit status."""


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
