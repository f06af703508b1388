"""Archives as people have them: with what systems leave behind, and lists saved anywhere."""

from __future__ import annotations

import codecs
import io
import os
from pathlib import Path

import pictures_on_disk
import pytest
from pictures_on_disk import ANNOTATIONS, jpeg, write, write_folder, write_zip
from PIL import Image

from amlnn_datasets import tiny_imagenet
from pytest_amlnn.data import DataError
from pytest_amlnn.escapes import visible

FILES = pictures_on_disk.original(train=4, val=1)
ASKED = {"size": 3, "classes": 3, "validation": 3}
LEFT_BEHIND = (
    *("Thumbs.db", "thumbs.DB", "ehthumbs_vista.db", "Thumbs.db:encryptable", "desktop.ini"),
    *(".DS_Store", "._n10_0.JPEG", ".n10_0.JPEG.swp", ".hidden.JPEG", ".directory", "Icon\r"),
    *("n10_0.JPEG:Zone.Identifier", "n10_0.JPEGZone.Identifier", "n10_0.JPEG~", "x.swp"),
    *("n10_0.JPEG:com.dropbox.attrs:$DATA", "n10_1.JPEG.crdownload", "#n10_0.JPEG#", "x.tmp"),
    *(".ipynb_checkpoints/n10_0-checkpoint.JPEG", "@eaDir/n10_0.JPEG/SYNOPHOTO_THUMB_M.jpg"),
    *(".Trash-1000/files/n10_0.JPEG", ".git/config", ".gitignore", ".fseventsd/0001", "README"),
    *("__MACOSX/._n10_0.JPEG", "$RECYCLE.BIN/x.JPEG", "LICENSE.txt", "readme.md", ".nfs00001"),
)
PLACES = ("", "train/", "train/n10/", "train/n10/images/", "val/", "val/images/")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AMLNN_CACHE", str(tmp_path / "cache"))


def original() -> dict[str, bytes]:
    """Return the files of an archive that has no more than is asked for."""
    return dict(FILES)


@pytest.fixture(params=["zip", "folder"])
def kind(request):
    return request.param


def examples(path: Path) -> list[object]:
    """Return what an archive is trained on."""
    found = tiny_imagenet.splits(path, **ASKED)
    parts = (found.train, found.validation, found.test)
    return [found.classes, *((part.names, part.targets.tolist()) for part in parts)]


def refusal(path: Path) -> str:
    """Return the words with which an archive is refused before it is decoded."""
    with pytest.raises(DataError) as caught:
        tiny_imagenet.check(path)
    return str(caught.value)


def test_files_that_systems_leave_change_nothing(tmp_path, kind):
    """Wherever a system leaves its files, they are no examples; a folder is the same one."""
    left = {f"{place}{name}": b"x" for place in PLACES for name in LEFT_BEHIND}
    left["train/n10/images/Thumbs.db"] = bytes(2_000_000)  # more than a picture may have
    clean, littered = (tmp_path / name for name in ("clean", "littered"))
    for folder, files in ((clean, {}), (littered, left)):
        folder.mkdir()
        write(folder, kind, {**files, **original()})
    (clean,), (littered,) = clean.iterdir(), littered.iterdir()

    assert examples(littered) == examples(clean)
    if kind == "folder":
        digests = [tiny_imagenet.splits(p, **ASKED).facts["digest"] for p in (clean, littered)]
        assert digests[0] == digests[1]


def test_a_second_root_that_macos_adds_is_none(tmp_path):
    """The folder __MACOSX, with the layout of the archive beside it, is not looked into."""
    files = {f"tiny-imagenet-200/{name}": data for name, data in original().items()}
    shadow = {
        f"__MACOSX/tiny-imagenet-200/{Path(name).parent}/._{Path(name).name}": b"\0\5\x16\7"
        for name in original()
    }
    path = write_zip(tmp_path / "mac.zip", {**files, **shadow}, root="")

    assert examples(path) == examples(write_zip(tmp_path / "plain.zip", original()))


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("train/n10/images/notes.txt", b"see below", "notes.txt (text)"),
        ("val/images/list.csv", b"a,b", "list.csv (text)"),
        ("train/n10/images/n10_99.png", b"\x89PNG\r\n\x1a\n", "n10_99.png (a PNG)"),
        ("train/n10/images/cache.bin", b"\x01\x02\xff", "cache.bin;"),
    ],
)
def test_other_files_among_pictures_are_named(tmp_path, kind, name, data, words):
    """A file that is no picture and that no system left is named before anything is decoded."""
    told = refusal(write(tmp_path, kind, {**original(), name: data}))

    assert words in told
    assert "archive again" not in told
    assert "remove or rename it" in told


def image(format: str) -> bytes:
    """Return a picture in another format."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, format)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        *((image(name), f"a {name}") for name in ("PNG", "GIF", "BMP", "TIFF")),
        (image("WEBP"), "a WebP"),
        (b"", "empty"),
        (b"<!DOCTYPE html><title>Sign in</title>", "a web page, or XML"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS"),
        (bytes(500), "only zeros"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_kind_of_file_is_said_to_be_one(tmp_path, kind, data, words):
    """What is called a JPEG and is something else is called by its kind, and not damaged."""
    path = write(tmp_path, kind, {**original(), "train/n10/images/n10_3.JPEG": data})
    with pytest.raises(DataError) as caught:
        tiny_imagenet.splits(path, **ASKED)

    assert f"n10_3.JPEG ({words}" in str(caught.value)
    assert "not a JPEG" in str(caught.value)
    assert "get the archive again" not in str(caught.value)


@pytest.mark.parametrize(
    ("roots", "words"),
    [
        (["a/", "b/"], ["several folders with a train/: a/, b/"]),
        (["a/b/"], ["too far down, in a/b/"]),
        (["a/b/", "a/c/"], ["several folders with a train/: a/b/, a/c/"]),
        (["a/b/c/"], ["too far down, in a/b/c/"]),
    ],
)
def test_archive_with_other_roots_is_said_to_hold_them(tmp_path, kind, roots, words):
    """Where train/ lies twice, or too deep, the folders that hold it are named."""
    files = {f"{root}{name}": data for root in roots for name, data in original().items()}
    path = tmp_path / "pictures"
    told = refusal(
        write_zip(path, files, root="") if kind == "zip" else write_folder(path, files)
    )

    assert "no train/" not in told
    assert all(word in told for word in words)


def test_archive_of_something_else_is_said_to_hold_it(tmp_path, kind):
    """Where train/ is missing, what there is instead is named."""
    path = write(
        tmp_path, kind, {"cifar/data_batch_1": b"x", "cifar/x/y": b"", "Thumbs.db": b"x"}
    )

    assert "holds no train/, but " in refusal(path)
    assert ("cifar/" if kind == "folder" else "tiny-imagenet-200/") in refusal(path)
    assert "Thumbs" not in refusal(path)


@pytest.mark.parametrize(
    "name",
    ["train/n10/images/N10_0.jpeg", "train/N10/images/n10_99.JPEG", "val/images/VAL_0.JPEG"],
)
def test_names_that_differ_by_case_are_refused(tmp_path, kind, name):
    """Two names that are one on other systems are named: the examples would differ there."""
    told = refusal(write(tmp_path, kind, {**original(), name: jpeg(1)}))

    assert "are one on systems that ignore case" in told
    assert name.rpartition("/")[0] in told


ENCODINGS = {
    "utf-8": b"",
    "utf-8-sig": b"",
    "utf-16": b"",
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
}


@pytest.mark.parametrize(
    ("encoding", "end"),
    [
        *zip(ENCODINGS, ["\r\n", "\n", "\r", " \n\n", "\t\r\n"], strict=True),
        ("utf-8", "\r"),
        ("utf-8-sig", "\r\n"),
    ],
)
def test_lists_may_be_saved_on_any_system(tmp_path, encoding, end):
    """Marks of byte order, line ends and blanks at them change no class, label or word."""
    files = original()
    files["words.txt"] = "n10\tFisch\x85, Kärpfling\nn20\tbullfrog, frog\nn30\tlion".encode()
    plain = tiny_imagenet.splits(write_zip(tmp_path / "plain.zip", files), **ASKED)
    for name in ("wnids.txt", "words.txt", ANNOTATIONS):
        text = files[name].decode().replace("\n", end)
        files[name] = ENCODINGS[encoding] + text.encode(encoding)
    path = write_zip(tmp_path / "saved.zip", files)
    saved = tiny_imagenet.splits(path, **ASKED)

    assert examples(path) == examples(tmp_path / "plain.zip")
    assert saved.facts["words"] == plain.facts["words"]
    assert saved.facts["words"]["n10"] == "Fisch\x85, Kärpfling"


def test_lists_may_be_put_together(tmp_path):
    """Marks of byte order that stand at the beginning of any line change no class and word."""
    files = original()
    write_zip(tmp_path / "plain.zip", files)
    for name in ("wnids.txt", "words.txt", ANNOTATIONS):
        lines = files[name].decode().split("\n")
        files[name] = "\n".join(f"\ufeff\ufeff{line}" for line in lines).encode()
    write_zip(tmp_path / "marked.zip", files)
    plain, marked = (
        tiny_imagenet.splits(tmp_path / f"{name}.zip", **ASKED) for name in ("plain", "marked")
    )

    assert examples(tmp_path / "marked.zip") == examples(tmp_path / "plain.zip")
    assert marked.facts["words"] == plain.facts["words"]


@pytest.mark.parametrize("name", ["wnids.txt", "words.txt", ANNOTATIONS])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-32", "latin-1"])
def test_lists_that_are_no_text_are_named(tmp_path, kind, name, encoding):
    """A list in an encoding that nothing tells is refused by its name, with what to do."""
    files = original()
    files[name] = ("n10\té\n" + files[name].decode()).encode(encoding)
    told = refusal(write(tmp_path, kind, files))

    assert f"{name} cannot be read" in told
    assert "save it as text in UTF-8" in told


def test_names_that_are_no_text_can_be_shown_and_stored(tmp_path):
    """Bytes of a folder's names that are no UTF-8 are escaped in examples and in messages."""
    strange = Path(os.fsdecode(bytes(tmp_path) + b"/d\xe9p\x1b[2Jot"))
    write_folder(strange, original())
    place = bytes(strange) + b"/train/n10/images/n10_\xff.JPEG"
    Path(os.fsdecode(place)).write_bytes(jpeg(3))
    found = tiny_imagenet.splits(strange, size=6, classes=3, validation=2)

    assert r"n10_\xff.JPEG" in found.validation.names
    assert found.facts["source"] == r"d\udce9p\x1b[2Jot"
    (strange / ANNOTATIONS).unlink()
    told = refusal(strange)
    assert told.encode()
    assert told.startswith(visible(strange))
    assert "\x1b" not in told


@pytest.mark.parametrize("place", ["train/n10/images/n10_0.JPEG", ANNOTATIONS, "words.txt"])
@pytest.mark.parametrize("harm", ["pipe", "device", "ring", "nothing"])
def test_what_is_no_file_is_not_read(tmp_path, place, harm):
    """A pipe, a device or a link that leads nowhere is named and never opened."""
    path = write_folder(tmp_path / "pictures", original())
    victim = path / place
    victim.unlink()
    if harm == "pipe":
        os.mkfifo(victim)
    else:
        target = {"device": "/dev/zero", "ring": victim, "nothing": "/nowhere"}[harm]
        victim.symlink_to(target)

    assert f"{place} is no file, but" in refusal(path)


@pytest.mark.parametrize("harm", ["pipe", "device"])
def test_given_path_that_is_no_file_is_not_read(tmp_path, harm):
    """A pipe or a device in place of the archive is said to be one."""
    path = tmp_path / "pictures.zip"
    if harm == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")

    assert refusal(path) == f"{path}: a device or a pipe; name Tiny ImageNet's zip or folder"


def test_links_to_pictures_are_followed(tmp_path):
    """A folder whose pictures are links, as data tools make them, is read."""
    path = write_folder(tmp_path / "pictures", original())
    picture = path / "train/n10/images/n10_0.JPEG"
    picture.rename(tmp_path / "store")
    picture.symlink_to(tmp_path / "store")

    assert len(tiny_imagenet.splits(path, **ASKED).train) == 3


@pytest.mark.parametrize("name", ["folder/x.tar", "page.html"])
def test_other_archives_are_said_to_be_what_they_are(tmp_path, name):
    """A file that is no zip is called by its kind."""
    path = tmp_path / Path(name).name
    path.write_bytes({".tar": b"\x1f\x8b\x08", ".html": b"<html>login</html>"}[path.suffix])

    assert "not a zip, but a" in refusal(path)
