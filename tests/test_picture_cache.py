"""The cache of decoded pictures: what it believes, and what others can do to it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from pathlib import Path

import numpy as np
import pytest
from pictures_on_disk import jpeg, original, write, write_folder, write_zip

from amlnn_datasets import picture_archive, picture_cache, tiny_imagenet
from pytest_amlnn import cli
from pytest_amlnn.data import DataError

ASKED = {"size": 6, "classes": 3, "validation": 3}
STRANGER = 12_345
"""A user's number."""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AMLNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tiny-imagenet"


@pytest.fixture(params=["zip", "folder"])
def kind(request):
    return request.param


@pytest.fixture
def archive(tmp_path):
    return write_zip(tmp_path / "pictures.zip", original())


def examples(path):
    """Return all that training and test see, copied out of the cache."""
    found = tiny_imagenet.splits(path, **ASKED)
    parts = (found.train, found.validation, found.test)
    return [
        *(part.inputs[part.rows].tobytes() for part in parts),
        *([*zip(part.names, part.targets.tolist(), strict=True)] for part in parts),
        found.facts,
    ]


def entry(cache):
    """Return the folder of the only entry."""
    (found,) = (folder for folder in cache.iterdir() if len(folder.name) == 64)
    return found


def keeping_times(path, change):
    """Change a file and give it back the time at which it was written before."""
    status = path.stat()
    change(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def zero(path):
    """Blank the middle of a file, in place."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(bytes(1000))


def swap_halves(path):
    """Exchange two pictures, in place."""
    size = 64 * 64 * 3
    with path.open("r+b") as file:
        file.seek(-2 * size, os.SEEK_END)
        last = file.read()
        file.seek(-2 * size, os.SEEK_END)
        file.write(last[size:] + last[:size])


def relabel(path):
    """Exchange two classes in the index."""
    text = path.read_text()
    path.write_text(text.replace("n10", "nXX").replace("n20", "n10").replace("nXX", "n20"))


def link(path):
    """Put a link to the same content in place of a file."""
    moved = path.rename(path.with_suffix(".moved"))
    path.symlink_to(moved)


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        *(("train.npy", harm) for harm in (zero, swap_halves, link)),
        *(("val.npy", harm) for harm in (zero, link)),
        *(("index.json", harm) for harm in (zero, relabel, link)),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_changed_entry_is_never_trained_on(archive, cache, name, harm, capsys):
    """Whatever is changed in an entry, size and time being kept, it is decoded anew."""
    first = examples(archive)
    keeping_times(entry(cache) / name, harm)

    assert examples(archive) == first
    assert "was damaged, or of another version" in capsys.readouterr().err


def test_entry_of_another_archive_is_not_taken(tmp_path, cache):
    """Two entries that were exchanged are not each other's."""
    first = write_zip(tmp_path / "first.zip", original())
    second = write_zip(tmp_path / "second.zip", {**original(), "wnids.txt": b""} | original())
    other = {**original(), "train/n10/images/n10_0.JPEG": jpeg(77)}
    write_zip(second, other)
    seen = [examples(first), examples(second)]
    one, two = (cache / each[-1]["digest"] for each in seen)
    for source, target in ((one, cache / "x"), (two, one), (cache / "x", two)):
        source.rename(target)

    assert [examples(first), examples(second)] == seen


def test_restored_cache_is_checked_once_and_kept(archive, cache, monkeypatch):
    """A cache that was copied is read once, not decoded again; then it is not read either."""
    first = examples(archive)
    copy = shutil.copytree(cache, cache.with_name("copy"))
    shutil.rmtree(cache)
    copy.rename(cache)
    monkeypatch.setattr(picture_cache, "write", None)

    assert examples(archive) == first
    monkeypatch.setattr(picture_cache, "_array_digest", None)
    assert examples(archive) == first


def test_untouched_entry_is_not_read_again(archive, monkeypatch):
    """At the start of a case only the index is read."""
    first = examples(archive)
    monkeypatch.setattr(picture_cache, "_array_digest", None)

    assert examples(archive) == first


def recoloured(files):
    """Return other pictures and labels of the same sizes under the same names."""
    changed = dict(files)
    one, two = "train/n10/images/n10_0.JPEG", "train/n10/images/n10_1.JPEG"
    size = max(len(files[one]), len(files[two]))
    for name, data in ((one, files[two]), (two, files[one])):
        changed[name] = data + bytes(size - len(data))
    files[one], files[two] = (files[name].ljust(size, b"\0") for name in (one, two))
    lines = files["val/val_annotations.txt"].replace(b"n30", b"nXX").replace(b"n10", b"n30")
    changed["val/val_annotations.txt"] = lines.replace(b"nXX", b"n10")
    return changed


def freeze(path):
    """Give all files of an archive one time."""
    for each in [path, *path.rglob("*")] if path.is_dir() else [path]:
        os.utime(each, ns=(10**18, 10**18))


@pytest.mark.parametrize("way", ["replaced", "rewritten"])
def test_archives_of_equal_names_sizes_and_times_differ(tmp_path, kind, way):
    """An archive in place of another, of equal names, sizes and times, has its own examples."""
    files = original()
    others = recoloured(files)
    path = write(tmp_path, kind, files)
    freeze(path)
    first = examples(path)
    before = path.stat()
    if way == "replaced":
        path.rename(tmp_path / "old")
    write(tmp_path, kind, others)
    freeze(path)
    second = examples(path)

    assert (before.st_size, before.st_mtime_ns) == (path.stat().st_size, 10**18)
    assert second[0] != first[0]
    assert second[5] != first[5]
    assert second[-1]["digest"] != first[-1]["digest"]


def test_folder_is_known_by_its_content(tmp_path, monkeypatch):
    """A folder that was copied, at other times, has the digest of the first."""
    first = examples(write_folder(tmp_path / "pictures", original()))
    monkeypatch.setattr(picture_cache, "write", None)
    (tmp_path / "copy").mkdir()
    copy = write_folder(tmp_path / "copy" / "pictures", original())
    freeze(copy)

    assert examples(copy) == first


def test_archive_is_read_once_later_writes_show(archive, monkeypatch):
    """What was just written is read only when a later write gets a later time."""
    ages = []
    digest = picture_archive.digest

    def recorded(path):
        ages.append(time.time_ns() - path.stat().st_ctime_ns)
        return digest(path)

    monkeypatch.setattr(picture_archive, "digest", recorded)
    archive.write_bytes(archive.read_bytes())
    examples(archive)

    assert ages[0] >= 19_000_000


# amlnn fetch --verify


def test_verify_reads_all_and_removes_what_is_damaged(archive, cache, capsys, monkeypatch):
    """`amlnn fetch tiny-imagenet --verify` finds what nothing else shows."""
    monkeypatch.setattr("amlnn_datasets.tiny_imagenet.download", None)
    first = examples(archive)
    folder = entry(cache)
    assert cli.main(["fetch", "tiny-imagenet", "--verify"]) == 0
    assert str(folder) in capsys.readouterr().out
    zero(folder / "train.npy")  # as a failing disk does: nothing tells of a write
    statuses = {n: picture_cache.stamp((folder / n).lstat()) for n in ("train.npy", "val.npy")}
    (folder / "checked.json").write_text(json.dumps(statuses))
    assert cli.main(["fetch", "tiny-imagenet", "--verify"]) == 1
    told = capsys.readouterr().err

    assert "are removed" in told
    assert folder.name in told
    assert not folder.exists()
    assert examples(archive) == first


# places that others made


def hand_over(path, monkeypatch):
    """Let a folder belong to another user."""
    if os.geteuid() == 0:
        os.chown(path, STRANGER, STRANGER)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: STRANGER)


@pytest.mark.parametrize("made", ["empty", "full"])
def test_cache_of_another_user_is_refused(archive, cache, made, monkeypatch):
    """A folder that somebody else made in its place is neither written to nor believed."""
    if made == "full":
        tiny_imagenet.splits(archive, **ASKED)
    cache.mkdir(parents=True, exist_ok=True)
    hand_over(cache, monkeypatch)
    before = sorted(cache.rglob("*"))

    with pytest.raises(DataError, match=r"belongs to another user.*AMLNN_CACHE"):
        tiny_imagenet.splits(archive, **ASKED)
    assert sorted(cache.rglob("*")) == before


def test_cache_that_everybody_may_write_is_refused(archive, cache):
    """A folder that others may write to is refused, with the command that mends it."""
    cache.mkdir(parents=True)
    cache.chmod(0o777)

    with pytest.raises(DataError, match="chmod o-w"):
        tiny_imagenet.splits(archive, **ASKED)


def test_cache_is_our_own_whatever_the_mask(archive, cache):
    """A folder that we make is ours alone, even where new folders are everybody's."""
    mask = os.umask(0)
    try:
        tiny_imagenet.splits(archive, **ASKED)
    finally:
        os.umask(mask)

    assert not cache.stat().st_mode & stat.S_IWOTH
    assert len(tiny_imagenet.splits(archive, **ASKED).train) == 6


@pytest.mark.parametrize("place", ["file", "ring", "nothing"])
def test_cache_in_an_odd_place_is_named(archive, cache, place):
    """A file, or a link to itself or to nothing, in place of the cache is named."""
    cache.parent.mkdir()
    if place == "file":
        cache.touch()
    else:
        cache.symlink_to(cache if place == "ring" else "/nowhere")

    with pytest.raises(DataError, match=f"{cache}: cannot keep .*AMLNN_CACHE"):
        tiny_imagenet.splits(archive, **ASKED)


def test_cache_on_another_disk_is_followed(archive, cache, tmp_path):
    """A link of the user's own to a folder of his own is a cache."""
    (tmp_path / "large").mkdir()
    cache.parent.mkdir()
    cache.symlink_to(tmp_path / "large")

    assert len(tiny_imagenet.splits(archive, **ASKED).train) == 6


def test_planted_links_lead_nowhere(archive, cache, tmp_path):
    """What links in the cache lead to is neither removed nor written."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "kept").write_text("kept")
    digest = picture_archive.digest(archive)
    cache.mkdir(parents=True)
    for name in (digest, "building-1", f"building-{os.getpid()}", "known"):
        (cache / name).symlink_to(victim)
    first = examples(archive)

    assert first[-1]["digest"] == digest
    assert (cache / digest).is_dir()
    assert not (cache / digest).is_symlink()
    assert (victim / "kept").read_text() == "kept"
    assert [path.name for path in victim.iterdir()] == ["kept"]


def test_unknown_home_is_no_traceback(archive, monkeypatch):
    """A path that begins with the home of nobody is a path like others."""
    monkeypatch.setenv("AMLNN_CACHE", "~nobody-of-that-name/cache")
    assert tiny_imagenet.locate("~nobody-of-that-name/x.zip") == Path(
        "~nobody-of-that-name/x.zip"
    )
    with pytest.raises(DataError, match="no such file"):
        tiny_imagenet.check(tiny_imagenet.locate("~nobody-of-that-name/x.zip"))


def test_path_that_no_system_takes_is_named(monkeypatch):
    """A path that is too long is refused in words, wherever it is given."""
    path = Path("/" + "x" * 300)
    for ask in (tiny_imagenet.check, lambda path: tiny_imagenet.unavailable(path, **ASKED)):
        with pytest.raises(DataError, match="cannot be read .*too long"):
            ask(path)
    monkeypatch.setenv("AMLNN_CACHE", str(path))
    with pytest.raises(DataError, match=r"too long.*AMLNN_CACHE"):
        tiny_imagenet.locate(None)


def test_room_is_asked_for_before_decoding(archive, cache, monkeypatch):
    """Where the disk has less room than the pictures need, nothing is decoded."""
    usage = shutil.disk_usage(archive.parent)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(picture_cache, "_write_pictures", None)

    with pytest.raises(DataError, match=r"bytes are needed, 1,000 are free.*make room"):
        tiny_imagenet.splits(archive, **ASKED)


def test_pictures_are_mapped_as_they_are(archive):
    """Arrays have the shape of pictures, and their pages are the process's own."""
    found = tiny_imagenet.splits(archive, **ASKED).train.inputs

    assert isinstance(found, np.memmap)
    assert found.shape == (36, 64, 64, 3)
    assert found.mode == "c"
