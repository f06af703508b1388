"""Cores and GPUs that a training has to itself, among all trainings of this user.

A lease is a locked file in the folder for temporary files: it ends with its process, however
that ends.
"""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep

import torch
from filelock import FileLock, Timeout

from pytest_amlnn.device import resolve

POLL_SECONDS = 0.02
PATIENCE_SECONDS = 5.0
"""After so long, whoever waits is told what for."""
TURN = "core-turn"
"""Held while waiting for cores: who needs two is not overtaken for ever by who needs one."""

Tell = Callable[[str], None]


@contextmanager
def lease(device: str, threads: int, tell: Tell) -> Iterator[torch.device]:
    """Wait for what --amlnn-device and a recipe ask for, and hold it meanwhile.

    On a CPU that is a core for each thread, all of them where there are fewer; else one of
    the GPUs that torch sees, or the one that is named. Raises DeviceError.
    """
    asked = resolve(device)
    with ExitStack() as held:
        if asked.type == "cuda":
            numbers = [asked.index] if ":" in device else range(torch.cuda.device_count())
            names = {gpu(number): number for number in numbers}
            (name,) = hold([*names], 1, held, tell)
            held.callback(empty_cache)  # before the next one needs that memory
            asked = torch.device("cuda", names[name])
        elif asked.type == "mps":
            hold(["mps"], 1, held, tell)
        else:
            cores = [f"core-{number}" for number in machine_cores()]
            with ExitStack() as turn:
                hold([TURN], 1, turn, tell)
                hold(cores, min(threads, len(cores)), held, tell)
        yield asked


def empty_cache() -> None:
    """Give back what torch keeps of a GPU's memory for itself."""
    gc.collect()
    torch.cuda.empty_cache()


def machine_cores() -> list[int]:
    """Return the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def gpu(number: int) -> str:
    """Return a GPU's own name, which is the same whatever CUDA_VISIBLE_DEVICES says."""
    return f"cuda-{torch.cuda.get_device_properties(number).uuid}"


def hold(names: Sequence[str], count: int, held: ExitStack, tell: Tell) -> list[str]:
    """Lock `count` of the named things as they become free, until `held` is closed."""
    mine: list[str] = []
    user = os.getuid() if hasattr(os, "getuid") else "user"
    place = Path(tempfile.gettempdir()) / f"amlnn-leases-{user}"
    place.mkdir(parents=True, exist_ok=True)
    patient_until = monotonic() + PATIENCE_SECONDS
    while True:
        for name in names:
            if len(mine) < count and name not in mine and lock(place / name, held):
                mine.append(name)
        if len(mine) == count:
            return mine
        if monotonic() > patient_until:
            what = "its turn at the cores" if names == [TURN] else " or ".join(names)
            tell(f"waiting for another training to give back {what}")
            patient_until = float("inf")
        sleep(POLL_SECONDS)


def lock(file: Path, held: ExitStack) -> bool:
    """Lock a file that is free just now; return whether it was."""
    try:
        held.enter_context(FileLock(file, timeout=0))
    except Timeout:
        return False
    return True
