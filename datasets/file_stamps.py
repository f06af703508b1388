"""Whether a file was changed, as the file system tells."""

from __future__ import annotations

import os
import time

TICK, COARSE_TICK = 0.02, 2.0
"""Seconds within which two writes may get the same time: on most file systems, and on those
that count whole seconds."""


def stamp(status: os.stat_result) -> str:
    """Return what the system changes whenever a file is written or replaced."""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def await_next_tick(changed_ns: int) -> None:
    """Wait until whatever is written from now on gets a later time than this one."""
    tick = TICK if changed_ns % 1_000_000_000 else COARSE_TICK
    age = time.time() - changed_ns / 1e9
    if 0 <= age < tick:
        time.sleep(tick - age)
