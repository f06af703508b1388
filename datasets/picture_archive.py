"""Zips and folders of pictures, read alike: never extracted, never trusted."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pytest_amlnn.data import DataError

ORIGINAL = (
    "the original layout is needed: train/<wnid>/images/*.JPEG, val/images/*.JPEG and "
    "val/val_annotations.txt, as in tiny-imagenet-200.zip"
)
PICTURE_BOUND = 1 << 20
TEXT_BOUND = 64 << 20
DEPTH = 4
"""Folders that may lie above a file; a picture in its place has three."""

UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)
"""What reading a damaged file raises."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """An open zip or folder."""

    path: Path
    names: frozenset[str]
    """Its files, relative to the folder that holds train/."""
    read: Callable[[str], bytes]
    """Return a whole file; raises one of UNREADABLE, also past the file's bound."""


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a zip or folder to read from it in several threads; raises DataError."""
    if path.is_dir():
        yield _opened_folder(path)
        return
    try:
        archive = zipfile.ZipFile(path)
    except UNREADABLE as error:
        raise DataError(
            f"{path}: not a zip, or one that was cut off ({error}); get it again"
        ) from error
    with archive:
        yield _opened_zip(path, archive)


def fingerprint(path: Path) -> str:
    """Return a digest that changes when the archive does, without reading it.

    Raises DataError where there is none.
    """
    if path.is_dir():
        told = sorted(
            f"{name}\0{status.st_size}\0{status.st_mtime_ns}"
            for name, status in _listed_folder(path).items()
        )
    elif path.is_file():
        status = path.stat()
        told = [str(path.absolute()), str(status.st_size), str(status.st_mtime_ns)]
    else:
        raise DataError(f"{path}: no such file or folder; name Tiny ImageNet's zip or folder")
    return hashlib.sha256(os.fsencode("\n".join(told))).hexdigest()


def digest(path: Path) -> str:
    """Return the SHA-256 of a zip, or the fingerprint of a folder; raises DataError."""
    if path.is_dir():
        return fingerprint(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def _bound(name: str) -> int:
    return PICTURE_BOUND if "/images/" in name else TEXT_BOUND


def _check_size(path: Path, name: str, size: int) -> None:
    if size > _bound(name):
        raise DataError(
            f"{path}: {name} would be {size:,} bytes, more than the {_bound(name):,} "
            "that such a file may have; get the archive again"
        )


def _bounded(file: Callable[[int], bytes], name: str) -> bytes:
    """Read no more than the bound, whatever the file's header declares."""
    data = file(_bound(name) + 1)
    if len(data) > _bound(name):
        raise ValueError(f"larger than {_bound(name):,} bytes")
    return data


def _opened_folder(path: Path) -> Archive:
    files = _listed_folder(path)
    for name, status in files.items():
        _check_size(path, name, status.st_size)
    root = _root_of_folder(path)

    def read(name: str) -> bytes:
        with (root / name).open("rb") as file:
            return _bounded(file.read, name)

    return Archive(path=path, names=frozenset(files), read=read)


def _root_of_folder(path: Path) -> Path:
    if (path / "train").is_dir():
        return path
    roots = [folder.parent for folder in path.glob("*/train") if folder.is_dir()]
    if len(roots) != 1:
        raise DataError(f"{path}: holds no train/; {ORIGINAL}")
    return roots[0]


def _listed_folder(path: Path) -> dict[str, os.stat_result]:
    """Return the files below train/ and val/ and the lists beside them."""
    try:
        root = _root_of_folder(path)
        files = {
            name: (root / name).stat()
            for name in ("wnids.txt", "words.txt")
            if (root / name).is_file()
        }
        for top in ("train", "val"):
            if (root / top).is_dir():
                files.update(_files(str(root / top), f"{top}/", DEPTH - 1))
    except OSError as error:
        raise DataError(f"{path}: cannot be listed ({error})") from error
    return files


def _files(folder: str, prefix: str, depth: int) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file():
                yield prefix + entry.name, entry.stat()
            elif depth and entry.is_dir():  # links may form a ring: depth ends it
                yield from _files(entry.path, f"{prefix}{entry.name}/", depth - 1)


def _opened_zip(path: Path, archive: zipfile.ZipFile) -> Archive:
    for member in archive.infolist():
        if fault := _fault(member):
            raise DataError(
                f"{path}: {member.orig_filename!r} {fault}, which no Tiny ImageNet "
                "needs; get the archive again"
            )
        _check_size(path, member.filename, member.file_size)
    members = _members(path, archive)

    def read(name: str) -> bytes:
        with archive.open(members[name]) as file:
            return _bounded(file.read, name)

    return Archive(path=path, names=frozenset(members), read=read)


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the files beside and below train/ by their names from there."""
    root = _root_of_names(path, archive.namelist())
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        if member.filename.startswith(root) and not member.is_dir():
            name = member.filename.removeprefix(root)
            if name in members:
                raise DataError(f"{path}: holds {name} twice; get the archive again")
            members[name] = member
    return members


def _root_of_names(path: Path, names: Iterable[str]) -> str:
    """Return what the names that lead to train/ start with."""
    roots = set()
    for name in names:
        top, _, rest = name.partition("/")
        if top == "train":
            return ""
        if rest.startswith("train/"):
            roots.add(f"{top}/")
    if len(roots) != 1:
        raise DataError(f"{path}: holds no train/; {ORIGINAL}")
    return roots.pop()


def _fault(member: zipfile.ZipInfo) -> str | None:
    """Say what makes a member of a zip unfit to be read."""
    name = member.orig_filename  # as the zip has it: zipfile cuts names at a NUL
    if name.startswith("/") or name[1:2] == ":" or "\\" in name or "\0" in name:
        return "has an absolute name, or one for another system"
    if ".." in name and ".." in name.split("/"):
        return "leads out of the archive"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a link"
    if member.flag_bits & 1:
        return "is encrypted"
    # Python inflates bzip2 and LZMA without a bound.
    if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return "is neither stored nor deflated"
    return None
