"""What a net said of each test example, as a file beside the record of its run."""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_amlnn import disk
from pytest_amlnn.disk import DiskError, StoreError
from pytest_amlnn.result import Run
from pytest_amlnn.store import run_file

if TYPE_CHECKING:
    import numpy as np

LARGEST = 2**32
"""In bytes."""


class DamagedAnswers(UserWarning):
    """An answer file that is not the one that a run was stored with, and what is done."""


def load_answers(folder: Path, id: str, seed: int) -> tuple[list[str], dict[str, np.ndarray]]:
    """Read what a net said of each test example: their names, and arrays by name, row by row.

    Raises StoreError where the run has no answers, as one that diverged, or they are damaged.
    """
    from safetensors import SafetensorError, safe_open

    file = run_file(folder, id, seed).with_suffix(".safetensors")
    try:
        disk.open_regular(file).close()
        with safe_open(file, "numpy") as opened:
            names = json.loads(opened.metadata()["names"])
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            return names, arrays
    except DiskError as error:
        raise StoreError(str(error)) from error
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise StoreError(f"{file} cannot be read: {error}") from error


def damaged_answers(folder: Path, run: Run) -> str:
    """Say what is wrong with the answer file of a run that ended; nothing where it is whole."""
    if run.answers is None:
        return ""
    file = run_file(folder, run.id, run.seed).with_suffix(".safetensors")
    try:
        with disk.open_regular(file) as stream:
            if os.fstat(stream.fileno()).st_size <= LARGEST:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
                return "" if found == run.answers else f"{file} is not as it was stored"
    except FileNotFoundError:
        return f"{file} is gone"
    except (OSError, DiskError) as error:
        return str(error)
    return f"{file} is too large"


def forget_damaged(folder: Path, run: Run) -> bool:
    """Remove the record of a run whose answer file is not the one that was stored with it.

    Warns where it does, once it is done, and returns whether it did.
    """
    words = damaged_answers(folder, run)
    if words:
        run_file(folder, run.id, run.seed).unlink(missing_ok=True)
        warnings.warn(f"{words}: its run is repeated", DamagedAnswers, stacklevel=2)
    return bool(words)


def are_rows(names: Any, arrays: Mapping[str, Any]) -> bool:
    """Return whether there is a row a name in each array, and labels are whole numbers."""
    named = isinstance(names, list) and all(isinstance(name, str) for name in names)
    labels = [arrays[name] for name in ("label", "predicted") if name in arrays]
    return (
        named
        and all(len(array.shape) and len(array) == len(names) for array in arrays.values())
        and all(label.ndim == 1 and label.dtype.kind in "iu" for label in labels)
    )


# of a classifier


def are_chances(confidence: Any) -> bool:
    """Return whether each example has a chance between 0 and 1; nothing of none."""
    one = confidence.ndim == 1 and bool(confidence.size)
    return one and bool(((confidence >= 0) & (confidence <= 1)).all())


BINS = 10
"""Of a reliability diagram: confidences in tenths."""


def reliability(said: Mapping[str, Any]) -> list[tuple[int, float, float]]:
    """Return of each bin of confidences its size, mean confidence and share that is right."""
    import numpy as np

    confidence = np.asarray(said["confidence"], dtype=float)
    right = right_of_answers(said)
    place = np.clip((confidence * BINS).astype(int), 0, BINS - 1)
    bins = [place == number for number in range(BINS)]
    return [
        (int(b.sum()), float(confidence[b].mean()), float(right[b].mean()))
        for b in bins
        if b.any()
    ]


def calibration_error(said: Mapping[str, Any]) -> float:
    """Return by how much confidence differs from accuracy, on average over the examples."""
    bins = reliability(said)
    total = sum(size for size, _, _ in bins)
    return math.fsum(n * abs(sure - right) for n, sure, right in bins) / max(total, 1)


def right_of_answers(said: Mapping[str, Any]) -> np.ndarray:
    """Return which test examples were classified right, bool (n,)."""
    found: np.ndarray = said["label"] == said["predicted"]
    return found
