"""Files that are read: no devices, pipes or planted links; and whether one was changed."""

from __future__ import annotations

import os
import stat
import time
from io import BufferedReader
from pathlib import Path

TICK, COARSE_TICK = 0.02, 2.0
"""Seconds within which two writes may get the same time: on most file systems, and on those
that count whole seconds."""


def open_regular(path: Path | str, *, follow: bool = True) -> BufferedReader:
    """Open a file to read it; raises OSError for what is none, and for a link if told so."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(path, flags | (0 if follow else getattr(os, "O_NOFOLLOW", 0)))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is no regular file")
    return os.fdopen(descriptor, "rb")


def stamp(status: os.stat_result) -> str:
    """Return what the system changes whenever a file is written or replaced."""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def await_next_tick(changed_ns: int) -> None:
    """Wait until whatever is written from now on gets a later time than this one."""
    tick = TICK if changed_ns % 1_000_000_000 else COARSE_TICK
    age = time.time() - changed_ns / 1e9
    if 0 <= age < tick:
        time.sleep(tick - age)
