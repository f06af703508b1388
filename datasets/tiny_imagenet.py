"""Tiny ImageNet from its zip or folder, split three ways."""

from __future__ import annotations

import os
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from amlnn_datasets import picture_archive, picture_cache
from amlnn_datasets.picture_cache import Entry
from amlnn_datasets.picture_layout import Layout, layout_of
from pytest_amlnn.cache import cache_folder
from pytest_amlnn.data import DataError, Pictures, Source, Split
from pytest_amlnn.disk import expanded
from pytest_amlnn.download import download
from pytest_amlnn.escapes import visible

NAME = "tiny-imagenet"
URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
SIZE = 248_100_043
SHA256 = "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821"
ALL = 0
"""Size of a training split of all pictures that are not for validation."""
OFFICIAL = 500
"""Training pictures that the official archive has of each class."""
LIMIT = 1 << 30
"""Bytes that an archive from another address may have."""
MISSING = (
    "Tiny ImageNet is not on this machine: `amlnn fetch tiny-imagenet` gets it, or "
    "--amlnn-data names its zip or folder"
)


def source(*, size: int, classes: int, validation: int) -> Source:
    """Return what opens `splits` of these sizes in any process, wherever the archive lies."""
    sizes = {"size": size, "classes": classes, "validation": validation}
    return Source(name=NAME, open=open_splits, arguments=sizes, placed=True, missing=missing)


def open_splits(*, place: str | None, **sizes: int) -> Pictures:
    """Return `splits` of the archive at `place`, or of the fetched one; raises DataError."""
    path = locate(place)
    if path is None:
        raise DataError(MISSING)
    return splits(path, **sizes)


def missing(*, place: str | None, **sizes: int) -> str | None:
    """Say why there are no such pictures on this machine; raises DataError as `check` does."""
    return unavailable(locate(place), **sizes)


def locate(given: str | None) -> Path | None:
    """Return the given archive, else the fetched one if there is one; raises DataError."""
    if given is not None:
        return expanded(given)
    try:
        return _fetched() if _fetched().is_file() else None
    except OSError as error:
        raise DataError(
            f"{visible(_home())}: cannot be read ({visible(error)}); name another folder "
            "in the environment variable AMLNN_CACHE"
        ) from error


def fetch(
    *parts: str,
    url: str | None = None,
    to: Path | None = None,
    size: int | None = None,
    sha256: str | None = None,
    verify: bool = False,
) -> list[Path]:
    """Download the official archive to where `locate` finds it; it has no parts to choose.

    Env `AMLNN_TINY_IMAGENET_URL` names another address; size and SHA-256 of the
    official file are known only for its own. `verify` reads all that is there: the archive,
    and the pictures that were decoded before. Raises DownloadError, DataError.
    """
    if parts:
        raise DataError(f"Tiny ImageNet is one archive, it has no {' or '.join(parts)}")
    url = url or os.environ.get("AMLNN_TINY_IMAGENET_URL") or URL
    if url == URL:
        size, sha256 = SIZE, SHA256
    whole, removed = picture_cache.verify(_home()) if verify else ([], [])
    to = to or _fetched()
    places = [_home() / digest for digest in whole]
    # whoever names an archive of his own has pictures to verify, and nothing to download
    if to.is_file() or not places + removed:
        inspect = partial(_fault_of_archive, thorough=verify)
        places.insert(
            0, download(url, to, size=size, sha256=sha256, limit=LIMIT, inspect=inspect)
        )
    if removed:
        raise DataError(
            f"{visible(_home())}: decoded pictures were not as they had been written, or of "
            f"an older version, and are removed ({', '.join(removed)}); the next run decodes "
            "the archive again"
        )
    return places


def _fault_of_archive(path: Path, *, thorough: bool) -> str | None:
    """Say why a file that was fetched cannot be the archive; `thorough` reads every picture."""
    try:
        with picture_archive.open_archive(path) as archive:
            layout = layout_of(archive)
            if thorough:
                for name in [name for names in layout.members.values() for name in names]:
                    archive.read(name)
    except (DataError, *picture_archive.UNREADABLE) as error:
        return f"not an archive of Tiny ImageNet: {error}"
    return None


def check(path: Path) -> None:
    """Raise DataError unless an archive is laid out like the original."""
    mark = picture_archive.fingerprint(path)
    if picture_cache.recall(_home(), mark) is None:
        _layout(path, mark)


def unavailable(path: Path | None, *, size: int, classes: int, validation: int) -> str | None:
    """Say why there cannot be such a case; raises DataError as `check` does."""
    if path is None:
        return MISSING
    counts = _counts(path, picture_archive.state(path))
    each = _each(size, classes, counts, validation)
    if size == ALL and each + validation == OFFICIAL:
        return (
            f"{visible(path.name)} holds what the official archive does: the case of"
            f" {each * classes:,} training images is the same"
        )
    return _shortage(path, counts, each, classes, validation)


def splits(path: Path, *, size: int, classes: int, validation: int) -> Pictures:
    """Return `size` training pictures, `validation` a class, and all of val as test.

    Larger sizes start with the pictures of smaller ones; `ALL` are as many of each class as of
    the one that has the fewest. Raises DataError.
    """
    entry = _prepared(path)
    layout = Layout(**entry.facts)
    each = _each(size, classes, layout.counts, validation)
    if shortage := _shortage(path, layout.counts, each, classes, validation):
        raise DataError(shortage)
    ends = np.cumsum(layout.counts)[:classes]
    firsts = ends - layout.counts[:classes]
    train = _train_part(entry, layout, _rows(firsts, each))
    late = _train_part(entry, layout, _rows(ends - validation, validation))
    test = _test_part(entry, layout, classes)
    counts = {"train": len(train), "validation": len(late), "test": len(test)}
    return Pictures(
        train=train,
        validation=late,
        test=test,
        classes=tuple(layout.classes[:classes]),
        facts={**_facts(path, entry, layout, classes), "counts": counts},
    )


def _home() -> Path:
    return cache_folder() / NAME


def _fetched() -> Path:
    return _home() / "tiny-imagenet-200.zip"


def _each(size: int, classes: int, counts: npt.NDArray[np.int64], validation: int) -> int:
    """Return how many training pictures of each class a size asks for; raises ValueError."""
    if size == ALL and classes > 0:
        return max(1, int(min(counts[:classes], default=0)) - validation)
    if classes < 1 or size < classes or size % classes:
        raise ValueError(f"size {size} is no multiple of {classes} classes")
    return size // classes


def _shortage(
    path: Path, counts: npt.NDArray[np.int64], each: int, classes: int, validation: int
) -> str | None:
    if len(counts) < classes:
        return f"{visible(path.name)} holds {len(counts)} classes, {classes} are needed"
    if (least := min(counts[:classes])) < each + validation:
        return (
            f"{visible(path.name)} holds {least} training images a class; "
            f"{each * classes:,} of {classes} classes, with {validation} a class for "
            f"validation, need {each + validation}; the official archive, which "
            "`amlnn fetch tiny-imagenet` gets, holds 500"
        )
    return None


# A session asks this for each of its cases, and its archive stays the same.
@lru_cache(maxsize=8)
def _counts(path: Path, state: str) -> npt.NDArray[np.int64]:
    """Return how many training pictures there are of each class."""
    mark = picture_archive.fingerprint(path)
    entry = picture_cache.recall(_home(), mark)
    layout = Layout(**entry.facts) if entry else _layout(path, mark)
    return layout.counts


@lru_cache(maxsize=2)
def _layout(path: Path, fingerprint: str) -> Layout:
    """Read an archive's layout once for each state that it was seen in."""
    with picture_archive.open_archive(path) as archive:
        return layout_of(archive)


def _prepared(path: Path) -> Entry:
    """Return an archive's decoded pictures, decoding them if nobody has yet."""
    mark = picture_archive.fingerprint(path)
    entry = picture_cache.recall(_home(), mark)
    if entry is None:
        mark = picture_archive.settled_fingerprint(path)
        layout = _layout(path, mark)
        digest = picture_archive.digest(path)
        with picture_cache.scratch(_home()) as folder:
            entry = picture_cache.find(_home(), digest)
            if entry is None:
                _decode(path, layout, folder, digest)
            _check_unchanged(path, mark)
            if entry is None:
                entry = picture_cache.place(folder, _home(), digest)
            picture_cache.remember(_home(), mark, entry, path)
    return entry


def _decode(path: Path, layout: Layout, folder: Path, digest: str) -> None:
    with picture_archive.open_archive(path) as archive:
        picture_cache.write(folder, archive, layout.members, asdict(layout), digest)


def _check_unchanged(path: Path, mark: str) -> None:
    if picture_archive.fingerprint(path) != mark:
        raise DataError(f"{visible(path)}: changed while it was read; start again")


def _facts(path: Path, entry: Entry, layout: Layout, classes: int) -> dict[str, object]:
    return {
        "name": NAME,
        "digest": entry.digest,
        "source": visible(path.absolute().name),
        "archive_counts": {"train": int(layout.counts.sum()), "val": len(layout.val)},
        "words": {wnid: layout.words[wnid] for wnid in layout.classes[:classes]},
    }


def _rows(firsts: npt.NDArray[np.int64], each: int) -> npt.NDArray[np.int64]:
    """Count `each` rows from every first row, one of each class after the other."""
    return (np.arange(each)[:, None] + firsts).ravel()


def _train_part(entry: Entry, layout: Layout, rows: npt.NDArray[np.int64]) -> Split:
    names = [file for files in layout.train.values() for file in files]
    return Split(
        inputs=entry.pictures("train"),
        rows=rows,
        targets=np.repeat(np.arange(len(layout.classes)), layout.counts)[rows],
        names=[names[row] for row in rows],
    )


def _test_part(entry: Entry, layout: Layout, classes: int) -> Split:
    label_of = {wnid: label for label, wnid in enumerate(layout.classes)}
    labels = np.array([label_of[wnid] for wnid in layout.val.values()])
    names = list(layout.val)
    rows = np.flatnonzero(labels < classes)
    return Split(
        inputs=entry.pictures("val"),
        rows=rows,
        targets=labels[rows],
        names=[names[row] for row in rows],
    )
