"""Which pictures Tiny ImageNet's original layout names, and what they show."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from amlnn_datasets.picture_archive import ORIGINAL, UNREADABLE, Archive
from pytest_amlnn.data import DataError

ANNOTATIONS = "val/val_annotations.txt"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which pictures an archive holds; classes and file names are sorted as text."""

    train: Mapping[str, Sequence[str]]
    """The files of each class."""
    val: Mapping[str, str]
    """The class of each file."""
    words: Mapping[str, str]
    """What each class shows."""

    @property
    def classes(self) -> list[str]:
        """The wnids in the one order that all labels follow."""
        return list(self.train)

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How many training pictures there are of each class."""
        return np.array([len(files) for files in self.train.values()])

    @property
    def members(self) -> dict[str, list[str]]:
        """The pictures of each part, in the order in which they are kept."""
        return {
            "train": [
                f"train/{wnid}/images/{file}"
                for wnid, files in self.train.items()
                for file in files
            ],
            "val": [f"val/images/{file}" for file in self.val],
        }


def layout_of(archive: Archive) -> Layout:
    """Read an archive's directory and lists, no pictures; raises DataError."""
    _check_arrangement(archive)
    train = _train_files(archive.names)
    _check_classes(archive, train)
    return Layout(train=train, val=_val_files(archive, train), words=_words(archive, train))


def _check_arrangement(archive: Archive) -> None:
    for name in archive.names:
        if _misplaced(name):
            raise DataError(
                f"{archive.path}: {name} is not where the original has its pictures, "
                f"as in a copy for torchvision's ImageFolder layout; {ORIGINAL}"
            )
    if ANNOTATIONS not in archive.names:
        raise DataError(f"{archive.path}: holds no {ANNOTATIONS}; {ORIGINAL}")


def _misplaced(name: str) -> bool:
    match name.split("/"):
        case ["train", _, "images", _] | ["val", "images", _]:
            return False
        case ["train" | "val", *_]:
            return name.endswith(".JPEG")
    return False


def _train_files(names: Collection[str]) -> dict[str, list[str]]:
    files: dict[str, list[str]] = {}
    for name in names:
        match name.split("/"):
            case ["train", wnid, "images", file] if not file.startswith("."):
                files.setdefault(wnid, []).append(file)
    return {wnid: sorted(files[wnid]) for wnid in sorted(files)}


def _check_classes(archive: Archive, train: Mapping[str, Sequence[str]]) -> None:
    if not train:
        raise DataError(f"{archive.path}: train/ holds no pictures; {ORIGINAL}")
    if "wnids.txt" not in archive.names:
        return
    listed = {line.strip() for _, line in _lines(archive, "wnids.txt")}
    if differing := listed.symmetric_difference(train):
        raise DataError(
            f"{archive.path}: wnids.txt and train/ differ by {_some(differing)}; "
            "get the archive again"
        )


def _val_files(archive: Archive, train: Collection[str]) -> dict[str, str]:
    """Return the class of each file in val/images, as it is annotated."""
    bare = _val_names(archive.names)
    labels: dict[str, str] = {}
    for number, line in _lines(archive, ANNOTATIONS):
        file, wnid = [*line.split("\t"), ""][:2]
        if fault := _annotation_fault(file, wnid, bare, train):
            raise DataError(
                f"{archive.path}: {ANNOTATIONS} line {number} {fault}; get the archive again"
            )
        bare.remove(file)
        labels[file] = wnid
    if bare or not labels:
        raise DataError(
            f"{archive.path}: {ANNOTATIONS} "
            f"has no line for {_some(bare) or 'any picture'}; "
            "get the archive again"
        )
    return dict(sorted(labels.items()))


def _annotation_fault(
    file: str, wnid: str, bare: Collection[str], train: Collection[str]
) -> str | None:
    if not wnid:
        return "is not a file name, a tab and a class"
    if wnid not in train:
        return f"names the class {wnid}, which train/ lacks"
    if file not in bare:
        return f"names {file}, which val/images lacks or an earlier line has"
    return None


def _val_names(names: Collection[str]) -> set[str]:
    return {
        name.removeprefix("val/images/")
        for name in names
        if name.startswith("val/images/") and not name.startswith("val/images/.")
    }


def _words(archive: Archive, train: Collection[str]) -> dict[str, str]:
    words = {wnid: wnid for wnid in train}
    if "words.txt" in archive.names:
        for _, line in _lines(archive, "words.txt"):
            wnid, _, text = line.partition("\t")
            if wnid in words:
                words[wnid] = text
    return words


def _lines(archive: Archive, name: str) -> Iterator[tuple[int, str]]:
    """Number the lines of a list that hold something, from 1."""
    try:
        text = archive.read(name).decode()
    except UNREADABLE as error:
        raise DataError(
            f"{archive.path}: {name} cannot be read ({error}); get the archive again"
        ) from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line


def _some(names: Collection[str]) -> str:
    """Name a few, and count the others."""
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return ", ".join(sorted(names)[:5]) + more
