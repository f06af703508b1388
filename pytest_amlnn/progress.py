"""Show how far a run is: a live line on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from time import perf_counter
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pytest_amlnn.result import Epoch

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_FRAMES = 0.2

Uncaptured = Callable[[], AbstractContextManager[None]]
"""Opens a context in which output reaches the user although pytest captures it."""


class Progress(Protocol):
    """What training tells while it is under way."""

    def step(self, epoch: int, step: int, steps: int, examples: int) -> None:
        """Take note of a step; `examples` were trained on in this epoch so far."""

    def epoch(self, number: int, epoch: Epoch) -> None:
        """Take note of a finished epoch."""

    def note(self, text: str) -> None:
        """Say something out of the ordinary."""


@dataclass
class Tally:
    """What is known of a run under way, as one line of text."""

    title: str
    epochs: int
    """The budget."""
    started: float = field(default_factory=perf_counter)
    epoch_started: float = field(default_factory=perf_counter)
    share: float = 0.0
    """Of the budget, from 0 to 1."""
    resumed: float | None = None
    """Share of the budget that an earlier attempt had used up."""
    speed: float = 0.0
    """Examples a second in this epoch, validation left out."""
    number: int = 1
    last: Epoch | None = None

    def step(self, epoch: int, step: int, steps: int, examples: int) -> None:
        """Take note of a step."""
        self.number = epoch
        if self.resumed is None:
            self.resumed = (epoch - 1) / self.epochs
        self.share = (epoch - 1 + step / steps) / self.epochs
        self.speed = examples / max(perf_counter() - self.epoch_started, 1e-9)

    def epoch(self, epoch: Epoch) -> None:
        """Take note of a finished epoch; the next one starts now."""
        self.last = epoch
        self.epoch_started = perf_counter()

    def line(self) -> str:
        """Return epoch, loss, accuracy, speed and the time left if the budget is used up."""
        parts = [self.title, f"epoch {self.number}/{self.epochs}"]
        if self.last is not None:
            parts.append(
                f"loss {self.last.train_loss:.4g}, validation {self.last.val_loss:.4g}"
            )
            if self.last.val_accuracy is not None:
                parts.append(f"accuracy {self.last.val_accuracy:.1%}")
        done = self.share - (self.resumed or 0.0)
        left = (perf_counter() - self.started) * (1 - self.share) / max(done, 1e-9)
        parts.append(f"{self.speed:,.0f}/s")
        return ", ".join([*parts, f"{int(left) // 60}:{int(left) % 60:02} left"])


class Lines:
    """Write a plain line after an epoch, unless the last line is only seconds old."""

    def __init__(self, tally: Tally, write: Callable[[str], None]) -> None:
        self.tally, self.write = tally, write
        self.written = perf_counter()

    def __enter__(self) -> Self:
        return self

    def step(self, epoch: int, step: int, steps: int, examples: int) -> None:
        """Take note of a step."""
        self.tally.step(epoch, step, steps, examples)

    def epoch(self, number: int, epoch: Epoch) -> None:
        """Write a line if one is due."""
        self.tally.epoch(epoch)
        if perf_counter() - self.written >= SECONDS_BETWEEN_LINES:
            self.write(self.tally.line())
            self.written = perf_counter()

    def note(self, text: str) -> None:
        """Write a line."""
        self.write(f"{self.tally.title}: {text}")

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

    def step(self, epoch: int, step: int, steps: int, examples: int) -> None:
        """Draw the line anew if it is due."""
        self.tally.step(epoch, step, steps, examples)
        self.draw()

    def epoch(self, number: int, epoch: Epoch) -> None:
        """Draw the line anew if it is due, with the epoch's loss."""
        self.tally.epoch(epoch)
        self.draw()

    def note(self, text: str) -> None:
        """Put a line above the live one."""
        with self.uncaptured():
            self.live.console.print(f"{self.tally.title}: {text}", markup=False)

    def draw(self) -> None:
        """Put the line on the terminal, unless the last one is too young to be read."""
        if perf_counter() - self.drawn < SECONDS_BETWEEN_FRAMES:
            return
        with self.uncaptured():
            self.live.update(Text(self.tally.line(), overflow="ellipsis", no_wrap=True))
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
    """Show nothing: a worker of pytest-xdist has no terminal."""

    def __enter__(self) -> Self:
        return self

    def step(self, epoch: int, step: int, steps: int, examples: int) -> None:
        """Show nothing."""

    def epoch(self, number: int, epoch: Epoch) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def __exit__(self, *_: object) -> None:
        return None
