"""What is refused of classes and labels, and how to convert what is legal elsewhere."""

from __future__ import annotations

from typing import Any

from pytest_amlnn.data import DataError, Pictures, Split
from pytest_amlnn.fields import shown


def check_classes(splits: Pictures) -> None:
    """Refuse classes that are not two or more different texts."""
    classes = getattr(splits, "classes", None)
    if not isinstance(classes, tuple | list) or not all(isinstance(c, str) for c in classes):
        raise DataError(f"classes are {shown(classes)}, needs a tuple of text, one a class")
    if len(classes) < 2:
        raise DataError(f"classes are {shown(classes)}, needs two or more to tell apart")
    twice = [name for place, name in enumerate(classes) if name in classes[:place]]
    if twice:
        raise DataError(f"classes: two are named {shown(twice[0])}; names must differ")


def check_labels(name: str, split: Split, classes: int) -> None:
    """Refuse targets that are no numbers of classes, naming the first row."""
    targets = split.targets
    if targets.ndim != 1 or targets.dtype.kind not in "iu":
        raise DataError(
            f"{name} split: targets are {targets.dtype} {targets.shape}, needs one integer"
            f" label a row, from 0 to {classes - 1}{remedy_for_labels(targets, classes)}"
        )
    low, high = int(targets.min()), int(targets.max())
    if low >= 0 and high < classes:
        return
    row = int((targets == (low if low < 0 else high)).argmax())
    remedy = "; labels count from 0, subtract 1" if low == 1 and high == classes else ""
    if low == -1:
        remedy = "; leave out what has no label"
    raise DataError(
        f"{name} split: the target of row {int(split.rows[row])} is {int(targets[row])}, and"
        f" there are {classes} classes, 0 to {classes - 1}{remedy}"
    )


def remedy_for_labels(targets: Any, classes: int) -> str:
    """Say how labels of another shape or type become one integer a row."""
    kind, shape = targets.dtype.kind, targets.shape
    if len(shape) == 2 and shape[1] == 1:
        return ": targets[:, 0]" + ("" if kind in "iu" else ".astype('int64')")
    if len(shape) == 2 and shape[1] == classes:
        return ": targets.argmax(1)"
    if len(shape) == 1 and kind in "fb":
        return ": targets.astype('int64')"
    if len(shape) == 1 and kind in "OUST":
        return ": classes, targets = np.unique(targets, return_inverse=True)"
    return ""
