"""Which pictures Tiny ImageNet's original layout names, and what they show."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from amlnn_datasets.picture_archive import ANNOTATIONS, ORIGINAL, UNREADABLE, Archive
from amlnn_datasets.picture_files import is_jpeg_name, kind_of
from amlnn_datasets.picture_root import some
from pytest_amlnn.data import DataError
from pytest_amlnn.escapes import visible


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
                f"{visible(archive.path)}: {visible(name)} is not where the original has "
                f"its pictures, as in a copy for torchvision's ImageFolder layout; {ORIGINAL}"
            )
    if ANNOTATIONS not in archive.names:
        raise DataError(f"{visible(archive.path)}: holds no {ANNOTATIONS}; {ORIGINAL}")
    places = [name for name in archive.names if _is_picture_place(name)]
    if strangers := [name for name in places if not is_jpeg_name(name)]:
        raise DataError(
            f"{visible(archive.path)}: not called *.JPEG, as pictures are: "
            f"{some([_described(archive, name) for name in strangers])}; remove or rename "
            f"{'it' if len(strangers) == 1 else 'them'}"
        )
    _check_case(archive, places)


def _check_case(archive: Archive, places: Sequence[str]) -> None:
    """Refuse what would be other examples on a system that ignores case."""
    folded: dict[str, str] = {}
    folders = {name.rpartition("/")[0] for name in places}
    for name in [*folders, *places]:
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            raise DataError(
                f"{visible(archive.path)}: {some([other, name])} are one on systems that "
                "ignore case; remove or rename one"
            )


def _described(archive: Archive, name: str) -> str:
    try:
        kind = kind_of(archive.read(name))
    except UNREADABLE:
        kind = None
    return f"{name} ({kind})" if kind else name


def _is_picture_place(name: str) -> bool:
    match name.split("/"):
        case ["train", _, "images", _] | ["val", "images", _]:
            return True
    return False


def _misplaced(name: str) -> bool:
    within = name.startswith(("train/", "val/"))
    return within and name.endswith(".JPEG") and not _is_picture_place(name)


def _train_files(names: Collection[str]) -> dict[str, list[str]]:
    files: dict[str, list[str]] = {}
    for name in names:
        match name.split("/"):
            case ["train", wnid, "images", file]:
                files.setdefault(wnid, []).append(file)
    return {wnid: sorted(files[wnid]) for wnid in sorted(files)}


def _check_classes(archive: Archive, train: Mapping[str, Sequence[str]]) -> None:
    if not train:
        raise DataError(f"{visible(archive.path)}: train/ holds no pictures; {ORIGINAL}")
    if "wnids.txt" not in archive.names:
        return
    listed = {line for _, line in _lines(archive, "wnids.txt")}
    if differing := listed.symmetric_difference(train):
        raise DataError(
            f"{visible(archive.path)}: wnids.txt and train/ differ by {some(differing)}; "
            "get the archive again"
        )


def _val_files(archive: Archive, train: Collection[str]) -> dict[str, str]:
    """Return the class of each file in val/images, as it is annotated."""
    bare = _val_names(archive.names)
    labels: dict[str, str] = {}
    for number, line in _lines(archive, ANNOTATIONS):
        file, wnid = (part.strip() for part in [*line.split("\t"), ""][:2])
        if fault := _annotation_fault(file, wnid, bare, train):
            raise DataError(
                f"{visible(archive.path)}: {ANNOTATIONS} line {number} "
                f"{visible(fault)}; get the archive again"
            )
        bare.remove(file)
        labels[file] = wnid
    if bare or not labels:
        raise DataError(
            f"{visible(archive.path)}: {ANNOTATIONS} "
            f"has no line for {some(bare) or 'any picture'}; "
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
        name.removeprefix("val/images/") for name in names if name.startswith("val/images/")
    }


def _words(archive: Archive, train: Collection[str]) -> dict[str, str]:
    words = {wnid: wnid for wnid in train}
    if "words.txt" in archive.names:
        for _, line in _lines(archive, "words.txt"):
            wnid, _, text = line.partition("\t")
            if wnid in words and text.strip():
                words[wnid] = text.strip()
    return words


def _lines(archive: Archive, name: str) -> Iterator[tuple[int, str]]:
    """Number the lines of a list that hold something, from 1."""
    try:
        text = _decoded(archive.read(name))
    except UNREADABLE as error:
        raise DataError(
            f"{visible(archive.path)}: {name} cannot be read ({visible(error)}); save it "
            "as text in UTF-8, or get the archive again"
        ) from error
    # not splitlines(): it also cuts at characters that may stand in a line; lists that were put
    # together have a byte order mark in the middle
    for number, line in enumerate(re.split(r"(?:\r\n|\r|\n)\ufeff*", text.lstrip("\ufeff")), 1):
        if line.strip():
            yield number, line.strip()


def _decoded(data: bytes) -> str:
    """Decode a list that was saved on any system: in UTF-8, or in what its mark says."""
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if marked else "utf-8-sig")
    if "\0" in text:
        raise ValueError("it holds zero bytes, as UTF-16 without its mark or UTF-32 does")
    return text
