"""Pictures that are decoded once and then memory-mapped from the user's cache."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt
from filelock import FileLock
from PIL import Image, ImageFile
from rich.console import Console
from rich.progress import Progress

from amlnn_datasets.picture_archive import Archive
from pytest_amlnn.data import DataError
from pytest_amlnn.disk import sync

SCHEMA = 1
SIDE = 64
RUN = 64
"""Pictures that a thread decodes at a time."""
RUNS = 16
"""Runs that may wait in memory to be written."""
THREADS = min(4, os.cpu_count() or 1)
"""More would only wait for each other: reading a zip is Python, decoding is not."""
LISTED = 20

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The decoded pictures of one archive."""

    folder: Path
    facts: Mapping[str, Any]
    """What `write` was given."""

    @property
    def digest(self) -> str:
        """The digest of the archive."""
        return self.folder.name

    def pictures(self, part: str) -> npt.NDArray[np.uint8]:
        """Map one part: uint8 (n, 64, 64, 3); what is written to it stays private."""
        mapped: npt.NDArray[np.uint8] = np.load(self.folder / f"{part}.npy", mmap_mode="c")
        return mapped


def find(home: Path, digest: str) -> Entry | None:
    """Return the entry of an archive if it is there and whole."""
    folder = home / digest
    try:
        index = json.loads((folder / "index.json").read_bytes())
        if index["schema"] != SCHEMA:
            return None
        for name, size in index["bytes"].items():
            if (folder / name).stat().st_size != size:
                return None
        return Entry(folder=folder, facts=index["facts"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def recall(home: Path, fingerprint: str) -> Entry | None:
    """Return the entry of an archive that looked like this when it was remembered."""
    try:
        return find(home, json.loads(_memory(home, fingerprint).read_bytes())["digest"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def remember(home: Path, fingerprint: str, entry: Entry, path: Path) -> None:
    """Note which entry belongs to the archive at `path` as it looks now."""
    memory = _memory(home, fingerprint)
    # Half a note is no JSON, and none at all costs only the time to read the archive.
    with suppress(OSError):
        memory.parent.mkdir(exist_ok=True)
        memory.write_text(json.dumps({"path": str(path), "digest": entry.digest}))


def _memory(home: Path, fingerprint: str) -> Path:
    return home / "known" / f"{fingerprint}.json"


@contextmanager
def scratch(home: Path) -> Iterator[Path]:
    """Hold the cache alone and hand out an empty folder in it, removed in the end.

    Raises DataError where the cache cannot be written.
    """
    folder = home / f"building-{os.getpid()}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / "build.lock"):
            for left in home.glob("building-*"):  # by builders that were killed
                shutil.rmtree(left)
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"{home}: cannot keep decoded pictures there ({error}); make room, or name "
            "another folder in the environment variable AMLNN_CACHE"
        ) from error


def place(folder: Path, home: Path, digest: str) -> Entry:
    """Turn a folder that was written into the entry of an archive."""
    final = home / digest
    if final.exists():  # of another version, or cut
        shutil.rmtree(final)
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
) -> None:
    """Decode the named pictures into one array for each part.

    Raises DataError with all pictures that cannot be decoded.
    """
    faults: list[str] = []
    count = sum(map(len, parts.values()))
    with _strict_decoder(), _progress(count, folder.parent) as progress:
        for part, names in parts.items():
            with (folder / f"{part}.npy").open("wb") as file:
                _write_header(file, len(names))
                faults += _write_pictures(file, archive, names, progress)
            sync(folder / f"{part}.npy")
    if faults:
        raise DataError(_listing(archive.path, faults))
    sizes = {f"{part}.npy": (folder / f"{part}.npy").stat().st_size for part in parts}
    index = {"schema": SCHEMA, "bytes": sizes, "facts": facts}
    (folder / "index.json").write_text(json.dumps(index))
    sync(folder / "index.json")
    sync(folder)


def _write_header(file: BinaryIO, count: int) -> None:
    shape = (count, SIDE, SIDE, 3)
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )


def _write_pictures(
    file: BinaryIO, archive: Archive, names: Sequence[str], progress: Progress
) -> list[str]:
    """Write pictures in order, with write(): a full disk kills whoever writes a map."""
    faults: list[str] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for runs in _cut(_cut(names, RUN), RUNS):
            for pixels, found in pool.map(partial(_decoded_run, archive), runs):
                file.write(pixels)
                faults += found
            progress.advance(progress.task_ids[0], sum(map(len, runs)))
    return faults


def _cut(items: Sequence[T], length: int) -> list[Sequence[T]]:
    return [items[start : start + length] for start in range(0, len(items), length)]


def _decoded_run(archive: Archive, names: Sequence[str]) -> tuple[bytes, list[str]]:
    """Return the pixels of the pictures, and what is wrong with those that are bad."""
    pixels, faults = [], []
    for name in names:
        try:
            pixels.append(_decoded(archive.read(name)))
        except Exception as error:  # whatever a decoder raises, the picture is bad
            faults.append(f"{name} ({error})")
    return b"".join(pixels), faults


def _decoded(data: bytes) -> bytes:
    """Decode a JPEG, gray ones too, to the bytes of (64, 64, 3)."""
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        if image.size != (SIDE, SIDE):  # before anything large is decoded
            raise ValueError(f"{image.width}x{image.height}, not {SIDE}x{SIDE}")
        colors = image if image.mode == "RGB" else image.convert("RGB")
        return colors.tobytes()


@contextmanager
def _strict_decoder() -> Iterator[None]:
    """Refuse cut pictures even where another library has Pillow fill them with gray."""
    lenient = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def _listing(path: Path, faults: Sequence[str]) -> str:
    lines = [f"{path}: {len(faults):,} bad pictures; get the archive again:"]
    lines += faults[:LISTED]
    if len(faults) > LISTED:
        lines.append(f"and {len(faults) - LISTED:,} more")
    return "\n  ".join(lines)


@contextmanager
def _progress(total: int, home: Path) -> Iterator[Progress]:
    terminal = sys.stderr.isatty()
    if not terminal:
        print(f"amlnn: decoding {total:,} pictures into {home}", file=sys.stderr)
    console = Console(stderr=True)
    with Progress(console=console, disable=not terminal) as progress:
        progress.add_task("Decoding pictures, once", total=total)
        yield progress
