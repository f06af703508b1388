"""Show how far a run is: a live line on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from time import perf_counter
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pytest_amlnn.result import Epoch

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_FRAMES = 0.2

Uncaptured = Callable[[], AbstractContextManager[None]]
"""Opens a context in which output reaches the user although pytest captures it."""


class Progress(Protocol):
    """What training tells while it is under way, and of which seeds."""

    def step(
        self, seeds: Sequence[int], epoch: int, step: int, steps: int, examples: int
    ) -> None:
        """Take note of a step; `examples` were trained on in this epoch so far."""

    def epoch(self, seed: int, epochs: Sequence[Epoch]) -> None:
        """Take note of the finished epochs of one run."""

    def note(self, text: str) -> None:
        """Say something out of the ordinary."""


@dataclass
class Tally:
    """What is known of the runs under way, as one line of text."""

    id: str
    """Of the case."""
    epochs: int
    """The budget."""
    seeds: Sequence[int] = ()
    """Those that are trained at once just now."""
    shares: Collection[str] = ()
    """Scores that are shown in per cent."""
    started: float = field(default_factory=perf_counter)
    epoch_started: float = field(default_factory=perf_counter)
    share: float = 0.0
    """Of the budget, from 0 to 1."""
    resumed: float | None = None
    """Share of the budget that an earlier attempt had used up."""
    speed: float = 0.0
    """Examples a second in this epoch, validation left out."""
    number: int = 1
    last: dict[int, Epoch] = field(default_factory=dict)
    """Of each seed, its last epoch."""

    @property
    def title(self) -> str:
        """Case and seeds."""
        plural = "seeds" if len(self.seeds) > 1 else "seed"
        return f"{self.id} {plural} {', '.join(map(str, self.seeds))}"

    def step(
        self, seeds: Sequence[int], epoch: int, step: int, steps: int, examples: int
    ) -> None:
        """Take note of a step."""
        self.seeds, self.number = seeds, epoch
        if self.resumed is None:
            self.resumed = (epoch - 1) / self.epochs
        self.share = (epoch - 1 + step / steps) / self.epochs
        self.speed = examples / max(perf_counter() - self.epoch_started, 1e-9)

    def epoch(self, seed: int, epochs: Sequence[Epoch]) -> None:
        """Take note of a finished epoch; the next one starts now."""
        self.last[seed] = epochs[-1]
        self.epoch_started = perf_counter()

    def line(self) -> str:
        """Return epoch, losses, scores, speed and the time left if the budget is used up."""
        parts = [self.title, f"epoch {self.number}/{self.epochs}"]
        last = [self.last[seed] for seed in self.seeds if seed in self.last]
        if last:
            trained = " ".join(f"{epoch.train['loss']:.4g}" for epoch in last)
            validated = " ".join(f"{epoch.validation['loss']:.4g}" for epoch in last)
            parts.append(f"loss {trained}, validation {validated}")
            names = [name for name in last[0].validation if name != "loss"]
            for name in names:
                values = " ".join(
                    score_text(epoch.validation[name], share=name in self.shares)
                    for epoch in last
                )
                parts.append(f"{name} {values}")
        done = self.share - (self.resumed or 0.0)
        left = (perf_counter() - self.started) * (1 - self.share) / max(done, 1e-9)
        parts.append(f"{self.speed:,.0f}/s")
        return ", ".join([*parts, f"{int(left) // 60}:{int(left) % 60:02} left"])


def score_text(score: float, *, share: bool) -> str:
    """Return a score as text, a share in per cent."""
    return f"{score:.1%}" if share else f"{score:.4g}"


class Lines:
    """Write a plain line after an epoch, unless the last line is only seconds old."""

    def __init__(self, tally: Tally, write: Callable[[str], None]) -> None:
        self.tally, self.write = tally, write
        self.written = perf_counter()

    def __enter__(self) -> Self:
        return self

    def step(
        self, seeds: Sequence[int], epoch: int, step: int, steps: int, examples: int
    ) -> None:
        """Take note of a step."""
        self.tally.step(seeds, epoch, step, steps, examples)

    def epoch(self, seed: int, epochs: Sequence[Epoch]) -> None:
        """Write a line if one is due, after the epoch of the last of the seeds."""
        self.tally.epoch(seed, epochs)
        if (
            seed == self.tally.seeds[-1]
            and perf_counter() - self.written >= SECONDS_BETWEEN_LINES
        ):
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
    """Show nothing but notes: a worker of pytest-xdist has no terminal."""

    def __init__(self, write: Callable[[str], None] | None = None, title: str = "") -> None:
        self.write, self.title = write, title

    def __enter__(self) -> Self:
        return self

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
    uncaptured = capture.global_and_fixture_disabled if capture else nullcontext

    def write_error(line: str) -> None:
        with uncaptured():
            print(line, file=sys.stderr, flush=True)

    if terminal is None:
        return Silent(write_error, tally.title)

    def write(line: str) -> None:
        with uncaptured():
            terminal.write_line(line)

    if not terminal.isatty:
        return Lines(tally, write)
    with uncaptured():
        terminal.ensure_newline()  # the frame's line is its own, and wiped in the end
    return Frames(tally, uncaptured)
