"""Workers of pytest-xdist that are forked, and so have torch loaded: an import takes seconds.

They are processes of their own all the same, and can be killed. A worker that is started as
pytest-xdist does it imports all anew; `test_plugin.py` has one test of those.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Any, NoReturn

import pytest
from execnet import gateway_io
from execnet.gateway_base import Popen2IO

FIRST_OPEN, LAST_OPEN = 3, 4096
"""File descriptors that a program started anew would not have."""


class ForkedIO(Popen2IO):
    """The pipes to a forked worker, in the place of those to a program."""

    def __init__(self, pid: int, to_worker: int, from_worker: int, execmodel: Any) -> None:
        self.pid = pid
        super().__init__(os.fdopen(to_worker, "wb"), os.fdopen(from_worker, "rb"), execmodel)

    def wait(self) -> int | None:
        """Wait for its end."""
        with suppress(ChildProcessError):
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return None

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def fork_workers(patch: pytest.MonkeyPatch) -> None:
    """Have execnet fork instead of starting a program."""
    patch.setattr(gateway_io, "create_io", forked)


def forked(spec: Any, execmodel: Any) -> ForkedIO:
    """Fork a worker; it does what the program that execnet would start does."""
    assert spec.popen
    its_input, to_worker = os.pipe()
    from_worker, its_output = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        be_worker(its_input, its_output)
    os.close(its_input)
    os.close(its_output)
    return ForkedIO(pid, to_worker, from_worker, execmodel)


def be_worker(its_input: int, its_output: int) -> NoReturn:
    """Serve a gateway on these pipes until it is closed."""
    try:
        os.dup2(its_input, 0)
        os.dup2(its_output, 1)
        os.closerange(FIRST_OPEN, LAST_OPEN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: PTH123, SIM115
        sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: PTH123, SIM115
        sys.stderr = sys.__stderr__ = open(2, "w", closefd=False)  # noqa: PTH123, SIM115
        exec(eval(sys.stdin.readline()), {"__name__": "__main__"})
    finally:
        os._exit(0)
