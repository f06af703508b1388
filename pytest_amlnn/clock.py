"""Where the seconds of a run went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

import torch

PARTS = ("prepare", "build", "compile", "train", "evaluate", "checkpoint")


@dataclass
class Spent:
    """A run's seconds, in all attempts."""

    parts: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    wall_seconds: float = 0.0
    """Those between the parts included."""

    def add(self, parts: Mapping[str, float]) -> None:
        """Count in the seconds of an earlier attempt."""
        for name, seconds in parts.items():
            self.parts[name] += seconds
            self.wall_seconds += seconds


class Clock:
    """Share out seconds among parts and runs, waiting for the device at both ends.

    What is done for several runs at once is counted for each in equal shares.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.counted = perf_counter()

    @contextmanager
    def part(self, name: str, *runs: Spent) -> Iterator[None]:
        """Add the seconds until the device has done all of this to one part of the runs."""
        self.wait()
        start = perf_counter()
        yield
        self.wait()
        end = perf_counter()
        for run in runs:
            run.parts[name] += (end - start) / len(runs)
            run.wall_seconds += (end - self.counted) / len(runs)
        self.counted = end

    def skip(self) -> None:
        """Count nothing of what was done since the last part."""
        self.counted = perf_counter()

    def wait(self) -> None:
        """Return when the device has nothing left to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()
