"""Pictures that are decoded once and then memory-mapped from the user's cache.

An entry is a folder named after the digest of its archive: `index.json` has the digests of the
arrays beside it, and `checked.json` what the file system told of these arrays when their
digests were last compared. As long as it tells the same, they are not read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from amlnn_datasets.file_stamps import await_next_tick, stamp
from amlnn_datasets.picture_archive import Archive
from amlnn_datasets.picture_decoding import (
    SIDE,
    decode_run,
    decoding_progress,
    listing,
    strict_decoder,
)
from pytest_amlnn.cache import check_own_folder, own_folder
from pytest_amlnn.data import DataError
from pytest_amlnn.disk import DiskError, open_file, sync
from pytest_amlnn.disk import write as write_whole
from pytest_amlnn.escapes import visible

SCHEMA = 2
RUN = 64
"""Pictures that a thread decodes at a time."""
RUNS = 16
"""Runs that may wait in memory to be written."""
THREADS = min(4, os.cpu_count() or 1)
"""More would only wait for each other: reading a zip is Python, decoding is not."""
INDEX_BOUND, NOTE_BOUND = 1 << 28, 1 << 16
"""Bytes."""
HEADER = b'{"sha256": "%s",\n'
"""First line of an index, which is JSON as a whole; the digest is that of the other lines."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The decoded pictures of one archive."""

    folder: Path
    facts: Mapping[str, Any]
    """What `write` was given."""
    counts: Mapping[str, int]
    """How many pictures each part has."""

    @property
    def digest(self) -> str:
        """The digest of the archive."""
        return self.folder.name

    def pictures(self, part: str) -> npt.NDArray[np.uint8]:
        """Map one part: uint8 (n, 64, 64, 3); what is written to it stays private."""
        shape = (self.counts[part], SIDE, SIDE, 3)
        with open_file(self.folder / f"{part}.npy") as file:
            start = os.fstat(file.fileno()).st_size - shape[0] * SIDE * SIDE * 3
            return np.memmap(file, dtype=np.uint8, mode="c", offset=start, shape=shape)


def find(home: Path, digest: str, *, thorough: bool = False) -> Entry | None:
    """Return the entry of an archive if it is there and whole.

    `thorough` reads all of it; otherwise that is done only if it was touched since the last
    time. Raises DataError where others can write to the cache.
    """
    folder = home / digest
    with _cache_errors(home):
        if not folder.exists():
            return None
        check_own_folder(home)
    try:
        index = _read_index(folder)
        if folder.is_symlink() or (index["schema"], index["digest"]) != (SCHEMA, digest):
            return None
        if not _are_whole(folder, index["arrays"], thorough):
            return None
        return Entry(folder=folder, facts=index["facts"], counts=index["counts"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _read_index(folder: Path) -> Any:
    with open_file(folder / "index.json") as file:
        content = file.read(INDEX_BOUND)
    first, _, rest = content.partition(b"\n")
    if first + b"\n" != _header(rest):
        raise ValueError("not the index that was written")
    return json.loads(content)


def _header(rest: bytes) -> bytes:
    return HEADER % hashlib.sha256(rest).hexdigest().encode()


def _are_whole(folder: Path, digests: Mapping[str, str], thorough: bool) -> bool:
    """Tell whether arrays have these digests; those not touched since the last time have."""
    if not thorough and _stamps(folder, digests) == _last_checked(folder):
        return True
    told, found = _digests(folder, digests)
    if found == digests:
        with suppress(DiskError):  # where nothing can be written, all is read each time
            write_whole(folder / "checked.json", json.dumps(told).encode())
    return found == digests


def _stamps(folder: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: stamp((folder / name).lstat()) for name in names}


def _digests(folder: Path, names: Collection[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return what the file system tells of arrays, and their digests."""
    told = _stamps(folder, names)
    await_next_tick(max((folder / name).lstat().st_ctime_ns for name in names))
    with ThreadPoolExecutor(THREADS) as pool:
        digests = pool.map(_array_digest, [folder / name for name in names])
        return told, dict(zip(names, digests, strict=True))


def _last_checked(folder: Path) -> Any:
    try:
        with open_file(folder / "checked.json") as file:
            return json.loads(file.read(NOTE_BOUND))
    except (OSError, ValueError, RecursionError):
        return None


def _array_digest(path: Path) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def recall(home: Path, fingerprint: str) -> Entry | None:
    """Return the entry of an archive that looked like this when it was remembered."""
    try:
        with open_file(_memory(home, fingerprint)) as file:
            digest = json.loads(file.read(NOTE_BOUND))["digest"]
        return find(home, digest) if re.fullmatch("[0-9a-f]{64}", digest) else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def remember(home: Path, fingerprint: str, entry: Entry, path: Path) -> None:
    """Note which entry belongs to the archive at `path` as it looks now."""
    note = json.dumps({"path": visible(path), "digest": entry.digest})
    if (home / "known").is_symlink():  # what it leads to is not ours
        (home / "known").unlink()
    with suppress(DiskError):  # without a note the archive is only read again
        write_whole(_memory(home, fingerprint), note.encode())


def _memory(home: Path, fingerprint: str) -> Path:
    return home / "known" / f"{fingerprint}.json"


def verify(home: Path) -> tuple[list[str], list[str]]:
    """Read all entries; return the digests of those that are whole, and of removed ones."""
    digests = [path.name for path in home.glob("*") if re.fullmatch("[0-9a-f]{64}", path.name)]
    whole = [digest for digest in digests if find(home, digest, thorough=True)]
    removed = [digest for digest in digests if digest not in whole]
    with _cache_errors(home):
        for digest in removed:
            _remove(home / digest)
    return whole, removed


@contextmanager
def _cache_errors(home: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, NotImplementedError, DiskError) as error:  # no locks there: the second
        raise DataError(
            f"{visible(home)}: cannot keep decoded pictures there ({visible(error)}); make "
            "room, or name another folder in the environment variable AMLNN_CACHE"
        ) from error


@contextmanager
def scratch(home: Path) -> Iterator[Path]:
    """Hold the cache alone and hand out an empty folder in it, removed in the end.

    Raises DataError where the cache cannot be written.
    """
    with _cache_errors(home):
        own_folder(home)
        with FileLock(home / "build.lock"):
            for left in home.glob("building-*"):  # by builders that were killed
                _remove(left)
            folder = Path(tempfile.mkdtemp(prefix="building-", dir=home))
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)


def _remove(path: Path) -> None:
    """Remove a folder, or whatever lies in its place; what a link leads to stays."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
    else:
        shutil.rmtree(path)


def place(folder: Path, home: Path, digest: str) -> Entry:
    """Turn a folder that was written into the entry of an archive."""
    final = home / digest
    if os.path.lexists(final):  # of another version, cut or changed
        print(f"amlnn: {final} was damaged, or of another version", file=sys.stderr)
        _remove(final)
    folder.rename(final)
    sync(home)
    entry = find(home, digest)
    assert entry is not None
    return entry


def write(
    folder: Path,
    archive: Archive,
    parts: Mapping[str, Sequence[str]],
    facts: Mapping[str, Any],
    digest: str,
) -> None:
    """Decode the named pictures into one array for each part.

    Raises DataError with all pictures that cannot be decoded.
    """
    faults: list[str] = []
    counts = {part: len(names) for part, names in parts.items()}
    _check_room(folder, sum(counts.values()))
    with strict_decoder(), decoding_progress(sum(counts.values()), folder.parent) as advance:
        for part, names in parts.items():
            with (folder / f"{part}.npy").open("xb") as file:
                _write_header(file, len(names))
                faults += _write_pictures(file, archive, names, advance)
            sync(folder / f"{part}.npy")
    if faults:
        raise DataError(listing(archive.path, faults))
    told, arrays = _digests(folder, [f"{part}.npy" for part in parts])
    (folder / "checked.json").write_text(json.dumps(told))
    about = {"schema": SCHEMA, "digest": digest, "arrays": arrays, "counts": counts}
    rest = json.dumps({**about, "facts": facts}).encode()[1:]
    (folder / "index.json").write_bytes(_header(rest) + rest)
    sync(folder / "index.json")
    sync(folder)


def _check_room(folder: Path, count: int) -> None:
    needed, free = count * SIDE * SIDE * 3, shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(f"{needed:,} bytes are needed, {free:,} are free")


def _write_header(file: BinaryIO, count: int) -> None:
    shape = (count, SIDE, SIDE, 3)
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )


def _write_pictures(
    file: BinaryIO, archive: Archive, names: Sequence[str], advance: Callable[[int], None]
) -> list[str]:
    """Write pictures in order, with write(): a full disk kills whoever writes a map."""
    faults: list[str] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for runs in _cut(_cut(names, RUN), RUNS):
            for pixels, found in pool.map(partial(decode_run, archive), runs):
                file.write(pixels)
                faults += found
            advance(sum(map(len, runs)))
    return faults


def _cut(items: Sequence[T], length: int) -> list[Sequence[T]]:
    return [items[start : start + length] for start in range(0, len(items), length)]
