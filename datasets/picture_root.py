"""Which folder of an archive holds train/, and what there is where none does."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from amlnn_datasets.picture_files import is_left_behind
from pytest_amlnn.data import DataError
from pytest_amlnn.escapes import visible

ORIGINAL = (
    "the original layout is needed: train/<wnid>/images/*.JPEG, val/images/*.JPEG and "
    "val/val_annotations.txt, as in tiny-imagenet-200.zip"
)
NAMED = 5
"""Names that a message lists before it counts the others."""


def root_of_folder(path: Path) -> Path:
    """Return the folder that holds train/: this one, or the only one in it that does.

    Raises DataError.
    """
    if (path / "train").is_dir():
        return path
    found: list[str] = []
    for pattern in ("*/train", "*/*/train", "*/*/*/train"):
        places = (place.parent for place in path.glob(pattern) if place.is_dir())
        found += [place.relative_to(path).as_posix() for place in places]
        if found:
            break
    tops = [f"{top.name}/" if top.is_dir() else top.name for top in path.iterdir()]
    return path / chosen_root(path, found, tops)


def root_of_names(path: Path, names: Iterable[str]) -> str:
    """Return what the names of a zip that lead to train/ start with; raises DataError."""
    found, tops = set(), set()
    for name in names:
        if name.startswith("train/"):
            return ""
        top, slash, _ = name.partition("/")
        tops.add(top + slash)
        above, below, _ = name.partition("/train/")
        if below:
            found.add(above)
    least = min((place.count("/") for place in found), default=0)
    return (
        chosen_root(path, [place for place in found if place.count("/") == least], tops) + "/"
    )


def chosen_root(path: Path, found: Iterable[str], tops: Collection[str]) -> str:
    """Return the one folder that holds train/; DataError says what an archive holds instead."""
    roots = [place for place in found if not is_left_behind(f"{place}/")]
    where = some([f"{place}/" for place in roots])
    if len(roots) > 1:
        raise DataError(
            f"{visible(path)}: holds several folders with a train/: {where}; name an archive "
            "or a folder with one"
        )
    if roots and "/" in roots[0]:
        raise DataError(
            f"{visible(path)}: holds train/ too far down, in {where}; name that folder, or "
            "pack it anew"
        )
    if not roots:
        what = some([top for top in tops if not is_left_behind(top)]) or "nothing"
        raise DataError(f"{visible(path)}: holds no train/, but {what}; {ORIGINAL}")
    return roots[0]


def some(names: Collection[str]) -> str:
    """Name a few, and count the others."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(visible(name) for name in sorted(names)[:NAMED]) + more
