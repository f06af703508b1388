"""The device of a run: choice, settings, clock, memory, and what the record says of it."""

from __future__ import annotations

import ctypes
import os
import platform
import random
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from numpy.random import mtrand

from pytest_amlnn.errors import UserError
from pytest_amlnn.settings import applied, record_of, refuse_changes, settings_of

PACKAGES = (
    "pytest-amlnn",
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pytest",
    "pytest-benchmark",
)
STATUS = Path("/proc/self/status")
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
TRIM_THRESHOLD, MMAP_MAX = 128 * 1024, 65_536
"""Numbers of glibc's settings, and what they are unless set: mallopt(3)."""


class DeviceError(UserError):
    """A device that is not here; the message says which and what there is."""


def resolve(name: str) -> torch.device:
    """Return the device for `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; DeviceError if absent."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    count = torch.cuda.device_count()
    index = int(name.partition(":")[2] or 0)
    if name.startswith("cuda") and index >= count:
        here = f"{count} CUDA device(s)" if count else "no CUDA device"
        raise DeviceError(f"--amlnn-device {name}: torch sees {here}; use auto or cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("--amlnn-device mps: torch sees no Apple GPU; use auto or cpu")
    return torch.device("cuda", index) if name.startswith("cuda") else torch.device(name)


@contextmanager
def deterministic(device: torch.device, threads: int) -> Iterator[None]:
    """Compute the same bits every time; restores the caller's settings.

    Raises SettingError where the process cannot, or what is trained changes a setting.
    """
    chosen = settings_of(threads)
    with own_random_state(device), applied(chosen), keep_freed_memory():
        try:
            yield
        except Exception as error:
            refuse_changes(chosen, error)  # of which the error may be a consequence
            raise
        refuse_changes(chosen)


@contextmanager
def own_random_state(device: torch.device) -> Iterator[None]:
    """Draw numbers of one's own, and restore the caller's generators of random numbers."""
    numpy, python = mtrand.get_bit_generator(), random.getstate()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        mtrand.set_bit_generator(np.random.MT19937(0))
        try:
            yield
        finally:
            mtrand.set_bit_generator(numpy)
            random.setstate(python)


def draw_from(seed: int) -> None:
    """Seed every generator that a net or its data may draw from: torch's, numpy's, Python's."""
    torch.manual_seed(seed)
    mtrand.set_bit_generator(np.random.MT19937(seed))
    random.seed(seed)


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Have the C library keep the memory that a step frees, until the end of the training.

    glibc returns large blocks to the kernel, which fills them with zeros each time that they
    are wanted again: a third of a step of EfficientNet-Lite. Other C libraries are left alone,
    and so are settings that come from outside. Once set, glibc no longer moves its thresholds
    by itself in this process.
    """
    settings = ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")
    library = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
    if library is None or any(name in os.environ for name in settings):
        yield
        return
    library.mallopt(M_MMAP_MAX, 0)
    library.mallopt(M_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        library.mallopt(M_MMAP_MAX, MMAP_MAX)
        library.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)
        library.malloc_trim(0)


def computes_bfloat16() -> bool:
    """Return whether the processor has instructions for bfloat16, so that it saves time."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def environment(device: torch.device, threads: int) -> dict[str, object]:
    """Return what the numbers of a run depend on besides recipe and seed."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version_of(name) for name in PACKAGES},
        "processor": processor(),
        "cores": os.cpu_count(),
        "device": str(device),
        "accelerator": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "threads": threads,
        "settings": record_of(settings_of(threads)),
    }


def version_of(package: str) -> str | None:
    """Return the installed version, None where there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """Return the processor's model name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor()


# clock

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
    """Time the parts of runs, waiting for the device at both ends of each.

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


# memory and speed


def reset_peak_memory(device: torch.device) -> None:
    """Set the high-water mark back to what is in use now, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif STATUS.exists():
        with suppress(OSError):  # a container may not be allowed to
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int | None:
    """Return the bytes at the high-water mark: of the GPU, else of this process, else None."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    found = re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text()) if STATUS.exists() else None
    return int(found[1]) * 1024 if found else None


def calibrate(device: torch.device) -> float:
    """Return the median seconds of a small convolution, forward and backward.

    It tells a slow machine from a slow model: the same work, beside every run.
    """
    net = torch.nn.Conv2d(64, 64, 3, padding=1, device=device)
    pictures = torch.ones(8, 64, 32, 32, device=device)
    seconds = []
    for _ in range(5):
        start = perf_counter()
        net(pictures).sum().backward()
        assert net.bias is not None
        assert net.bias.grad is not None
        net.bias.grad.sum().item()  # the number is not there before the device is done
        seconds.append(perf_counter() - start)
    return median(seconds)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that there is no memory left, on whatever device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in NO_MEMORY_LEFT
    )


NO_MEMORY_LEFT = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "MPS backend out of memory",
    "CUDA error: out of memory",
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"),
)
"""What torch says where it has no error of a class of its own."""
