"""Show how far a run is: a live line on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import perf_counter
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pytest_amlnn.escapes import for_terminal
from pytest_amlnn.preparing import SECONDS_BEFORE_WORD
from pytest_amlnn.result import Epoch
from pytest_amlnn.tally import Tally

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_FRAMES = 0.2
ERASE_BELOW = "\x1b[J"
"""Has a terminal wipe what stands after the cursor, and below."""

Uncaptured = Callable[[], AbstractContextManager[None]]
"""Opens a context in which output reaches the user although pytest captures it."""


class Progress(Protocol):
    """What training tells while it is under way, and of which seeds."""

    def begin(self) -> None:
        """Take note that the runs have what they are trained on: cores, or a GPU."""

    def prepare(self, text: str) -> None:
        """Take note of how far the data are prepared."""

    def step(
        self, seeds: Sequence[int], epoch: int, step: int, steps: int, examples: int
    ) -> None:
        """Take note of a step; `examples` were trained on in this epoch so far."""

    def epoch(self, seed: int, epochs: Sequence[Epoch]) -> None:
        """Take note of the finished epochs of one run."""

    def note(self, text: str) -> None:
        """Say something out of the ordinary, such as what the runs wait for."""


class Lines:
    """Write a plain line after an epoch, unless the last line is only seconds old."""

    def __init__(self, tally: Tally, write: Callable[[str], None]) -> None:
        self.tally, self.write = tally, write
        self.written = perf_counter()

    def __enter__(self) -> Self:
        return self

    def begin(self) -> None:
        """Take note of it."""
        self.tally.begin()

    def prepare(self, text: str) -> None:
        """Write a line if one is due."""
        self.tally.stage = text
        self.write_if_due()

    def step(
        self, seeds: Sequence[int], epoch: int, step: int, steps: int, examples: int
    ) -> None:
        """Take note of a step."""
        self.tally.step(seeds, epoch, step, steps, examples)

    def epoch(self, seed: int, epochs: Sequence[Epoch]) -> None:
        """Write a line if one is due, after the epoch of the last of the seeds."""
        self.tally.epoch(seed, epochs)
        if seed == self.tally.seeds[-1]:
            self.write_if_due()

    def write_if_due(self) -> None:
        """Write how far the runs are, unless the last line is only seconds old."""
        if perf_counter() - self.written >= SECONDS_BETWEEN_LINES:
            self.write(self.tally.line())
            self.written = perf_counter()

    def note(self, text: str) -> None:
        """Write a line."""
        self.tally.note(text)
        self.write(self.tally.line())

    def __exit__(self, *_: object) -> None:
        return None


class Frames:
    """Keep one line on the terminal up to date, and wipe it when the run is over."""

    def __init__(self, tally: Tally, uncaptured: Uncaptured) -> None:
        self.tally, self.uncaptured = tally, uncaptured
        self.drawn = 0.0

    def __enter__(self) -> Self:
        with self.uncaptured():
            self.live = Live(
                console=Console(),
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self.live.start()
        return self

    def begin(self) -> None:
        """Take note of it."""
        self.tally.begin()

    def prepare(self, text: str) -> None:
        """Draw the line anew if it is due, with what is prepared."""
        self.tally.stage = text
        self.draw()

    def step(
        self, seeds: Sequence[int], epoch: int, step: int, steps: int, examples: int
    ) -> None:
        """Draw the line anew if it is due."""
        self.tally.step(seeds, epoch, step, steps, examples)
        self.draw()

    def epoch(self, seed: int, epochs: Sequence[Epoch]) -> None:
        """Draw the line anew if it is due, with the epoch's loss."""
        self.tally.epoch(seed, epochs)
        self.draw()

    def note(self, text: str) -> None:
        """Put a line above the live one."""
        self.tally.note(text)
        with self.uncaptured():
            self.live.console.print(self.tally.line(), markup=False)

    def draw(self) -> None:
        """Put the line on the terminal, unless the last one is too young to be read."""
        if perf_counter() - self.drawn < SECONDS_BETWEEN_FRAMES:
            return
        with self.uncaptured():
            line = self.tally.line(width=self.live.console.width)
            self.live.update(Text(line, overflow="ellipsis", no_wrap=True))
            self.live.refresh()
        self.drawn = perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self.uncaptured():
            self.live.stop()


class Silent:
    """Show nothing but notes."""

    def __init__(self, write: Callable[[str], None] | None = None, title: str = "") -> None:
        self.write, self.title = write, title

    def __enter__(self) -> Self:
        return self

    def begin(self) -> None:
        """Show nothing."""

    def prepare(self, text: str) -> None:
        """Show nothing."""

    def step(
        self, seeds: Sequence[int], epoch: int, step: int, steps: int, examples: int
    ) -> None:
        """Show nothing."""

    def epoch(self, seed: int, epochs: Sequence[Epoch]) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Write a line."""
        if self.write is not None:
            self.write(f"{self.title}: {text}")

    def __exit__(self, *_: object) -> None:
        return None


def progress_on(terminal: Any, capture: Any, tally: Tally) -> Lines | Frames | Silent:
    """Return what shows runs under way: frames on a terminal, lines elsewhere.

    `terminal` is pytest's terminal reporter, None where nothing is to be shown but notes;
    `capture` is its capture manager, None where nothing is captured.
    """
    uncaptured = uncaptured_by(capture)
    if terminal is None:
        return Silent(errors_past(capture), tally.title)

    def write(line: str) -> None:
        with uncaptured():
            terminal.write_line(line)

    if not can_rewrite(terminal):
        return Lines(tally, write)
    with uncaptured():
        terminal.ensure_newline()  # the frame's line is its own, and wiped in the end
    return Frames(tally, uncaptured)


def uncaptured_by(capture: Any) -> Uncaptured:
    """Return what opens a context past pytest's capture manager, if there is one."""
    return capture.global_and_fixture_disabled if capture else nullcontext


def errors_past(capture: Any, *, footer: bool = False) -> Callable[[str], None]:
    """Return what writes a line to standard error that pytest does not capture.

    With `footer` another process may have lines below the cursor of this terminal.
    """

    def write(line: str) -> None:
        with uncaptured_by(capture)():
            wipe = footer and sys.stderr.isatty() and moves_cursor()
            print(f"{ERASE_BELOW}\n{line}" if wipe else line, file=sys.stderr, flush=True)

    return write


def can_rewrite(terminal: Any) -> bool:
    """Return whether pytest's terminal reporter writes where lines can be written anew."""
    return bool(terminal.isatty) and moves_cursor()


def moves_cursor() -> bool:
    """Return whether the terminal, if there is one, lets programs move its cursor."""
    return os.environ.get("TERM", "") not in ("dumb", "unknown")


@contextmanager
def rendering(cases: int, terminal: Any) -> Iterator[None]:
    """Say on pytest's terminal reporter that a report is rendered, once it takes seconds."""
    text = f"rendering the report of {cases} {'cases' if cases > 1 else 'case'}"
    timer = threading.Timer(SECONDS_BEFORE_WORD, write_between, [terminal, text])
    if terminal is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if timer.is_alive():
            timer.join()  # a line that is being written is whole before others follow


def write_between(terminal: Any, *lines: str) -> None:
    """Write lines now, none of which continues what pytest has begun."""
    writer = terminal._tw
    if lines and writer.width_of_current_line:
        writer.line()
    for line in lines:
        writer.line(for_terminal(line, getattr(writer._file, "encoding", None) or "utf-8"))
    writer.flush()
