"""What Tiny ImageNet's module promises, on small archives and on the real one."""

from __future__ import annotations

import io
import os
import pty
import re
import shutil
import stat
import subprocess
import sys
import time
import tracemalloc
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures_on_disk import (
    ANNOTATIONS,
    WNIDS,
    jpeg,
    original,
    write,
    write_folder,
    write_zip,
    zipped,
)
from PIL import Image, ImageFile
from sweeps import rounds

from amlnn_datasets import picture_archive, picture_cache, tiny_imagenet
from pytest_amlnn import preparing
from pytest_amlnn.data import DataError

REAL = Path(__file__).parents[2] / "shared" / "tiny-imagenet-200.zip"
KINDS = ("zip", "folder")
SMALL = {"size": 6, "classes": 3, "validation": 3}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AMLNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tiny-imagenet"


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def archive(tmp_path):
    return write_zip(tmp_path / "pictures.zip", original())


def entries(cache):
    """Return the finished entries of a cache."""
    return [folder for folder in cache.glob("*") if len(folder.name) == 64]


def unfinished(cache):
    """Return what a cache holds beside entries, notes and the lock."""
    known = {*entries(cache), cache / "known", cache / "build.lock"}
    return sorted(set(cache.glob("*")) - known)


def pixels(data):
    """Decode one picture without the code under test."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def start(command, *arguments, stderr=subprocess.PIPE):
    """Start a Python process that has the module and this test's cache."""
    code = (
        "import resource, sys; from pathlib import Path; "
        "from amlnn_datasets import picture_archive, picture_cache, tiny_imagenet; "
        "path = Path(sys.argv[1]); "
        "take = lambda: tiny_imagenet.splits(path, size=6, classes=3, validation=3); "
    )
    return subprocess.Popen(
        [sys.executable, "-c", code + command, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


# Splits


def test_rows_names_and_labels_agree(tmp_path, kind):
    """Each row holds the pixels of the file it is named after, under its class."""
    files = original()
    found = tiny_imagenet.splits(write(tmp_path, kind, files), **SMALL)

    for split in (found.train, found.validation):
        for row, label, name in zip(split.rows, split.targets, split.names, strict=True):
            wnid = name.partition("_")[0]
            data = files[f"train/{wnid}/images/{name}"]
            assert found.classes[label] == wnid
            assert np.array_equal(split.inputs[row], pixels(data))


def test_test_labels_come_from_the_annotations(tmp_path, kind):
    """The test split is val, each picture labelled as its annotation says."""
    files = original()
    found = tiny_imagenet.splits(write(tmp_path, kind, files), **SMALL)

    labels = dict(line.split("\t")[:2] for line in files[ANNOTATIONS].decode().splitlines())
    assert found.test.names == sorted(labels)
    for row, label, name in zip(
        found.test.rows, found.test.targets, found.test.names, strict=True
    ):
        assert found.classes[label] == labels[name]
        data = files[f"val/images/{name}"]
        assert np.array_equal(found.test.inputs[row], pixels(data))


def test_classes_are_sorted(archive):
    """Labels follow the sorted wnids, not the order of wnids.txt."""
    found = tiny_imagenet.splits(archive, **SMALL)

    assert found.classes == ("n10", "n20", "n30") != WNIDS


def test_fewer_classes_are_the_first_ones(archive):
    """With fewer classes all splits hold the first of them and no others."""
    found = tiny_imagenet.splits(archive, size=4, classes=2, validation=1)

    assert found.classes == ("n10", "n20")
    for split in (found.train, found.validation, found.test):
        assert set(split.targets) == {0, 1}
    assert len(found.test) == 4


def test_files_are_taken_in_text_order(archive):
    """Training takes the first files and validation the last, `_10` before `_2`."""
    found = tiny_imagenet.splits(archive, size=12, classes=3, validation=2)

    ours = [name for name in found.train.names if name.startswith("n10")]
    late = [name for name in found.validation.names if name.startswith("n10")]
    assert ours == ["n10_0.JPEG", "n10_1.JPEG", "n10_10.JPEG", "n10_11.JPEG"]
    assert late == ["n10_8.JPEG", "n10_9.JPEG"]


def test_smaller_sizes_are_prefixes(archive):
    """A smaller training set begins a larger one; validation is the same for both."""
    small = tiny_imagenet.splits(archive, size=6, classes=3, validation=3)
    large = tiny_imagenet.splits(archive, size=27, classes=3, validation=3)

    assert small.train.names == large.train.names[:6]
    assert small.validation.names == large.validation.names
    assert np.bincount(small.train.targets).tolist() == [2, 2, 2]


def test_validation_is_never_trained_on(archive):
    """Even the largest training set shares no picture with validation."""
    found = tiny_imagenet.splits(archive, size=27, classes=3, validation=3)

    assert not set(found.train.rows) & set(found.validation.rows)
    assert len({*found.train.rows, *found.validation.rows}) == 36


def test_no_validation_is_possible(archive):
    """A validation of none leaves all pictures to training."""
    found = tiny_imagenet.splits(archive, size=36, classes=3, validation=0)

    assert len(found.train) == 36
    assert len(found.validation) == 0


def test_zip_and_folder_give_the_same_splits(tmp_path):
    """Zip and folder, with a root folder or without, give identical splits."""
    files = original()
    paths = [
        write_zip(tmp_path / "rooted.zip", files, root="some-name/"),
        write_zip(tmp_path / "flat.zip", files, root=""),
        write_folder(tmp_path / "flat", files),
        write_folder(tmp_path / "rooted" / "some-name", files).parent,
    ]
    first, *others = (tiny_imagenet.splits(path, **SMALL) for path in paths)

    for other in others:
        assert other.classes == first.classes
        for part in ("train", "validation", "test"):
            one, two = getattr(first, part), getattr(other, part)
            assert one.names == two.names
            assert np.array_equal(one.rows, two.rows)
            assert np.array_equal(one.targets, two.targets)
            assert np.array_equal(one.inputs, two.inputs)


def test_facts_say_what_was_used(archive):
    """The facts hold digest, file name, counts and the words of the used classes."""
    found = tiny_imagenet.splits(archive, size=4, classes=2, validation=1)

    assert found.facts == {
        "name": "tiny-imagenet",
        "digest": picture_archive.digest(archive),
        "source": "pictures.zip",
        "counts": {"train": 4, "validation": 2, "test": 4},
        "archive_counts": {"train": 36, "val": 6},
        "words": {"n10": "goldfish", "n20": "bullfrog, frog"},
    }


def test_lists_of_classes_may_be_missing(tmp_path, kind):
    """Without wnids.txt and words.txt the folders of train name the classes."""
    files = original()
    del files["wnids.txt"], files["words.txt"]
    found = tiny_imagenet.splits(write(tmp_path, kind, files), **SMALL)

    assert found.classes == ("n10", "n20", "n30")
    assert found.facts["words"] == {"n10": "n10", "n20": "n20", "n30": "n30"}


def test_hidden_files_are_no_pictures(tmp_path, kind):
    """What a file manager leaves beside the pictures changes nothing."""
    files = original()
    files["train/n10/images/._n10_0.JPEG"] = b"x"
    files["val/images/.DS_Store"] = b"x"
    found = tiny_imagenet.splits(write(tmp_path, kind, files), **SMALL)

    assert found.facts["archive_counts"] == {"train": 36, "val": 6}


def test_gray_pictures_become_rgb(tmp_path, kind):
    """A grayscale JPEG is kept with three equal channels."""
    files = original()
    files["train/n10/images/n10_0.JPEG"] = jpeg(5, mode="L")
    found = tiny_imagenet.splits(write(tmp_path, kind, files), **SMALL)

    picture = found.train.inputs[found.train.rows[0]]
    assert found.train.names[0] == "n10_0.JPEG"
    assert np.array_equal(picture, pixels(files["train/n10/images/n10_0.JPEG"]))
    assert np.array_equal(picture[..., 0], picture[..., 2])


def test_pictures_are_mapped_and_private(archive):
    """Inputs are a memory map that can be written to without changing the cache."""
    first = tiny_imagenet.splits(archive, **SMALL).train.inputs
    before = first[0].copy()
    first[0] = 255 - first[0]

    assert isinstance(first, np.memmap)
    again = tiny_imagenet.splits(archive, **SMALL).train.inputs
    assert np.array_equal(again[0], before)


@pytest.mark.parametrize("size", [1, 7, -3])
def test_size_is_a_multiple_of_the_classes(archive, size):
    """A size that cannot be shared out equally is refused."""
    with pytest.raises(ValueError, match="multiple"):
        tiny_imagenet.splits(archive, size=size, classes=3, validation=1)


# What is there, and what it can fill


@pytest.mark.parametrize("official", [12, 500], ids=["whole", "part"])
def test_all_pictures_but_those_of_validation(tmp_path, kind, official, monkeypatch):
    """`ALL` takes what is there; of the official archive that is a size with a case already."""
    monkeypatch.setattr(tiny_imagenet, "OFFICIAL", official)
    path = write(tmp_path, kind, original(train=12))
    sizes = {"size": tiny_imagenet.ALL, "classes": 3, "validation": 2}

    assert len(tiny_imagenet.splits(path, **sizes).train) == 3 * (12 - 2)
    reason = tiny_imagenet.unavailable(path, **sizes)
    assert reason is None if official != 12 else "the case of 30 training images" in reason


def test_missing_archive_names_both_ways_to_get_it():
    """Without an archive the reason names the command and the option."""
    reason = tiny_imagenet.unavailable(None, size=6, classes=3, validation=3)

    assert "amlnn fetch tiny-imagenet" in reason
    assert "--amlnn-data" in reason


def test_size_that_cannot_be_filled_has_its_numbers(tmp_path, kind):
    """A size is possible up to the last picture; beyond it the reason has numbers."""
    path = write(tmp_path, kind, original())
    most = {"size": 27, "classes": 3, "validation": 3}
    beyond = {"size": 30, "classes": 3, "validation": 3}

    assert tiny_imagenet.unavailable(path, **most) is None
    reason = tiny_imagenet.unavailable(path, **beyond)
    assert "12 training images a class" in reason
    assert "need 13" in reason
    with pytest.raises(DataError, match="need 13"):
        tiny_imagenet.splits(path, **beyond)


def test_too_few_classes_are_counted(archive):
    """More classes than the archive has are no case."""
    reason = tiny_imagenet.unavailable(archive, size=4, classes=4, validation=1)

    assert reason == "pictures.zip holds 3 classes, 4 are needed"


def test_only_the_classes_in_use_must_suffice(tmp_path):
    """A class with too few pictures matters only to cases that use it."""
    files = original()
    for number in range(1, 12):
        del files[f"train/n30/images/n30_{number}.JPEG"]
    path = write_zip(tmp_path / "uneven.zip", files)

    assert tiny_imagenet.unavailable(path, size=18, classes=2, validation=3) is None
    assert "holds 1 training" in tiny_imagenet.unavailable(path, **SMALL)


def test_counting_again_reads_nothing(archive, monkeypatch):
    """The second question about an archive is answered from memory."""
    tiny_imagenet.unavailable(archive, **SMALL)
    monkeypatch.setattr(picture_archive, "fingerprint", None)

    assert tiny_imagenet.unavailable(archive, **SMALL) is None


def test_located_prefers_the_given_path(cache):
    """A given path wins, then what was fetched, then nothing."""
    assert tiny_imagenet.locate(None) is None
    fetched = cache / "tiny-imagenet-200.zip"
    cache.mkdir(parents=True)
    fetched.touch()

    assert tiny_imagenet.locate(None) == fetched
    assert tiny_imagenet.locate("/else/where") == Path("/else/where")


# Bad archives


def without(start):
    """Return a change that drops all files whose names start like this."""

    def change(files):
        for name in [name for name in files if name.startswith(start)]:
            del files[name]

    return change


def annotate(line):
    """Return a change that adds a line 7 to the annotations."""

    def change(files):
        files[ANNOTATIONS] += line

    return change


def rename(old, new):
    """Return a change that moves all files whose names start like this."""

    def change(files):
        for name in [name for name in files if name.startswith(old)]:
            files[name.replace(old, new, 1)] = files.pop(name)

    return change


def add(name, data=b""):
    """Return a change that adds a file."""

    def change(files):
        files[name] = data

    return change


def empty_train(files):
    """Leave nothing in train but the lists of boxes."""
    for wnid in WNIDS:
        without(f"train/{wnid}/images/")(files)


BAD = {
    "no train": (without("train/"), "no train/"),
    "no pictures": (empty_train, "train/ holds no pictures"),
    "no annotations": (without(ANNOTATIONS), f"no {ANNOTATIONS}"),
    "no val": (without("val/"), f"no {ANNOTATIONS}"),
    "missing image": (annotate(b"val_x.JPEG\tn10\t0\t0\t9\t9\n"), "line 7 .*val_x"),
    "unknown wnid": (annotate(b"val_x.JPEG\tn77\t0\t0\t9\t9\n"), "line 7 .*n77"),
    "spaces": (annotate(b"val_0.JPEG n10 0 0 9 9\n"), "line 7 .*tab"),
    "no class": (annotate(b"val_0.JPEG\n"), "line 7 .*tab"),
    "twice": (annotate(b"val_0.JPEG\tn10\t0\t0\t9\t9\n"), "line 7 .*val_0"),
    "no text": (annotate(b"\xff\xfe\n"), f"{ANNOTATIONS} cannot be read"),
    "path": (annotate(b"../images/val_0.JPEG\tn10\n"), "line 7"),
    "unannotated": (add("val/images/val_9.JPEG"), "no line for val_9.JPEG"),
    "empty annotations": (add(ANNOTATIONS), "no line for"),
    "other classes": (add("wnids.txt", b"n10\nn20\nn31\n"), r"n30, n31"),
    "val by class": (rename("val/images/", "val/n10/"), "ImageFolder"),
    "val by class and images": (
        rename("val/images/", "val/n10/images/"),
        "ImageFolder",
    ),
    "too deep": (rename("train/n10/images/", "train/n10/images/x/"), "images/x/n10"),
    "train by class": (rename("train/n10/images/", "train/n10/"), "ImageFolder"),
    "large picture": (
        add("train/n10/images/n10_0.JPEG", bytes((1 << 20) + 1)),
        "n10_0.JPEG would be 1,048,577 bytes",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_archive_is_named_with_its_fault(tmp_path, kind, cache, bad):
    """Check and splits name the archive and its fault, and keep nothing of it."""
    change, words = BAD[bad]
    files = original()
    change(files)
    path = write(tmp_path, kind, files)

    for attempt in (
        lambda: tiny_imagenet.check(path),
        lambda: tiny_imagenet.splits(path, **SMALL),
        lambda: tiny_imagenet.unavailable(path, **SMALL),
    ):
        with pytest.raises(DataError, match=words) as caught:
            attempt()
        assert str(caught.value).startswith(f"{path}: ")
    assert not cache.exists()


def test_good_archive_passes(tmp_path, kind, cache):
    """Check accepts the original layout, and decodes nothing."""
    assert tiny_imagenet.check(write(tmp_path, kind, original())) is None
    assert not cache.exists()


def test_missing_path_is_named(tmp_path):
    """A path that does not exist is named, with what should be there."""
    with pytest.raises(DataError, match=r"nowhere\.zip: no such file or folder"):
        tiny_imagenet.check(tmp_path / "nowhere.zip")


@pytest.mark.parametrize("data", [b"", b"no zip at all", b"PK\x03\x04" + bytes(99)])
def test_file_that_is_no_zip_is_named(tmp_path, data):
    """A file that is no zip is said to be none, or a cut one."""
    path = tmp_path / "other.zip"
    path.write_bytes(data)

    with pytest.raises(DataError, match=r"other\.zip: not a zip"):
        tiny_imagenet.check(path)


WHOLE = original(train=2, val=1)
CUT = zipped(WHOLE)


@given(length=st.integers(0, len(CUT) - 1))
@settings(max_examples=50)
def test_cut_zip_is_refused_wherever_it_was_cut(tmp_path_factory, length):
    """A download that ended early is refused, and leaves nothing in the cache."""
    folder = tmp_path_factory.mktemp("cut")
    path = folder / "cut.zip"
    path.write_bytes(CUT[:length])

    with cache_in(folder), pytest.raises(DataError, match=r"cut\.zip: not a zip"):
        tiny_imagenet.check(path)
    with cache_in(folder), pytest.raises(DataError, match=r"cut\.zip: not a zip"):
        tiny_imagenet.splits(path, size=3, classes=3, validation=1)
    assert not (folder / "tiny-imagenet").exists()


@pytest.mark.slow
@given(place=st.integers(0, len(CUT) - 1), bit=st.integers(0, 7))
@settings(max_examples=100)
def test_damaged_zip_is_refused_or_unharmed(tmp_path_factory, place, bit):
    """After one flipped bit there are right pictures or a DataError."""
    folder = tmp_path_factory.mktemp("damaged")
    damaged = bytearray(CUT)
    damaged[place] ^= 1 << bit
    path = folder / "damaged.zip"
    path.write_bytes(damaged)

    with cache_in(folder), suppress(DataError):
        found = tiny_imagenet.splits(path, size=3, classes=3, validation=1)
        files = {Path(name).name: data for name, data in WHOLE.items()}
        for split in (found.train, found.validation, found.test):
            for row, name in zip(split.rows, split.names, strict=True):
                assert np.array_equal(split.inputs[row], pixels(files[name]))
    assert not unfinished(folder / "tiny-imagenet")


@contextmanager
def cache_in(folder):
    """Keep decoded pictures in `folder`, for tests that try many archives."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMLNN_CACHE", str(folder))
        yield


def member(name, *, mode=0o644, compression=zipfile.ZIP_STORED):
    """Return a member with an unusual name, kind or compression."""
    info = zipfile.ZipInfo("placeholder")
    info.filename = name  # the constructor would clean it
    info.external_attr = mode << 16
    info.compress_type = compression
    return info


@pytest.mark.parametrize(
    ("unsafe", "fault"),
    [
        (member("../x.JPEG"), "leads out"),
        (member("train/../../x.JPEG"), "leads out"),
        (member("../train/x.JPEG"), "leads out"),
        (member("/etc/x.JPEG"), "absolute"),
        (member("/train/x.JPEG"), "absolute"),
        (member("C:/x.JPEG"), "absolute"),
        (member("train\\n10\\x.JPEG"), "another system"),
        (member("train/n10/images/x\0.JPEG"), "another system"),
        (member("train/n10/images/x.JPEG", mode=stat.S_IFLNK | 0o777), "is a link"),
        (member("x", compression=zipfile.ZIP_BZIP2), "neither stored nor deflated"),
        (member("x", compression=zipfile.ZIP_LZMA), "neither stored nor deflated"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unsafe_member_is_refused(archive, cache, unsafe, fault):
    """A zip with a member that no such archive needs is refused as a whole."""
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(unsafe, b"x")

    with pytest.raises(DataError, match=fault):
        tiny_imagenet.check(archive)
    with pytest.raises(DataError, match=fault):
        tiny_imagenet.splits(archive, **SMALL)
    assert not cache.exists()


def test_encrypted_member_is_refused(archive):
    """A zip with an encrypted member is refused at the start of a session."""
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # flags in the directory
    archive.write_bytes(data)

    with pytest.raises(DataError, match="wnids.txt' is encrypted"):
        tiny_imagenet.check(archive)


def test_file_that_is_there_twice_is_refused(archive):
    """Two members of one name are refused, since either may be meant."""
    with zipfile.ZipFile(archive, "a") as opened, pytest.warns(match="Duplicate"):
        opened.writestr("tiny-imagenet-200/words.txt", b"x")

    with pytest.raises(DataError, match=r"holds words\.txt twice"):
        tiny_imagenet.check(archive)


def deflated(name, data):
    """Return an archive with one member of its own compressed."""
    memory = io.BytesIO(zipped(original()))
    with zipfile.ZipFile(memory, "a") as archive:
        archive.writestr(f"tiny-imagenet-200/{name}", data, compress_type=zipfile.ZIP_DEFLATED)
    return memory.getvalue()


@pytest.mark.parametrize(
    ("name", "size"),
    [("train/n10/images/bomb.JPEG", (1 << 20) + 1), ("val/list.txt", (64 << 20) + 1)],
)
def test_bomb_is_refused_by_its_header(tmp_path, name, size):
    """A member that declares to inflate past its bound is refused unread."""
    path = tmp_path / "bomb.zip"
    path.write_bytes(deflated(name, bytes(size)))

    with pytest.raises(DataError, match=f"{name} would be {size:,} bytes"):
        tiny_imagenet.check(path)


def test_bomb_that_lies_is_not_inflated(tmp_path):
    """A member that inflates to more than its header says costs no memory."""
    size = 100_000_000
    data = deflated("train/n10/images/bomb.JPEG", bytes(size))
    lying = data.replace(size.to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    path = tmp_path / "bomb.zip"
    path.write_bytes(lying)
    tiny_imagenet.check(path)
    tracemalloc.start()

    try:
        with pytest.raises(DataError, match="bomb"):
            tiny_imagenet.splits(path, **SMALL)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_reading_ends_at_the_bound(tmp_path, kind):
    """A file that has grown past its bound since the check is not read whole."""
    files = {**original(), "val/long.txt": bytes(3000)}
    path = write(tmp_path, kind, files)

    with picture_archive.open_archive(path) as archive, pytest.MonkeyPatch.context() as patch:
        patch.setattr(picture_archive, "TEXT_BOUND", 2000)
        with pytest.raises(ValueError, match="larger than 2,000 bytes"):
            archive.read("val/long.txt")


# Bad pictures


def huge():
    """Return a picture whose header says 65,000 x 65,000."""
    data = jpeg(0)
    size = data.index(b"\xff\xc0") + 5
    return data[:size] + (65_000).to_bytes(2, "big") * 2 + data[size + 4 :]


def png():
    """Return a picture of another format."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "PNG")
    return file.getvalue()


def test_all_bad_pictures_are_listed(tmp_path, kind, cache):
    """Every picture that does not decode to 64x64 is named; nothing is kept."""
    bad = {
        "train/n10/images/n10_0.JPEG": b"",
        "train/n10/images/n10_1.JPEG": b"text",
        "train/n10/images/n10_2.JPEG": png(),
        "train/n20/images/n20_3.JPEG": jpeg(0)[:-100],
        "train/n20/images/n20_4.JPEG": jpeg(0, side=32),
        "val/images/val_1.JPEG": huge(),
    }
    path = write(tmp_path, kind, {**original(), **bad})
    tiny_imagenet.check(path)

    with pytest.raises(DataError, match="6 bad pictures") as caught:
        tiny_imagenet.splits(path, **SMALL)
    assert str(caught.value).startswith(f"{path}: ")
    assert all(name in str(caught.value) for name in bad)
    assert "n20_4.JPEG (32x32, not 64x64)" in str(caught.value)
    assert not entries(cache)
    assert not unfinished(cache)


def test_long_lists_are_capped(tmp_path):
    """Of many bad pictures twenty are named and the others counted."""
    files = original()
    for number in range(12):
        files[f"train/n10/images/n10_{number}.JPEG"] = b""
        files[f"train/n20/images/n20_{number}.JPEG"] = b""
    path = write_zip(tmp_path / "bad.zip", files)

    with pytest.raises(DataError, match="24 bad pictures") as caught:
        tiny_imagenet.splits(path, **SMALL)
    assert str(caught.value).count(".JPEG") == 20
    assert str(caught.value).endswith("and 4 more")


def test_checksum_of_a_picture_counts(tmp_path):
    """A picture whose bytes differ from the zip's checksum is bad."""
    files = original()
    picture = files["train/n10/images/n10_7.JPEG"]
    damaged = picture[:400] + bytes([picture[400] ^ 1]) + picture[401:]
    path = tmp_path / "damaged.zip"
    path.write_bytes(zipped(files).replace(picture, damaged))

    with pytest.raises(DataError, match=r"n10_7\.JPEG \(Bad CRC"):
        tiny_imagenet.splits(path, **SMALL)


def test_lenient_pillow_changes_nothing(tmp_path, monkeypatch):
    """Cut pictures are bad even where someone told Pillow to accept them."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    cut = {"train/n10/images/n10_0.JPEG": jpeg(0)[:-100]}
    path = write_zip(tmp_path / "cut.zip", {**original(), **cut})

    with pytest.raises(DataError, match="n10_0"):
        tiny_imagenet.splits(path, **SMALL)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


# The cache


def test_next_start_reads_no_archive(tmp_path, kind, monkeypatch):
    """Once decoded, an archive is not opened, hashed or listed again."""
    path = write(tmp_path, kind, original())
    first = tiny_imagenet.splits(path, **SMALL)
    for name in ("open_archive", "digest"):
        monkeypatch.setattr(picture_archive, name, None)
    monkeypatch.setattr(zipfile, "ZipFile", None)

    tiny_imagenet.check(path)
    assert tiny_imagenet.unavailable(path, **SMALL) is None
    again = tiny_imagenet.splits(path, **SMALL)
    assert again.facts == first.facts
    assert again.train.names == first.train.names
    assert np.array_equal(again.train.inputs, first.train.inputs)


def test_moved_archive_is_not_decoded_again(tmp_path, archive, monkeypatch):
    """The cache belongs to what an archive holds, not to where it lies."""
    first = tiny_imagenet.splits(archive, **SMALL)
    monkeypatch.setattr(picture_cache, "write", None)
    moved = archive.rename(tmp_path / "moved.zip")

    again = tiny_imagenet.splits(moved, **SMALL)
    assert again.facts["digest"] == first.facts["digest"]


def test_changed_archive_is_decoded_again(tmp_path, kind):
    """After a picture was replaced, its new pixels are used."""
    files = original()
    first = tiny_imagenet.splits(write(tmp_path, kind, files), **SMALL)
    files["train/n10/images/n10_0.JPEG"] = jpeg(77, mode="L")
    again = tiny_imagenet.splits(write(tmp_path, kind, files), **SMALL)

    assert again.facts["digest"] != first.facts["digest"]
    expected = pixels(files["train/n10/images/n10_0.JPEG"])
    assert np.array_equal(again.train.inputs[0], expected)


def test_archive_that_changes_meanwhile_is_refused(tmp_path, kind, cache, monkeypatch):
    """What changes while it is decoded never becomes an entry."""
    path = write(tmp_path, kind, original())
    decode = picture_cache.write

    def change_and_decode(*arguments):
        decode(*arguments)
        write(tmp_path, kind, {"train/n10/images/n10_0.JPEG": jpeg(7)})

    monkeypatch.setattr(picture_cache, "write", change_and_decode)
    with pytest.raises(DataError, match="changed while it was read"):
        tiny_imagenet.splits(path, **SMALL)
    assert not entries(cache)
    assert not unfinished(cache)


@pytest.mark.parametrize("name", ["train.npy", "val.npy", "index.json"])
@pytest.mark.parametrize("harm", ["cut", "removed"])
def test_damaged_entry_is_made_anew(archive, cache, name, harm):
    """An entry that somebody cut or emptied is decoded again."""
    first = tiny_imagenet.splits(archive, **SMALL)
    before = first.train.inputs.copy()
    file = entries(cache)[0] / name
    if harm == "cut":
        os.truncate(file, file.stat().st_size - 1)
    else:
        file.unlink()

    tiny_imagenet.check(archive)
    again = tiny_imagenet.splits(archive, **SMALL)
    assert np.array_equal(again.train.inputs, before)


def test_entry_of_another_version_is_made_anew(archive, cache, monkeypatch):
    """An entry in another format is replaced, not misread."""
    tiny_imagenet.splits(archive, **SMALL)
    monkeypatch.setattr(picture_cache, "SCHEMA", picture_cache.SCHEMA + 1)
    found = tiny_imagenet.splits(archive, **SMALL)

    assert len(found.train) == 6
    assert len(entries(cache)) == 1


def test_damaged_note_is_ignored(archive, cache):
    """A note that was half written costs nothing but reading the archive again."""
    tiny_imagenet.splits(archive, **SMALL)
    (note,) = (cache / "known").iterdir()
    note.write_text(note.read_text()[:-9])

    assert len(tiny_imagenet.splits(archive, **SMALL).train) == 6


@pytest.mark.parametrize("round", rounds(3, 30, quick=1))
def test_eight_processes_decode_once(archive, cache, round):
    """Of eight processes at once one decodes, and all get the pictures."""
    slowly = (
        "import time; decode = picture_cache.write; picture_cache.write = "
        "lambda *rest: (print('decodes'), time.sleep(0.5), decode(*rest)); "
        "print(len(take().train))"
    )
    processes = [start(slowly, archive) for _ in range(8)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]

    assert sorted("".join(outputs).split()) == ["6"] * 8 + ["decodes"]
    assert len(entries(cache)) == 1
    assert not unfinished(cache)


@pytest.mark.parametrize("moment", ["sync", "place"])
def test_killed_builder_leaves_nothing_in_the_way(archive, cache, moment):
    """After kill -9 in the middle, the next start decodes afresh and tidies up."""
    hang = (
        f"import time; picture_cache.{moment} = "
        "lambda *_: (print('now', flush=True), time.sleep(99)); take()"
    )
    process = start(hang, archive)
    assert process.stdout.readline() == "now\n"
    process.kill()
    process.communicate()
    assert unfinished(cache)
    assert not entries(cache)

    tiny_imagenet.check(archive)
    assert len(tiny_imagenet.splits(archive, **SMALL).train) == 6
    assert len(entries(cache)) == 1
    assert not unfinished(cache)


def test_interrupted_builder_tidies_up(archive, cache, monkeypatch):
    """Ctrl-C while decoding leaves nothing half-written."""

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(picture_cache, "_write_pictures", interrupt)
    with pytest.raises(KeyboardInterrupt):
        tiny_imagenet.splits(archive, **SMALL)
    assert not entries(cache)
    assert not unfinished(cache)


@pytest.mark.parametrize("room", [0, 100, 200_000, 442_400])
def test_full_disk_names_the_cache(archive, cache, room):
    """Without room the error names the cache and what moves it; nothing is left."""
    limited = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room})); take()"
    _, errors = start(limited, archive).communicate(timeout=60)

    last = errors.strip().splitlines()[-1]
    assert last.startswith(f"pytest_amlnn.data.DataError: {cache}: ")
    assert "AMLNN_CACHE" in last
    assert not entries(cache)
    assert not unfinished(cache)


def test_cache_that_cannot_be_made_is_named(archive, tmp_path, monkeypatch):
    """A file in the cache's place is an error that names it."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("AMLNN_CACHE", str(tmp_path / "file"))
    tiny_imagenet.check(archive)

    with pytest.raises(DataError, match=r"file/tiny-imagenet: .*AMLNN_CACHE"):
        tiny_imagenet.splits(archive, **SMALL)


def test_decoding_is_announced_in_one_line(archive, capsys):
    """Without a terminal one line says what is done, once."""
    tiny_imagenet.splits(archive, **SMALL)
    tiny_imagenet.splits(archive, **SMALL)

    assert capsys.readouterr().err.count("\n") == 1


def test_decoding_is_shown_where_a_case_trains(archive, capsys, monkeypatch):
    """A case that waits for its pictures shows how far they are, and nothing else does."""
    monkeypatch.setattr(preparing, "SECONDS_BEFORE_WORD", 0.0)
    told: list[str] = []
    with preparing.told_to(told.append):
        tiny_imagenet.splits(archive, **SMALL)

    pattern = r"preparing tiny-imagenet: ([\d,]+) of ([\d,]+) pictures, 0:\d\d left"
    counts = [re.fullmatch(pattern, line).groups() for line in told]
    assert counts[-1][0] == counts[-1][1]
    assert capsys.readouterr().err == ""


def test_decoding_shows_its_progress_on_a_terminal(archive):
    """On a terminal a bar shows how far the decoding is."""
    ours, terminal = pty.openpty()
    start("take()", archive, stderr=terminal).communicate(timeout=60)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    os.close(terminal)

    assert "Decoding pictures" in shown
    assert "100%" in shown


# The real archive


@pytest.fixture
def real(cache):
    if not REAL.is_file():
        pytest.skip(f"{REAL} is not on this machine")
    yield REAL
    shutil.rmtree(cache)  # pytest would keep this gigabyte


@pytest.mark.slow
def test_real_archive(real):
    """The real archive gives the right pictures and labels, and opens at once again."""
    tiny_imagenet.check(real)
    found = tiny_imagenet.splits(real, size=10_000, classes=200, validation=50)
    start = time.perf_counter()
    tiny_imagenet.check(real)
    again = tiny_imagenet.splits(real, size=70_000, classes=200, validation=50)
    seconds = time.perf_counter() - start

    assert seconds < 0.5
    assert again.train.names[:10_000] == found.train.names
    assert not set(again.train.rows) & set(again.validation.rows)
    assert found.facts["archive_counts"] == {"train": 80_000, "val": 5_000}
    assert np.bincount(found.test.targets).tolist() == [25] * 200
    assert "need 500" in tiny_imagenet.unavailable(
        real, size=90_000, classes=200, validation=50
    )
    with zipfile.ZipFile(real) as archive:
        for split, folder in (
            (found.train, "train/{wnid}/images"),
            (found.test, "val/images"),
        ):
            for place in range(0, len(split), 100):
                wnid = found.classes[split.targets[place]]
                name = f"{folder.format(wnid=wnid)}/{split.names[place]}"
                data = archive.read(f"tiny-imagenet-200/{name}")
                assert np.array_equal(split.inputs[split.rows[place]], pixels(data))
