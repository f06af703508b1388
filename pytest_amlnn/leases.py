"""Cores and GPUs, leased among all trainings of this user on this machine.

A lease is a locked file in a folder of this user's own: it ends with its process, however that
ends. Beside it stands who holds it. Where no folder can be used, trainings run without leases,
and that is said.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import torch
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from pytest_amlnn.device import resolve

POLL_SECONDS = 0.02
PATIENCE_SECONDS = 5.0
"""After so long, whoever waits is told what for; again after ten times as long, and so on."""
TURN = "core-turn"
"""Held while waiting for cores: a training that needs two is not overtaken for ever by those
that need one."""

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Lease:
    """What a training may use."""

    device: torch.device
    shared: bool = False
    """Another training has it, too, for this one was told not to wait."""


@dataclass(frozen=True, kw_only=True)
class Queue:
    """How a training waits for what it leases."""

    tell: Tell
    who: str
    """What others are told of it, such as its case."""
    wait: bool = True
    """Whether it waits for others at all."""


class NoLeases(Exception):
    """No folder in which files can be locked; the message says why."""


@contextmanager
def lease(device: str, threads: int, queue: Queue) -> Iterator[Lease]:
    """Hold what --amlnn-device and a recipe ask for.

    On a CPU that is a core for each thread, all of them where there are fewer; else one of
    the GPUs that torch sees, or the one that is named. Raises DeviceError.
    """
    asked = resolve(device)
    names = names_of(asked, device)
    count = min(threads, len(names)) if asked.type == "cpu" else 1
    with ExitStack() as held:
        try:
            mine = take([*names], count, held, queue, in_turn=asked.type == "cpu")
            shared = len(mine) < count
        except NoLeases as error:
            tell_once(f"trainings on this machine do not wait for each other: {error}", queue)
            mine, shared = [], False
        if asked.type == "cuda":
            held.callback(empty_cache)  # before the next one needs that memory
        yield Lease(device=names[[*mine, *names][0]], shared=shared)


SAID: set[str] = set()


def tell_once(text: str, queue: Queue) -> None:
    """Say what is the same for all trainings of this process."""
    if text not in SAID:
        queue.tell(text)
    SAID.add(text)


def names_of(asked: torch.device, device: str) -> dict[str, torch.device]:
    """Return what can be leased, by name, and the device that each is."""
    if asked.type == "cuda":
        numbers = [asked.index] if ":" in device else range(torch.cuda.device_count())
        return {gpu(number): torch.device("cuda", number) for number in numbers}
    if asked.type == "mps":
        return {"mps": asked}
    return {f"core-{number}": asked for number in machine_cores()}


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


# files


def take(
    names: Sequence[str], count: int, held: ExitStack, queue: Queue, *, in_turn: bool = False
) -> list[str]:
    """Lock `count` of the named things as they become free, until `held` is closed.

    Returns their names; fewer, if it is not to wait. Raises NoLeases.
    """
    place = own_folder()
    with ExitStack() as turn:
        if in_turn:
            hold(place, [TURN], 1, turn, queue, of=names)
        return hold(place, names, count, held, queue, of=names)


def hold(
    place: Path,
    names: Sequence[str],
    count: int,
    held: ExitStack,
    queue: Queue,
    *,
    of: Sequence[str],
) -> list[str]:
    """Lock `count` of the names; `of` are those whose holders one waits for."""
    mine: list[str] = []
    patience, begun = PATIENCE_SECONDS, monotonic()
    while True:
        for name in names:
            if len(mine) < count and name not in mine and lock(place / name, held, queue.who):
                mine.append(name)
        if len(mine) == count:
            return mine
        others = [name for name in of if name not in mine]
        if not queue.wait:
            queue.tell(f"not waiting for {holders(place, others)}: times will say little")
            return mine
        if monotonic() - begun > patience:
            queue.tell(f"waiting for {holders(place, others)}")
            patience *= 10
        sleep(POLL_SECONDS)


def lock(file: Path, held: ExitStack, who: str) -> bool:
    """Lock a file that is free just now, and note whose it is; return whether it was free."""
    try:
        held.enter_context(FileLock(file, timeout=0))
    except Timeout:
        return False
    except (OSError, NotImplementedError) as error:  # such as a file system without locks
        raise NoLeases(f"{file} cannot be locked ({error})") from error
    note = file.with_name(f"{file.name}.json")
    with suppress(OSError):  # it only helps those who wait
        note.unlink(missing_ok=True)
        with note.open("x") as opened:  # follows no link
            json.dump({"process": os.getpid(), "who": who, "since": time.time()}, opened)
        held.callback(note.unlink, missing_ok=True)
    return True


def holders(place: Path, names: Sequence[str]) -> str:
    """Return who holds what one waits for: process, case, since when."""
    known: dict[str, list[str]] = {}
    for name in names:
        known.setdefault(holder(place / f"{name}.json"), []).append(name)
    return " or ".join(f"{', '.join(held)}, held by {who}" for who, held in known.items())


def holder(note: Path) -> str:
    """Return what a note says of its writer; such words may be of another version."""
    try:
        plain = json.loads(note.read_text(errors="replace"))
        minutes, seconds = divmod(max(0, int(time.time() - plain["since"])), 60)
        who = "".join(c if c.isprintable() else "?" for c in str(plain["who"]))[:200]
        return f"process {int(plain['process'])} ({who}) for {minutes}:{seconds:02} min"
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return "another training"


def own_folder() -> Path:
    """Return a folder that this user alone can write to; NoLeases where there is none.

    Anybody may have made what lies in a folder for temporary files.
    """
    user = os.getuid() if hasattr(os, "getuid") else "user"
    reasons = []
    for above, name in (
        (tempfile.gettempdir, f"amlnn-leases-{user}"),
        (user_cache_path, f"amlnn-leases-{platform.node()}"),  # homes are shared by machines
    ):
        try:
            folder = Path(above()) / name
            make_own(folder)
            return folder
        except OSError as error:
            reasons.append(str(error))
    raise NoLeases("; ".join(reasons))


def make_own(folder: Path) -> None:
    """Make a folder for this user alone; OSError for one that is somebody else's, or none."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise OSError(f"{folder} is no folder")
    if hasattr(os, "getuid") and found.st_uid != os.getuid():
        raise OSError(f"{folder} belongs to another user")
    if found.st_mode & 0o022 and os.name == "posix":
        folder.chmod(0o700)  # an earlier version made it as the umask said
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OSError(f"{folder} cannot be written to")
