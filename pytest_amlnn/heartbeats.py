"""Small files in the run directory that say how far each worker of pytest-xdist is.

A worker has no terminal; the process that has one reads them. Nothing depends on them: where
they cannot be written, nothing is shown, and they are not forced to the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter, time
from typing import Self

import msgspec

from pytest_amlnn.disk import DiskError, below, read, write
from pytest_amlnn.result import Epoch
from pytest_amlnn.store import HEARTBEATS, as_json
from pytest_amlnn.tally import Standing, Tally
from pytest_amlnn.time_left import Pace

SECONDS_BETWEEN_BEATS = 1.0
LARGEST = 100_000
"""In bytes."""


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """What a worker says of itself."""

    worker: str
    written: float
    """Seconds since 1970."""
    standing: Standing | None
    """Of the runs under way; None where there are none just now."""
    ended: Pace = field(default_factory=Pace)
    """Of the runs that ended in this worker."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a worker leaves its heartbeats."""

    out: Path
    worker: str
    sweep: str
    """Tells its files from those of another sweep in this run directory."""

    @property
    def file(self) -> Path:
        """The worker's file; DiskError where a link leads there."""
        return below(self.out, HEARTBEATS) / f"{self.worker}-{self.sweep}.json"

    def write(self, standing: Standing | None, ended: Pace) -> None:
        """Leave a heartbeat, if the disk takes it."""
        beat = Heartbeat(worker=self.worker, written=time(), standing=standing, ended=ended)
        with suppress(DiskError, ValueError):
            write(self.file, as_json(asdict(beat)).encode(), lasting=False)


def read_heartbeats(out: Path, sweep: str) -> list[Heartbeat]:
    """Return the last heartbeat of each worker of a sweep, as far as they can be read."""
    found = []
    with suppress(OSError, DiskError):
        for file in sorted(below(out, HEARTBEATS).glob(f"*-{sweep}.json")):
            with suppress(OSError, DiskError, msgspec.MsgspecError):
                found.append(msgspec.json.decode(read(file, LARGEST), type=Heartbeat))
    return found


class Beats:
    """Leave a heartbeat now and then while runs are trained, and write notes as lines."""

    def __init__(
        self,
        tally: Tally,
        place: Place,
        ended: Callable[[], Pace],
        write: Callable[[str], None],
    ) -> None:
        self.tally, self.place, self.ended, self.write = tally, place, ended, write
        self.left = 0.0

    def __enter__(self) -> Self:
        self.tally.note("waiting for its turn")
        self.beat()
        return self

    def begin(self) -> None:
        """Say that data and nets are prepared."""
        self.tally.begin()
        self.beat()

    def prepare(self, text: str) -> None:
        """Say how far the data are prepared, if it is due."""
        self.tally.stage = text
        self.beat_if_due()

    def step(
        self, seeds: Sequence[int], epoch: int, step: int, steps: int, examples: int
    ) -> None:
        """Say how far the runs are, if it is due."""
        self.tally.step(seeds, epoch, step, steps, examples)
        self.beat_if_due()

    def epoch(self, seed: int, epochs: Sequence[Epoch]) -> None:
        """Say what the epoch of all seeds ended with, if it is due."""
        self.tally.epoch(seed, epochs)
        if seed == self.tally.seeds[-1]:
            self.beat_if_due()

    def note(self, text: str) -> None:
        """Say what the runs wait for, and write it down for the user, too."""
        self.tally.note(text)
        self.write(self.tally.line())
        self.beat()

    def beat_if_due(self) -> None:
        """Leave a heartbeat, unless the last one is young."""
        if perf_counter() - self.left >= SECONDS_BETWEEN_BEATS:
            self.beat()

    def beat(self) -> None:
        """Leave a heartbeat."""
        self.place.write(self.tally.standing, self.ended())
        self.left = perf_counter()

    def __exit__(self, *_: object) -> None:
        """Say that no runs are under way."""
        self.place.write(None, self.ended())
