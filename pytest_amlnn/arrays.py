"""What is wrong with arrays, and how torch can take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the plugin is loaded into every pytest run, and numpy takes a while
    import numpy as np
    import numpy.typing as npt

MOST = 1e18
"""Of what float32 can square, and sum up over a batch."""
LOOKED_AT = 64
"""Rows of a large array, which may be a memory map."""


def is_array(value: Any) -> bool:
    """Return whether a value is a plain array of numpy, without a mask."""
    import numpy as np

    return isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray)


def kind_of(value: Any) -> str:
    """Say what a value is that is no array, and how to make it one."""
    kind = type(value).__name__
    if kind == "MaskedArray":
        return "a MaskedArray, needs a numpy array; fill or leave out what is masked"
    remedy = "values.numpy(force=True)" if kind == "Tensor" else "np.asarray(values)"
    return f"a {kind}, needs a numpy array: {remedy}"


def first_not_finite(values: npt.NDArray[np.generic]) -> int | None:
    """Return the first row (n, ...) that holds NaN or infinity."""
    import numpy as np

    finite = np.isfinite(values).reshape(len(values), -1).all(1)
    return None if finite.all() else int(np.flatnonzero(~finite)[0])


def largest(values: npt.NDArray[Any]) -> tuple[int, float]:
    """Return the row (n, ...) whose magnitude is largest, and that magnitude."""
    import numpy as np

    rows = np.abs(values).reshape(len(values), -1).max(1, initial=0)
    row = int(rows.argmax())
    return row, float(rows[row])


def some_rows(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return a few rows from all over a split, so that no memory map is read as a whole."""
    import numpy as np

    places = np.linspace(0, len(rows) - 1, min(LOOKED_AT, len(rows)))
    return np.asarray(rows[places.astype(int)])


def for_torch(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array that torch takes as it is: its numbers, bytes in the machine's order.

    Raises ValueError for what holds no numbers.
    """
    import numpy as np

    kind = values.dtype
    if kind.kind not in "biufc":
        remedy = "np.stack(list(values)), or " if kind.kind == "O" else ""
        raise ValueError(f"it holds {kind}, needs numbers: {remedy}values.astype('float32')")
    if kind.kind in "fc" and kind.itemsize > (8 if kind.kind == "f" else 16):  # long double
        kind = np.dtype("float64" if kind.kind == "f" else "complex128")
    # contiguous, and writable: torch warns of what is not
    return np.require(values, kind.newbyteorder("="), ["C", "W"])


def common_rows(
    first: tuple[npt.NDArray[Any], npt.NDArray[np.int64]],
    second: tuple[npt.NDArray[Any], npt.NDArray[np.int64]],
) -> npt.NDArray[np.int64]:
    """Return the rows that two splits, inputs and rows of each, have in common."""
    import numpy as np

    (one, rows), (other, others) = first, second
    same = one is other or place_of(one) == place_of(other)
    return np.intersect1d(rows, others) if same else np.empty(0, np.int64)


def place_of(values: npt.NDArray[Any]) -> tuple[object, ...]:
    """Return which memory an array shows, and how."""
    start = values.__array_interface__["data"][0]
    return start, values.shape[1:], values.strides, values.dtype.str
