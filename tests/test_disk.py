"""Files are whole or not there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from small_runs import everything

from pytest_amlnn import disk


def test_file_is_replaced(tmp_path):
    """Folders are made as needed, and a second write takes the place of the first."""
    path = tmp_path / "deep" / "down" / "file"
    for content in (b"a long first one", b"second"):
        disk.write(path, content)

    assert path.read_bytes() == b"second"
    assert everything(tmp_path) == ["deep", "deep/down", "deep/down/file"]


def test_failing_write_leaves_the_old_file(tmp_path):
    """On a full disk the old file stays whole, and nothing else is left behind."""
    path = tmp_path / "file"
    disk.write(path, b"old")
    fill = f"""
import resource
from pathlib import Path
from pytest_amlnn import disk
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
disk.write(Path({str(path)!r}), b"x" * 5000)
"""
    done = subprocess.run([sys.executable, "-c", fill], capture_output=True, text=True)

    assert "File too large" in done.stderr
    assert path.read_bytes() == b"old"
    assert everything(tmp_path) == ["file"]


def test_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    """Ctrl-C before the data are on disk leaves the old file and no temporary one."""

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "file"
    disk.write(path, b"old")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        disk.write(path, b"new")

    assert path.read_bytes() == b"old"
    assert everything(tmp_path) == ["file"]
