"""Files that are whole or not there, and that no link leads astray.

A run directory may come from a stranger. So nothing below it is reached through a link, names
of unfinished files cannot be guessed, and only regular files are read.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from pytest_amlnn.errors import UserError
from pytest_amlnn.escapes import visible

PART = ".amlnn-part-"
"""How the names of unfinished files begin."""
NO_LINK = getattr(os, "O_NOFOLLOW", 0)

ROOM = "make room"
ELSEWHERE = "name a folder elsewhere"
IN_THE_WAY = "remove what is in its place"
REMEDIES = {
    errno.ENOSPC: ROOM,
    errno.EDQUOT: f"{ROOM}: your quota is used up",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EROFS: f"its file system is read-only: {ELSEWHERE}",
    errno.EACCES: f"you lack the right to write there: get it, or {ELSEWHERE}",
    errno.EPERM: f"you lack the right to write there: get it, or {ELSEWHERE}",
    errno.ENAMETOOLONG: "shorten the name",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.EISDIR: IN_THE_WAY,
    errno.ENOTDIR: IN_THE_WAY,
    errno.EEXIST: IN_THE_WAY,
    errno.ELOOP: IN_THE_WAY,
}
"""What to do about an error of the system; for others the disk is to blame."""
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
UNLOCKED = f"its file system has no locks: {ELSEWHERE}"


class OneLineError(UserError):
    """What went wrong, in one visible line: it may quote names that a stranger gave."""

    def __init__(self, message: str) -> None:
        super().__init__(visible(message))


class DiskError(OneLineError):
    """A file that cannot be written or must not be used; the message says what to do."""


class StoreError(OneLineError):
    """A run directory that cannot be used; the message names it and says what to do."""


class SyncError(OSError):
    """The system does not say that what was written has reached the disk."""


# places


def expanded(path: str) -> Path:
    """Return a path with the home that it begins with, if there is one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # of a user who is not known here
        return Path(path)


def below(folder: Path, *parts: str) -> Path:
    """Return a place below a folder that is reached through no link; DiskError elsewhere.

    The folder itself may be reached through links: its user named it.
    """
    path = folder
    for part in parts:
        if part in ("", ".", "..") or {"/", os.sep, "\0"} & {*part}:
            raise DiskError(f"{part!r} is no name of a file in {path}")
        path = path / part
        if path.is_symlink():
            raise DiskError(
                f"{path} is a link: nothing of a run directory is read or written through"
                " links; put a folder or file in its place"
            )
    return path


# reading


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading that is neither link, pipe, device nor folder.

    Raises FileNotFoundError where there is nothing, DiskError where it cannot be opened.
    """
    try:
        return open_file(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DiskError(f"{path} cannot be read: {error.strerror or error}") from error


def open_file(path: Path | str, *, follow: bool = False) -> BufferedReader:
    """Open a regular file for reading, through links only if told so; raises OSError."""
    # asked before it is opened, which alone may set a device going
    refuse_irregular(Path(path).stat(follow_symlinks=follow))
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | (0 if follow else NO_LINK)
    stream = os.fdopen(os.open(path, flags), "rb")
    try:
        refuse_irregular(os.fstat(stream.fileno()))
    except OSError:
        stream.close()
        raise
    return stream


def refuse_irregular(found: os.stat_result) -> None:
    """Raise OSError unless this is what the system says of a regular file."""
    kind = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFREG: ""}.get(
        stat.S_IFMT(found.st_mode), "a pipe, socket or device"
    )
    if kind:
        raise OSError(f"it is {kind}, not a file")


def read(path: Path, most: int) -> bytes:
    """Return the content of a regular file of at most so many bytes.

    Raises FileNotFoundError where there is nothing, DiskError where it cannot be read.
    """
    try:
        with open_regular(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            content = stream.read(most + 1) if size <= most else b""
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DiskError(f"{path} cannot be read: {error.strerror or error}") from error
    if max(size, len(content)) > most:
        raise DiskError(f"{path} cannot be read: it has more than {most:,} bytes")
    return content


# writing


def write(path: Path, content: bytes, *, lasting: bool = True) -> None:
    """Replace a file's content in one step, that survives a loss of power if it is to last.

    Raises DiskError; the old content then stays.
    """
    # ext4 writes back at once what was truncated before
    with replacing(path, lasting=lasting) as part, part.open("r+b") as stream:
        stream.write(content)


@contextmanager
def replacing(path: Path, *, lasting: bool = True) -> Iterator[Path]:
    """Give a place to write a file anew; it takes the old one's in one step, once whole.

    What is not to last is not forced to the disk, which may take a tenth of a second, and for a
    moment neither is there. A link in the file's place is replaced, not followed. Raises
    DiskError where the disk does not take it; nothing is left behind then.
    """
    part = path.with_name(f"{PART}{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK, 0o666))
        yield part
        if lasting:
            sync(part)
        else:
            path.unlink(missing_ok=True)  # what takes another file's place is written back, too
        part.replace(path)
        if lasting:
            sync(path.parent)
    except BaseException as error:
        with suppress(OSError):
            part.unlink()
        if isinstance(error, OSError):
            raise DiskError(
                f"{path} cannot be written: {reason_of(error)}; all that was stored before is"
                f" whole: {remedy_for(error)}, and go on with --amlnn-resume"
            ) from error
        raise


def sync(path: Path) -> None:
    """Force a file or folder to the disk, so that a power cut cannot undo it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise SyncError(error.errno, f"fsync says: {error.strerror}") from error
    finally:
        os.close(descriptor)


def remove_parts(folder: Path) -> None:
    """Remove the unfinished files that killed processes left in a folder."""
    with suppress(FileNotFoundError):
        for part in [path for path in folder.iterdir() if path.name.startswith(PART)]:
            with suppress(OSError):  # a folder, which is none of ours
                part.unlink()


def reason_of(error: OSError) -> str:
    """Say what went wrong, without a path: the message names the one that matters."""
    return error.strerror or str(error)


def remedy_for(error: OSError) -> str:
    """Say what to do where a file cannot be written."""
    told = re.search(r"os error (\d+)", str(error))  # safetensors passes on no number
    number = error.errno or (int(told[1]) if told else 0)
    if number in REMEDIES:
        return REMEDIES[number]
    if isinstance(error, SyncError):
        return f"its file system does not confirm what is written: {ELSEWHERE}"
    return f"its file system fails: {ELSEWHERE}"


# locks


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a file's lock, waiting until it is free; DiskError where there are no locks."""
    from filelock import FileLock  # not before it is needed: it takes a while

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # without real locks a killed process would leave the file locked
        held = FileLock(path, fallback_to_soft=False).acquire()
    except OSError as error:
        remedy = UNLOCKED if error.errno in NO_LOCKS else remedy_for(error)
        raise DiskError(f"{path} cannot be locked: {reason_of(error)}; {remedy}") from error
    with held:
        yield
