"""The OpenMP library that torch computes with: how many threads it really starts."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch

MAPS = Path("/proc/self/maps")
LIBRARIES = ("libgomp", "libiomp5", "libomp")
CALLED = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

Answer = TypeVar("Answer")


@cache
def library() -> ctypes.CDLL | None:
    """Return the library as torch loaded it; None where the system does not tell."""
    try:
        lines = MAPS.read_text(errors="replace").splitlines()
    except OSError:
        return None
    files = {line.split(maxsplit=5)[-1] for line in lines if "/" in line}
    found = [file for file in sorted(files) if Path(file).name.startswith(LIBRARIES)]
    own = [file for file in found if Path(file).is_relative_to(Path(torch.__file__).parent)]
    for file in own or found:
        loaded = ctypes.CDLL(file)
        if hasattr(loaded, "GOMP_parallel"):
            return loaded
    return None


def in_every_thread(function: Callable[[], Answer]) -> list[Answer]:
    """Call a function in each thread that an operation of torch is shared among, this one too.

    Where the library is not known, it is called in this thread alone.
    """
    openmp, answers = library(), list[Answer]()
    if openmp is None or torch.get_num_threads() == 1:
        return [function()]
    openmp.GOMP_parallel(CALLED(lambda _: answers.append(function())), None, 0, 0)
    return answers


def started_threads() -> int:
    """Return how many threads an operation of torch gets, which may be fewer than it asks for.

    Kernels that wait for the others would wait for ever.
    """
    if library() is None:
        return torch.get_num_threads()
    return len(in_every_thread(lambda: None))


def is_dynamic() -> bool:
    """Return whether the library gives fewer threads than it is asked for on a busy machine."""
    openmp = library()
    return bool(openmp and openmp.omp_get_dynamic())


def set_dynamic(value: bool) -> None:
    """Have the library give as many threads as it is asked for, or fewer as it likes."""
    openmp = library()
    if openmp:
        openmp.omp_set_dynamic(int(value))
