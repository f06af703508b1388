"""What is refused before training, whatever the task: splits whose parts do not fit."""

from __future__ import annotations

import warnings
from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING

from pytest_amlnn.arrays import (
    MOST,
    common_rows,
    first_not_finite,
    is_array,
    kind_of,
    largest,
)
from pytest_amlnn.data import SPLITS, DataError, Split, Splits, facts_of
from pytest_amlnn.fields import shown

if TYPE_CHECKING:  # the plugin is loaded into every pytest run, and numpy takes a while
    import numpy as np
    import numpy.typing as npt

PARTS = ("inputs", "rows", "targets", "names")


class SharedRows(UserWarning):
    """Two splits that hold the same examples."""


def check_splits(splits: Splits) -> None:
    """Refuse splits that nothing can be trained on, whatever the task.

    Raises DataError with split, row and remedy: for an empty split, lengths that do not agree,
    rows outside of the inputs, names that are there twice, numbers that are not finite, and
    facts that JSON cannot hold. Warns of rows that two splits share.
    """
    lacking = [name for name in (*SPLITS, "facts") if not hasattr(splits, name)]
    if lacking:
        kind = "None" if splits is None else f"a {type(splits).__name__}"
        raise DataError(
            f"the data are {kind}, without {', '.join(lacking)}; needs three splits"
            " and facts, as Pictures, Series and Examples have them"
        )
    for name in SPLITS:
        check_split(name, getattr(splits, name))
    facts_of(splits)
    for first, second in combinations(SPLITS, 2):
        warn_of_common_rows(first, second, splits)


def check_split(name: str, split: Split) -> None:
    """Refuse a split whose parts do not fit together; `name` is for the message."""
    lacking = [part for part in PARTS if not hasattr(split, part)]
    if lacking:
        kind = "None" if split is None else f"a {type(split).__name__}"
        raise DataError(
            f"{name} split: it is {kind}, without {', '.join(lacking)}; needs a"
            " Split(inputs=..., rows=..., targets=..., names=...)"
        )
    for part in ("inputs", "rows", "targets"):
        if not is_array(getattr(split, part)):
            raise DataError(f"{name} split: {part} are {kind_of(getattr(split, part))}")
        if not getattr(split, part).ndim:
            raise DataError(f"{name} split: {part} are one number, needs one for each row")
    check_rows(name, split)
    check_names(name, split)
    if split.inputs.dtype.kind in "fc":  # others, such as a memory map's bytes, are not read
        check_finite(name, "inputs", split.inputs[split.rows], split.rows)
    if split.targets.dtype.kind in "fc":
        check_finite(name, "targets", split.targets, split.rows)


def check_rows(name: str, split: Split) -> None:
    """Refuse rows that are not whole numbers of rows of the inputs, with a target for each."""
    rows, count = split.rows, len(split.rows)
    if not count:
        raise DataError(f"{name} split: it has no examples")
    if len(split.targets) != count:
        raise DataError(
            f"{name} split: it has {count} rows and {len(split.targets)} of targets;"
            " it needs one for each row"
        )
    if rows.dtype.kind not in "iu" or rows.ndim != 1:
        remedy = ": np.flatnonzero(mask)" if rows.dtype.kind == "b" else ""
        shape = f" {rows.shape}" if rows.ndim != 1 else ""
        raise DataError(f"{name} split: rows are {rows.dtype}{shape}, needs integers{remedy}")
    last = len(split.inputs) - 1
    for row in (rows.min(), rows.max()):
        if not 0 <= row <= last:
            raise DataError(f"{name} split: row {row} is none of the inputs' rows, 0 to {last}")


def check_names(name: str, split: Split) -> None:
    """Refuse names that are not one text for each row, each once."""
    names, count = split.names, len(split.rows)
    if isinstance(names, str) or not hasattr(names, "__len__"):
        raise DataError(f"{name} split: names are {shown(names)}, needs a list of text")
    if len(names) != count:
        raise DataError(
            f"{name} split: it has {count} rows and {len(names)} of names;"
            " it needs one for each row"
        )
    if not all(isinstance(text, str) for text in names):
        raise DataError(f"{name} split: names are not all text; use strings")
    if len({*names}) < count:
        ((twice, _),) = Counter(names).most_common(1)
        raise DataError(f"{name} split: two examples are named {twice}; names must differ")


def check_finite(
    name: str, part: str, values: npt.NDArray[np.generic], rows: npt.NDArray[np.int64]
) -> None:
    """Refuse NaN and infinity in what a split's rows hold, naming the first row."""
    place = first_not_finite(values)
    if place is not None:
        raise DataError(
            f"{name} split: {part} of row {int(rows[place])} hold a value that is no finite"
            " number; remove or fill it"
        )


def warn_of_common_rows(first: str, second: str, splits: Splits) -> None:
    """Warn where what one split holds stands in another one, too."""
    one, other = getattr(splits, first), getattr(splits, second)
    common = common_rows((one.inputs, one.rows), (other.inputs, other.rows))
    if len(common):
        warnings.warn(
            f"{first} and {second} split share {len(common)} of {len(other)} rows, the first of"
            f" them row {common[0]}: scores of {second} say nothing of what was not seen",
            SharedRows,
            stacklevel=2,
        )


def check_magnitudes(splits: Splits) -> None:
    """Refuse floats that are too large for float32, for tasks that take them as they are."""
    for name in SPLITS:
        split = getattr(splits, name)
        parts = {"inputs": split.inputs, "targets": split.targets}
        for part, values in parts.items():
            if values.dtype.kind != "f":
                continue
            place, most = largest(values[split.rows] if part == "inputs" else values)
            if most > MOST:
                raise DataError(
                    f"{name} split: {part} of row {int(split.rows[place])} hold {most:.3g},"
                    " whose square float32 cannot hold; remove, fill or scale it"
                )
