"""How a process computes while it trains."""

from __future__ import annotations

import platform
import resource
from pathlib import Path

import pytest
import torch
from small_cases import CPU

from pytest_amlnn import device
from pytest_amlnn.device import deterministic

LARGE = 64 * 2**20
"""Bytes: twice what glibc ever takes from its own heap by itself."""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc")


def fewest_faults() -> int:
    """Return how many pages the kernel provides for a large tensor, where it goes best."""

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.empty(LARGE, dtype=torch.uint8).fill_(1)  # 33 faults of huge pages, or 16,384
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    return min(faults() for _ in range(20))


def resident() -> int:
    """Return the bytes that this process has in memory."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


@glibc
def test_freed_memory_serves_the_next_step():
    """While a net trains, a large tensor takes the place of the one freed before it."""
    with deterministic(CPU, 1):
        assert fewest_faults() < 16


@glibc
def test_memory_is_given_back():
    """After a training the process is no larger than before."""
    fewest_faults()
    before = resident()
    with deterministic(CPU, 1):
        kept = [torch.ones(LARGE // 4) for _ in range(4)]
        del kept
    assert resident() < before + LARGE


def test_high_water_mark_that_may_not_be_reset_is_left(monkeypatch):
    """Where /proc cannot be written to, as in some containers, memory is measured as it is."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "write_text", refuse)
    device.reset_peak_memory(CPU)

    assert device.peak_memory(CPU) is None or device.peak_memory(CPU) > 0
