"""Windows of a series: how they are normalised, and what is refused of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

from pytest_amlnn.arrays import MOST, largest
from pytest_amlnn.data import DataError, Series, Split
from pytest_amlnn.fields import is_number, shown, without_numpy

if TYPE_CHECKING:
    import numpy as np

    from pytest_amlnn.recipe import Recipe


def windows_of(split: Split) -> np.ndarray:
    """Return the windows of a split (n, window); half floats as doubles."""
    windows = split.inputs[split.rows]
    return windows.astype("float64") if windows.dtype.itemsize < 4 else windows


def normalised(split: Split, splits: Series, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Return windows (n, window) and targets (n, 1) less their center, in units of `scale`."""
    import numpy as np

    windows = windows_of(split)
    with np.errstate(over="ignore", invalid="ignore"):  # checks name the row
        center = centers(windows, splits, recipe)
        inputs = (windows - center) / splits.scale
        targets = (split.targets[:, None] - center) / splits.scale
    return inputs, targets


def beside_of(splits: Series) -> dict[str, np.ndarray]:
    """Return what stands beside the test targets: forecasts, and the noise scale if known."""
    import numpy as np

    known = {} if splits.noise_scale is None else {"noise_scale": splits.noise_scale}
    return {name: np.asarray(values) for name, values in {**splits.forecasts, **known}.items()}


def centers(windows: np.ndarray, splits: Series, recipe: Recipe) -> np.ndarray:
    """Return what each window (n, window) is centred by, (n, 1): its own mean, or train's."""
    import numpy as np

    if recipe.normalise == "window":
        return np.asarray(windows.mean(1, keepdims=True))
    return np.full((len(windows), 1), splits.center)


# checks


def check_windows(name: str, split: Split) -> None:
    """Refuse inputs that are not (n, window) floats, and targets that are not (n,) floats."""
    inputs, targets = split.inputs, split.targets
    if inputs.ndim != 2 or inputs.dtype.kind != "f" or not inputs.size:
        raise DataError(
            f"{name} split: windows are {inputs.dtype} {inputs.shape}, needs floats (n, window)"
            f"{remedy_for(inputs, 2)}"
        )
    if targets.ndim != 1 or targets.dtype.kind != "f":
        raise DataError(
            f"{name} split: targets are {targets.dtype} {targets.shape}, needs one float a row"
            f"{remedy_for(targets, 1)}"
        )


def remedy_for(values: np.ndarray, axes: int) -> str:
    """Say how values become floats with so many axes."""
    if values.ndim == axes + 1 and values.shape[-1] == 1:
        return ": values[..., 0]"
    numbers = values.ndim == axes and values.dtype.kind in "biu"
    return ": values.astype('float64')" if numbers else ""


def check_units(splits: Series) -> None:
    """Refuse a center and a scale that nothing can be normalised by, and a wrong error."""
    lacking = [field.name for field in fields(Series) if not hasattr(splits, field.name)]
    if lacking:
        raise DataError(f"the data have no {', '.join(lacking)}; needs a Series")
    center, scale, naive = map(without_numpy, (splits.center, splits.scale, splits.naive_error))
    if not (is_number(center, float) and is_number(scale, float) and scale > 0):
        place, most = largest(windows_of(splits.train))
        why = f"; the largest value is {most:.6g}, in row {int(splits.train.rows[place])}"
        if is_number(scale, float) and scale == 0:
            why = "; a constant series has none: give 1.0"
        raise DataError(
            f"series: center is {shown(center)}, scale {shown(scale)}; needs the mean and"
            f" the standard deviation of the training points, finite and above 0{why}"
        )
    if naive is not None and not (is_number(naive, float) and naive >= 0):
        raise DataError(f"series: naive_error is {shown(naive)}, needs 0 or more, or None")


def check_normalised(name: str, splits: Series, recipe: Recipe) -> None:
    """Refuse values so far from the others that float32 cannot hold their square."""
    split = getattr(splits, name)
    for values in normalised(split, splits, recipe):
        place, most = largest(values)
        if not most <= MOST:
            raise DataError(
                f"{name} split: row {int(split.rows[place])} holds a value {most:.3g} standard"
                f" deviations from the center (center {splits.center:.6g}, scale"
                f" {splits.scale:.6g}); remove or fill it, or fit center and scale on the"
                " training points"
            )


RESERVED = ("forecast", "truth", "noise_scale")
"""Answers of a run, beside which the forecasts to compare with are stored."""


def check_beside(splits: Series) -> None:
    """Refuse what stands beside the test targets unless it is one finite float for each."""
    import numpy as np

    named = isinstance(splits.forecasts, Mapping)
    if not named or not all(isinstance(name, str) for name in splits.forecasts):
        raise DataError(
            f"series: forecasts are {shown(splits.forecasts)}, needs a dict by name"
        )
    taken = [name for name in splits.forecasts if name in RESERVED or not name.isidentifier()]
    if taken:
        raise DataError(
            f"series: a forecast is named {taken[0]!r}; needs a name of letters, digits and"
            f" underscores other than {', '.join(RESERVED)}"
        )
    tests = len(splits.test)
    for name, values in beside_of(splits).items():
        shape, kind = values.shape, values.dtype
        if shape != (tests,) or kind.kind != "f" or not np.isfinite(values).all():
            raise DataError(
                f"test split: {name} is {kind} {shape}, needs one finite float for each of"
                f" {tests} targets"
            )
        if name == "noise_scale" and values.min() < 0:
            raise DataError("test split: noise_scale is below 0, needs a standard deviation")
