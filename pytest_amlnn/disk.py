"""Files that are whole or not there, whatever happens meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DiskError(Exception):
    """A file that cannot be written; the message names it and says what to do."""


def write(path: Path, content: bytes) -> None:
    """Replace a file's content in one step that survives a loss of power.

    Raises DiskError; the old content then stays.
    """
    with replacing(path) as part:
        part.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a place to write a file anew; it takes the old one's in one step, once whole.

    Raises DiskError where the disk does not take it; nothing is left behind then.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        sync(part)
        part.replace(path)
        sync(path.parent)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise DiskError(
                f"{path} cannot be written: {error.strerror or error}; all that was stored"
                " before is whole: make room, and go on with --amlnn-resume"
            ) from error
        raise


def sync(path: Path) -> None:
    """Force a file or folder to the disk, so that a power cut cannot undo it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
