"""The examples of a case, what they say of themselves, and where they come from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pytest_amlnn.errors import UserError
from pytest_amlnn.facts import plain_facts
from pytest_amlnn.fields import NAME, Bound, check_field

if TYPE_CHECKING:  # the plugin is loaded into every pytest run, and numpy takes a while
    import numpy as np
    import numpy.typing as npt


SPLITS = ("train", "validation", "test")


class DataError(UserError):
    """A dataset that cannot be used; the message says which file or row and what to do."""


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
        """SHA-256 of the file."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, kw_only=True)
class Split:
    """Examples of one split, read by row so that a memory map is never copied whole."""

    inputs: npt.NDArray[np.generic]
    """Of all examples, one a row: uint8 (n, height, width, 3) pictures, float64 (n, window)
    series, or what the task says."""
    rows: npt.NDArray[np.int64]
    """The rows of `inputs` that belong to this split, in order."""
    targets: npt.NDArray[np.generic]
    """One target for each of `rows`: int64 class numbers, float64 values, or what the task
    says."""
    names: Sequence[str]
    """One name for each of `rows`, each once: of a picture's file, or of a point in time."""

    def __len__(self) -> int:
        return len(self.rows)


class Splits(Protocol):
    """What a dataset hands to training: three splits, and what it says of itself."""

    @property
    def train(self) -> Split:
        """The examples that gradients are computed on."""

    @property
    def validation(self) -> Split:
        """The examples that choose the best epoch, and when to stop."""

    @property
    def test(self) -> Split:
        """The examples that are looked at once, at the end."""

    @property
    def facts(self) -> Mapping[str, object]:
        """What the record says of the dataset: name, digest, counts."""


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Three splits, and nothing else that a task would need to know."""

    train: Split
    validation: Split
    test: Split
    facts: Mapping[str, object] = field(default_factory=dict)
    """What the record says of the dataset: name, digest, counts."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Labelled examples, split three ways: pictures, or whatever else has classes."""

    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    """Names of the classes; a label is an index into them."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """What the record says of the dataset: name, digest, counts, class words."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """Windows of a series and the values that follow them, split in order of time.

    A measured series has no oracle and no noise scale; what is left out is not reported.
    """

    train: Split
    validation: Split
    test: Split
    center: float
    """Mean of the training points; with `scale`, fitted on nothing else."""
    scale: float
    """Standard deviation of the training points, in original units."""
    naive_error: float | None = None
    """Mean absolute error of the seasonal naive forecast in training: MASE's divisor."""
    forecasts: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    """Forecasts to compare with, one value for each test target: any of `oracle`,
    `last_value`, `seasonal_naive`, `autoregression`."""
    noise_scale: npt.NDArray[np.float64] | None = None
    """Standard deviation of the noise in each test target, in original units."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """What the record says of the dataset: name, digest, counts, and what its oracle is."""


def name_of(value: Any) -> str:
    """Return the same text for a value in every process.

    That of a function or a class is its module and qualified name, behind partials, too.
    """
    while isinstance(value, partial):
        value = value.func
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return re.sub(" at 0x[0-9a-fA-F]+", "", repr(value))


Data = Callable[[int], Any]
"""The splits that a run with this seed is trained on: a `Source`, or a function in a test."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Data by reference: which function opens them, with which arguments, in any process.

    Calling a source with a run's seed gives the splits.
    """

    name: str
    """Of the dataset: in case ids, tables, and `--amlnn-data NAME=PATH`."""
    open: Callable[..., Any] | None = None
    """An importable function of `arguments`, of `seed` if it is `seeded`, and of `place` if it
    is `placed`. None: the test hands its data to `train`, and the case stays in one process."""
    arguments: Mapping[str, int | float | str | bool] = field(default_factory=dict)
    seeded: bool = False
    """The seed of a run draws the data."""
    placed: bool = False
    """The data are files, which lie somewhere else on each machine."""
    place: str | None = None
    """Where they lie on this machine, as `--amlnn-data` says; None leaves it to the dataset."""
    missing: Callable[..., str | None] | None = None
    """A function like `open`, without the seed: says why the data are not on this machine, and
    which command gets them; None where they are."""

    def __post_init__(self) -> None:
        """Refuse what cannot be opened or recorded."""
        of = f"source {self.name}"
        check_field(of, "name", self.name, str, NAME)
        for name in ("open", "missing"):
            check_field(of, name, getattr(self, name), Callable | None, FUNCTION)
        check_field(of, "arguments", self.arguments, Mapping[str, object])
        for name in ("seeded", "placed"):
            check_field(of, name, getattr(self, name), bool)
        check_field(of, "place", self.place, str | None)

    def __call__(self, seed: int) -> Any:
        """Return the splits that a run with this seed is trained on; raises DataError."""
        if self.open is None:
            raise DataError(
                f"the case names no function that opens {self.name}: call train(case, data), or"
                " name one, as in Source(open=...)"
            )
        return self.open(**self.given, **({"seed": seed} if self.seeded else {}))

    @property
    def given(self) -> dict[str, Any]:
        """The arguments of `open` and `missing`."""
        return {**self.arguments, **({"place": self.place} if self.placed else {})}

    def at(self, place: str | None) -> Source:
        """Return the source whose files lie there; one without files is as it was."""
        return replace(self, place=place) if self.placed else self

    def unavailable(self) -> str | None:
        """Say why the data are not on this machine, and how to get them; None if they are."""
        return self.missing(**self.given) if self.missing else None

    def __repr__(self) -> str:
        """Return name, function and arguments; not where the files lie on this machine."""
        opens = "" if self.open is None else f", open={name_of(self.open)}"
        arguments = "".join(
            f", {name}={name_of(value)}" for name, value in self.arguments.items()
        )
        return f"{type(self).__qualname__}({self.name!r}{opens}{arguments})"


FUNCTION: Bound = ("a function, and not what it gives, or None", lambda function: True)


def facts_of(splits: Splits) -> dict[str, Any]:
    """Return what a dataset says of itself as plain data; DataError where JSON has no text."""
    try:
        return plain_facts(splits.facts)
    except ValueError as error:
        raise DataError(f"facts of the dataset cannot be stored as JSON: {error}") from error
