"""How far the preparation of data is, told to whoever shows the runs that need them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

from pytest_amlnn.time_left import clock

SECONDS_BEFORE_WORD = 2.0
"""Of a preparation that nobody need be told of if it is over by then."""
SHOWING: list[Callable[[str], None]] = []
"""Those that show what they are told; the last one is told."""


@contextmanager
def told_to(show: Callable[[str], None]) -> Iterator[None]:
    """Have preparations told to this function as lines of text."""
    SHOWING.append(show)
    try:
        yield
    finally:
        SHOWING.remove(show)


def is_shown() -> bool:
    """Return whether anybody shows what is told."""
    return bool(SHOWING)


@contextmanager
def counted(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Tell how far a preparation is that takes long; yield what counts further units."""
    started, done = perf_counter(), 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        passed = perf_counter() - started
        if SHOWING and passed >= SECONDS_BEFORE_WORD:
            left = clock(passed * (total - done) / done)
            SHOWING[-1](f"preparing {what}: {done:,} of {total:,} {unit}, {left} left")

    yield advance
