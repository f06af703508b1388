"""The user's folder of downloads and prepared data, which nobody else may write to."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from platformdirs import user_cache_dir

from pytest_amlnn.disk import expanded


def cache_folder() -> Path:
    """Return where downloads and prepared data are kept (env `AMLNN_CACHE`)."""
    named = os.environ.get("AMLNN_CACHE") or user_cache_dir("amlnn")
    return expanded(named).absolute()


def own_folder(folder: Path) -> Path:
    """Make a folder, or take it if it is this user's alone; raises OSError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o755, exist_ok=True)
    check_own_folder(folder)
    return folder


def check_own_folder(folder: Path) -> None:
    """Refuse a folder whose files others could have made; raises OSError.

    A link to it is followed if it is the user's own, as to a larger disk.
    """
    for status in (folder.lstat(), folder.stat()):
        if hasattr(os, "geteuid") and status.st_uid not in {os.geteuid(), 0}:
            raise PermissionError(f"{folder} belongs to another user, number {status.st_uid}")
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(f"{folder} is no folder")
    if os.name == "posix" and status.st_mode & stat.S_IWOTH:
        raise PermissionError(f"every user may write to {folder}: `chmod o-w` it")
