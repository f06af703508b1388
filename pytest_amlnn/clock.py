"""Where the seconds of a run went, and the clock that pytest-benchmark reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

import torch

PARTS = ("prepare", "build", "compile", "train", "evaluate", "checkpoint")


class Stopwatch:
    """Share out a run's seconds among its parts, waiting for the device at both ends."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.parts = dict.fromkeys(PARTS, 0.0)
        self.earlier = 0.0
        self.started = perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the seconds until the device has done all of this to one part."""
        self.wait()
        start = perf_counter()
        yield
        self.wait()
        self.parts[name] += perf_counter() - start

    def wait(self) -> None:
        """Return when the device has nothing left to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def add(self, parts: Mapping[str, float]) -> None:
        """Count in the seconds of an earlier attempt."""
        for name, seconds in parts.items():
            self.parts[name] += seconds
            self.earlier += seconds

    @property
    def wall_seconds(self) -> float:
        """Seconds since the watch was made, and those of earlier attempts."""
        return self.earlier + perf_counter() - self.started
