"""A field of a recipe that is searched for before a case is trained, on validation alone."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from pytest_amlnn.fields import Bound, check_field, check_fields, hints_of
from pytest_amlnn.recipe import RECIPE_BOUNDS, TRANSFORMS_BOUNDS, Recipe, Transforms, between

FIELDS = tuple(
    sorted(
        name
        for kind in (Recipe, Transforms)
        for name, hint in hints_of(kind).items()
        if hint in (float, float | None)
    )
)
"""What can be searched for: numbers of a recipe, or of its transforms, that are no counts."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """How a number of a recipe is found: on the validation split, with seeds of its own."""

    method: Literal["range", "optuna"]
    """`range` raises it step by step within one short training, `optuna` tries values."""
    low: float
    high: float
    field: str = "learning_rate"
    """Of the recipe; a range test knows the learning rate alone."""
    trials: int = 10
    """Of `optuna`: values that are tried."""
    seed: int = 1000
    """First seed of the trials: those of the runs that are reported are others."""
    repeats: int = 3
    """Seeds of each trial, whose validation losses are averaged; or so many range tests."""

    def __post_init__(self) -> None:
        """Refuse what cannot be searched."""
        check_fields(self, "search", SEARCH_BOUNDS)
        for name in ("low", "high"):
            check_field("search", name, getattr(self, name), float, BOUNDS.get(self.field))
        if not self.low < self.high:
            raise ValueError(
                f"search: low is {self.low}, high {self.high}: nothing lies between"
            )
        if self.method == "range" and self.field != "learning_rate":
            raise ValueError(f"search: a range test finds no {self.field}; use optuna")

    @property
    def total(self) -> int:
        """Trials in all: values, or range tests."""
        return self.trials if self.method == "optuna" else self.repeats

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those that it trains with."""
        return tuple(range(self.seed, self.seed + self.repeats))

    def unavailable(self) -> str | None:
        """Say why it cannot search here, and how to get what it needs; None where it can."""
        if self.method == "range" or find_spec("optuna") is not None:
            return None
        return (
            f"Optuna, which is to find its {self.field}, is not installed:"
            ' pip install "pytest-amlnn[tune]"'
        )


BOUNDS = {**RECIPE_BOUNDS, **TRANSFORMS_BOUNDS}
SEARCH_BOUNDS: dict[str, Bound] = {
    "low": ("above 0", lambda value: value > 0),  # it is searched on a log scale
    "field": (f"one of {', '.join(FIELDS)}", lambda field: field in FIELDS),
    "seed": ("0 or more", lambda value: value >= 0),
    "trials": between(1, 1000),
    "repeats": between(1, 100),
}
