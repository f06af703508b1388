"""The device of a run: choice, settings, memory, speed and what the record says of it."""

from __future__ import annotations

import ctypes
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch.utils import deterministic

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


class DeviceError(Exception):
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
def settled(device: torch.device, threads: int) -> Iterator[None]:
    """Compute alike every time, with so many threads; other people's settings come back."""
    threads_before, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    tuned = torch.backends.cudnn.benchmark
    filled = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    # cuBLAS reads this when its first handle is made, which lies ahead of any run
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    # 2 is "error"; use_deterministic_algorithms would import torch's compiler, 2 seconds
    torch.set_deterministic_debug_mode(2)
    torch.backends.cudnn.benchmark = False
    # torch's kernels write all that they return; filling it before takes a tenth of a step
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []), freed_kept():
            yield
    finally:
        torch.set_num_threads(threads_before)
        torch.set_deterministic_debug_mode(mode)
        torch.backends.cudnn.benchmark = tuned
        deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


@contextmanager
def freed_kept() -> Iterator[None]:
    """Have the C library keep what a step frees for the next one; it is given back at the end.

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
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": str(device),
        "accelerator": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "threads": threads,
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


def reset_peak_memory(device: torch.device) -> None:
    """Set the high-water mark back to what is in use now, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int | None:
    """Return the bytes at the high-water mark: of the GPU, else of this process, else None."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    found = re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text()) if STATUS.exists() else None
    return int(found[1]) * 1024 if found else None


def calibrate(device: torch.device) -> float:
    """Return the median seconds of a small convolution there and back again.

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
