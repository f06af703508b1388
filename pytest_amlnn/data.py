"""The examples of a case: what a dataset hands to training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the plugin is loaded into every pytest run, and numpy takes a while
    import numpy as np
    import numpy.typing as npt


class DataError(Exception):
    """A dataset that cannot be used; the message says which file and what to do."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Trained weights that a net starts from, and what the record says of them."""

    path: Path
    source: str
    """Where they were found."""
    tag: str
    """Which ones they are."""
    know_classes: bool = True
    """Whether a net that starts from them tells the classes apart; one with a fresh head does
    not, and may begin at chance."""

    @property
    def facts(self) -> dict[str, str]:
        """What the record says of them."""
        return {"tag": self.tag, "source": self.source, "sha256": self.sha256}

    @cached_property
    def sha256(self) -> str:
        """Of the file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, kw_only=True)
class Split:
    """Examples of one split, read by row so that a memory map is never copied whole."""

    inputs: npt.NDArray[np.generic]
    """Of all examples: uint8 (n, height, width, 3) pictures, or float64 (n, window) series."""
    rows: npt.NDArray[np.int64]
    """The rows of `inputs` that belong to this split, in order."""
    targets: npt.NDArray[np.generic]
    """One target for each of `rows`: int64 class numbers, or float64 values."""
    names: Sequence[str]
    """One name for each of `rows`: of the picture's file, or of the point in time."""

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Labelled pictures, split three ways."""

    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    """Names of the classes; a label is an index into them."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """What the record says of the dataset: name, digest, counts, class words."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """Windows of a series and the values that follow them, split in order of time."""

    train: Split
    validation: Split
    test: Split
    center: float
    """Mean of the training points; with `scale`, fitted on nothing else."""
    scale: float
    """Standard deviation of the training points, in original units."""
    naive_error: float
    """Mean absolute error of the seasonal naive forecast in training: MASE's divisor."""
    forecasts: Mapping[str, npt.NDArray[np.float64]]
    """Forecasts to compare with, one value for each test target: `oracle`, `last_value`,
    `seasonal_naive`, `autoregression`."""
    noise_scale: npt.NDArray[np.float64]
    """Standard deviation of the noise in each test target, in original units."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """What the record says of the dataset: name, digest, counts, and what its oracle is."""


Splits = Pictures | Series
Data = Callable[[int], Splits]
"""The splits that a run with this seed is trained on; pictures are the same for every seed."""
