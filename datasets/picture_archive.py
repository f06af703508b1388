"""Zips and folders of pictures, read alike: never extracted, never trusted."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from amlnn_datasets.file_stamps import await_next_tick, stamp
from amlnn_datasets.picture_files import is_left_behind, kind_of
from amlnn_datasets.picture_root import ORIGINAL as ORIGINAL
from amlnn_datasets.picture_root import root_of_folder, root_of_names
from pytest_amlnn.data import DataError
from pytest_amlnn.disk import open_file
from pytest_amlnn.escapes import visible

ANNOTATIONS = "val/val_annotations.txt"
LISTS = ("wnids.txt", "words.txt")
PICTURE_BOUND = 1 << 20
TEXT_BOUND = 64 << 20
FILES_BOUND = 1 << 20
"""Files of a folder; links could lead to a whole disk."""
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
    """Its files, relative to the folder that holds train/, without those that systems leave
    behind; bytes that are no text are escaped."""
    read: Callable[[str], bytes]
    """Return a whole file; raises one of UNREADABLE, also past the file's bound."""


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a zip or folder to read from it in several threads; raises DataError."""
    if _status(path)[0]:
        yield _opened_folder(path)
        return
    try:
        file = open_file(path, follow=True)
    except OSError as error:
        raise _unreadable(path, error) from error
    with file:
        try:
            archive = zipfile.ZipFile(file)
        except UNREADABLE as error:
            kind = kind_of(_beginning(file))
            words = f"but {kind}" if kind not in {None, "a zip"} else "or one that was cut off"
            raise DataError(
                f"{visible(path)}: not a zip, {words} ({visible(error)}); get it again"
            ) from error
        with archive:
            yield _opened_zip(path, archive)


def fingerprint(path: Path) -> str:
    """Return a digest that changes when the archive does, without reading it.

    Times of change (ctime) count, which no program can set back: another file with the size
    and the time of the old one is told from it. Raises DataError where there is no archive.
    """
    folder, status = _status(path)
    if folder:
        told = sorted(f"{name}\0{stamp(each)}" for name, (_, each) in _listed(path).items())
    else:
        told = [str(path.absolute()), stamp(status)]
    return hashlib.sha256(os.fsencode("\n".join(told))).hexdigest()


def state(path: Path) -> str:
    """Return what changes when an archive is replaced, in no time; raises DataError."""
    return stamp(_status(path)[1])


def settled_fingerprint(path: Path) -> str:
    """Return a fingerprint that no later write leaves as it is; raises DataError."""
    folder, status = _status(path)
    statuses = [each for _, each in _listed(path).values()] if folder else [status]
    await_next_tick(max((each.st_ctime_ns for each in statuses), default=0))
    return fingerprint(path)


def digest(path: Path) -> str:
    """Return the SHA-256 of a zip, or of the files of a folder that examples follow from.

    Raises DataError.
    """
    try:
        if not _status(path)[0]:
            with open_file(path, follow=True) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        total = hashlib.sha256()
        with open_archive(path) as archive:
            for name in sorted(archive.names):
                if name in {ANNOTATIONS, *LISTS} or "/images/" in name:
                    content = hashlib.sha256(archive.read(name)).hexdigest()
                    total.update(f"{name}\0{content}\n".encode())
        return total.hexdigest()
    except UNREADABLE as error:
        raise _unreadable(path, error) from error


def _status(path: Path) -> tuple[bool, os.stat_result]:
    """Tell whether there is a folder, in place of a file; raises DataError for all else."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise DataError(
            f"{visible(path)}: no such file or folder; name Tiny ImageNet's zip or folder"
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
        raise DataError(
            f"{visible(path)}: a device or a pipe; name Tiny ImageNet's zip or folder"
        )
    return stat.S_ISDIR(status.st_mode), status


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{visible(path)}: cannot be read ({visible(error)})")


def _beginning(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(4096)


def _bound(name: str) -> int:
    return PICTURE_BOUND if "/images/" in name else TEXT_BOUND


def _check_size(path: Path, name: str, size: int) -> None:
    if size > _bound(name):
        raise DataError(
            f"{visible(path)}: {visible(name)} would be {size:,} bytes, more than the "
            f"{_bound(name):,} that such a file may have; get the archive again"
        )


def _bounded(file: Callable[[int], bytes], name: str) -> bytes:
    """Read no more than the bound, whatever the file's header declares."""
    data = file(_bound(name) + 1)
    if len(data) > _bound(name):
        raise ValueError(f"larger than {_bound(name):,} bytes")
    return data


def _opened_folder(path: Path) -> Archive:
    places: dict[str, str] = {}
    for raw, (place, status) in _listed(path).items():
        if is_left_behind(raw):
            continue
        name = os.fsencode(raw).decode("utf-8", "backslashreplace")
        if not stat.S_ISREG(status.st_mode):
            raise DataError(
                f"{visible(path)}: {visible(name)} is no file, but a device, a pipe or a "
                "link to nothing; remove it, or get the archive again"
            )
        _check_size(path, name, status.st_size)
        if name in places:
            raise DataError(f"{visible(path)}: two files are named {name}; rename one")
        places[name] = place

    def read(name: str) -> bytes:
        with open_file(places[name], follow=True) as file:
            return _bounded(file.read, name)

    return Archive(path=path, names=frozenset(places), read=read)


def _listed(path: Path) -> dict[str, tuple[str, os.stat_result]]:
    """Return where the files below train/ and val/ and the lists beside them lie."""
    files: dict[str, tuple[str, os.stat_result]] = {}
    try:
        root = str(root_of_folder(path))
        for top in ("", "train", "val"):
            folder = f"{root}/{top}" if top else root
            if Path(folder).is_dir():
                depth = DEPTH - 1 if top else 0
                for name, entry, status in _files(folder, f"{top}/" if top else "", depth):
                    if top or name in LISTS:
                        files[name] = (entry, status)
                    if len(files) > FILES_BOUND:
                        raise DataError(
                            f"{visible(path)}: holds more than {FILES_BOUND:,} files; name "
                            "the folder of Tiny ImageNet"
                        )
    except OSError as error:
        raise DataError(f"{visible(path)}: cannot be listed ({visible(error)})") from error
    return files


def _files(folder: str, prefix: str, depth: int) -> Iterator[tuple[str, str, os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                inner = entry.is_dir()
                status = None if inner else entry.stat()
            except OSError:  # a link to nothing, or to itself
                inner, status = False, entry.stat(follow_symlinks=False)
            if status is not None:
                yield prefix + entry.name, entry.path, status
            elif depth:  # links may form a ring: depth ends it
                yield from _files(entry.path, f"{prefix}{entry.name}/", depth - 1)


def _opened_zip(path: Path, archive: zipfile.ZipFile) -> Archive:
    for member in archive.infolist():
        if fault := _fault(member):
            raise DataError(
                f"{visible(path)}: {member.orig_filename!r} {fault}, which no Tiny ImageNet "
                "needs; get the archive again"
            )
    members = _members(path, archive)
    for name, member in members.items():
        _check_size(path, name, member.file_size)

    def read(name: str) -> bytes:
        with archive.open(members[name]) as file:
            return _bounded(file.read, name)

    return Archive(path=path, names=frozenset(members), read=read)


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the files beside and below train/ by their names from there."""
    kept = [
        member
        for member in archive.infolist()
        if not member.is_dir() and not is_left_behind(member.filename)
    ]
    root = root_of_names(path, [member.filename for member in kept])
    members: dict[str, zipfile.ZipInfo] = {}
    for member in kept:
        if member.filename.startswith(root):
            name = member.filename.removeprefix(root)
            if name in members:
                raise DataError(
                    f"{visible(path)}: holds {visible(name)} twice; get the archive again"
                )
            members[name] = member
    return members


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
