"""Files are whole or not there."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest
import sweeps
from small_runs import everything

from pytest_amlnn import disk
from pytest_amlnn.cli import main


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


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room: your quota is used up"),
        (errno.EROFS, "read-only: name a folder elsewhere"),
        (errno.EACCES, "you lack the right to write there"),
        (errno.EIO, "its file system fails: name a folder elsewhere"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EMFILE, "ulimit -n"),
    ],
    ids=errno.errorcode.get,
)
def test_remedy_fits_the_error(number, words, tmp_path, monkeypatch):
    """What the system says is passed on, with what helps against just that."""

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    disk.write(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(disk.DiskError) as caught:
        disk.write(tmp_path / "file", b"new")
    monkeypatch.undo()

    assert f"file cannot be written: {os.strerror(number)}; " in str(caught.value)
    assert words in str(caught.value)
    assert ("make room" in str(caught.value)) == ("make room" in words)
    assert (tmp_path / "file").read_bytes() == b"old"


def test_number_in_words_is_understood():
    """safetensors passes on what the system said as text; the remedy is the same."""
    assert disk.remedy_for(OSError("I/O error: No space left (os error 28)")) == disk.ROOM


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO, errno.ENOTSUP, errno.ENOSPC])
def test_failing_fsync_is_named(number, tmp_path, monkeypatch):
    """Where the system does not confirm a write, that is said; room helps only a full disk."""

    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(disk.DiskError, match="fsync says: ") as caught:
        disk.write(tmp_path / "file", b"new")

    assert ("make room" in str(caught.value)) == (number == errno.ENOSPC)
    assert ("does not confirm" in str(caught.value)) == (number != errno.ENOSPC)
    assert everything(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_file_system_without_locks_is_named(number, tmp_path, monkeypatch):
    """Without locks two sweeps could not share a folder: another one is asked for."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with (
        pytest.raises(disk.DiskError, match="case cannot be locked: .*its file system has no"),
        disk.lock(tmp_path / "case"),
    ):
        pass


def test_what_is_raised_under_a_lock_passes(tmp_path):
    """An error of the work is not taken for one of the lock, and the lock ends."""
    for _ in range(2):
        with pytest.raises(OSError, match="mine"), disk.lock(tmp_path / "case"):
            raise OSError("mine")


def test_new_file_has_the_rights_that_others_have(tmp_path):
    """A file is as readable as any that the user's programs write."""
    disk.write(tmp_path / "file", b"new")
    (tmp_path / "other").write_bytes(b"new")

    assert (tmp_path / "file").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_more_than_is_allowed_is_not_read(tmp_path):
    """A file is read whole up to its bound, and not at all beyond."""
    (tmp_path / "file").write_bytes(b"12345")

    assert disk.read(tmp_path / "file", 5) == b"12345"
    with pytest.raises(disk.DiskError, match="it has more than 4 bytes"):
        disk.read(tmp_path / "file", 4)


# whole sweeps


@pytest.mark.slow
def test_sweep_below_a_folder_whose_name_is_no_text(zygote, tmp_path):
    """With a byte in its path that is no UTF-8 a sweep is trained, resumed and reported."""
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    (folder / "test_small.py").write_text(sweeps.BENCHMARKS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    repository = sweeps.Repository(zygote=zygote, folder=tmp_path)
    for more in ((), ("--amlnn-resume",)):
        sweep = repository.start("caf\udce9", "--amlnn-out=caf\udce9/out", *more)

        assert sweep.wait() == 0, sweep.output.read_bytes()
    plan = json.loads((folder / "out" / "plan.json").read_text())

    assert plan["cases"][0]["nodeid"] == r"caf\udce9/test_small.py::test_small[one]"
    assert main(["report", str(folder / "out")]) == 0


REFUSING = """
import os, {module}

def refuse(*_):
    raise OSError({number}, os.strerror({number}))

{module}.{function} = refuse
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "function", "number", "words"),
    [
        ("fcntl", "flock", errno.ENOLCK, "its file system has no locks"),
        ("os", "fsync", errno.EINVAL, "fsync says: Invalid argument"),
        ("os", "fsync", errno.EIO, "its file system does not confirm what is written"),
    ],
)
def test_sweep_on_a_poor_file_system_ends_in_words(
    module, function, number, words, zygote, tmp_path
):
    """What a file system lacks is said once, and is no fault of pytest's."""
    (tmp_path / "test_small.py").write_text(sweeps.BENCHMARKS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    text = REFUSING.format(module=module, function=function, number=number)
    (tmp_path / "conftest.py").write_text(text)
    status, text = sweeps.Repository(zygote=zygote, folder=tmp_path).run()

    assert status == pytest.ExitCode.USAGE_ERROR
    assert words in text
    assert "INTERNALERROR" not in text
    assert "Traceback" not in text
    assert "make room" not in text
