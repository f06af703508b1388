"""Sweeps in processes of their own, to be killed at will."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

TESTS = Path(__file__).parent
ENDURANCE = bool(os.environ.get("AMLNN_ENDURANCE"))

BENCHMARKS = '''
import pytest
from small_cases import pictures_net, small_case, squares

CASES = [
    small_case("one", build=pictures_net, epochs=8, optimizer="adamw", learning_rate=0.01),
    small_case("two", build=pictures_net, epochs=6, optimizer="sgd", batch_size=16),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_small(case, train, gate):
    """Training ends within the limits."""
    verdict = gate(train(case, squares()))

    assert verdict.passed, verdict.message
'''


PRINTER = "cat"
"""The program that a sweep's output takes its way through, in the sweep's process group."""
QUICKLY = ("--assert=plain", "-p", "no:cacheprovider", "-p", "no:anyio")
"""Spare pytest what these tests do not need: half of its start."""


def rounds(few: int, many: int, *, quick: int = 1) -> list[Any]:
    """Return the numbers of a test's rounds: few in the suite, many in `tox -e endurance`.

    All but the first `quick` ones are slow.
    """
    marks = [pytest.mark.endurance]
    return [
        pytest.param(number, marks=[*marks, pytest.mark.slow] if number >= quick else marks)
        for number in range(many if ENDURANCE else few)
    ]


def environment() -> dict[str, str]:
    """Return the environment of processes that tests start: no worker's of pytest-xdist.

    What they compile is kept: pytest rewrites whole libraries that are its plugins.
    """
    plain = {name: value for name, value in os.environ.items() if "XDIST" not in name}
    plain.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**plain, "PYTHONPATH": str(TESTS)}


class Zygote:
    """Starts sweeps by forking from a process that has torch loaded."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, TESTS / "zygote.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )

        assert self.answer() == "ready"

    def ask(self, request: dict[str, Any]) -> int:
        """Send a request, and return the answer."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer: int = self.answer()
        return answer

    def answer(self) -> Any:
        """Return what it says next."""
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def pytest(self, *arguments: str, folder: Path, output: Path) -> tuple[int, str]:
        """Run pytest in a folder to its end; return exit status and output."""
        request = {"arguments": arguments, "folder": str(folder), "output": str(output)}
        status = self.ask({"wait": self.ask(request)})
        return status, output.read_text()

    def close(self) -> None:
        """End it; what it forked goes on."""
        self.process.communicate()


@dataclass
class Sweep:
    """One pytest in a process group of its own."""

    zygote: Zygote
    pid: int
    output: Path

    def wait(self) -> int:
        """Return the exit status, negative for a signal's number."""
        return self.zygote.ask({"wait": self.pid})

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to this process alone."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def text(self) -> str:
        """Return what it printed so far."""
        return self.output.read_text()


@dataclass
class Repository:
    """A folder with benchmarks, in which sweeps are started."""

    zygote: Zygote
    folder: Path
    started: int = 0

    def start(
        self,
        *arguments: str,
        full: tuple[float, int] | None = None,
        terminal: str = "",
        variables: dict[str, str] | None = None,
    ) -> Sweep:
        """Start pytest there, with `out` as its run directory unless another is named.

        `full` are seconds after which no file may grow beyond so many bytes. `terminal` is the
        path of one that the output goes to.
        """
        self.started += 1
        output = Path(terminal or self.folder / f"output-{self.started}.txt")
        output.touch()
        given = ["--amlnn-out=out", "--amlnn-device=cpu", *QUICKLY, *arguments]
        pid = self.zygote.ask(
            {
                "arguments": given,
                "folder": str(self.folder),
                "output": str(output),
                "full": full,
                "variables": variables,
            }
        )
        return Sweep(zygote=self.zygote, pid=pid, output=output)

    def run(self, *arguments: str, full: tuple[float, int] | None = None) -> tuple[int, str]:
        """Run pytest there to its end; return exit status and output."""
        sweep = self.start(*arguments, full=full)
        return sweep.wait(), sweep.text()

    def numbers(self, out: str = "out") -> dict[str, object]:
        """Return all that must not change from one sweep to another, bit for bit."""
        return numbers(self.folder / out)


def numbers(out: Path) -> dict[str, object]:
    """Return all of a run directory's runs that is neither time nor memory nor attempts."""
    found: dict[str, object] = {}
    for file in sorted(out.glob("runs/*/[0-9]*")):
        name = str(file.relative_to(out))
        if file.suffix == ".json":
            found[name] = lasting(json.loads(file.read_text()))
        else:
            found[name] = file.read_bytes()
    return found


PASSING = {
    *("parts", "seconds", "calibration_seconds", "environment"),
    *("attempts", "contended", "together"),
}


def lasting(plain: Any) -> Any:
    """Return plain data without what differs from one training to the next."""
    if isinstance(plain, dict):
        return {
            name: lasting(value)
            for name, value in plain.items()
            if name not in PASSING and "second" not in name and "memory" not in name
        }
    return [lasting(value) for value in plain] if isinstance(plain, list) else plain


def until(condition: Any, seconds: float = 30.0) -> None:
    """Wait for something that is about to happen."""
    limit = monotonic() + seconds
    while not condition():
        assert monotonic() < limit, "it did not happen"
        sleep(0.002)
