"""A field of a recipe that is searched for before a case is trained, on validation alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_amlnn.fields import NAME, Bound, check_fields


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
    """Seeds of each trial, whose validation losses are averaged."""

    def __post_init__(self) -> None:
        """Refuse what cannot be searched."""
        check_fields(self, "search", SEARCH_BOUNDS)
        if not self.low < self.high:
            raise ValueError(
                f"search: low is {self.low}, high {self.high}: nothing lies between"
            )
        if self.method == "range" and self.field != "learning_rate":
            raise ValueError(f"search: a range test finds no {self.field}; use optuna")


SEARCH_BOUNDS: dict[str, Bound] = {
    "low": ("above 0", lambda value: value > 0),
    "field": NAME,
    "seed": ("0 or more", lambda value: value >= 0),
    **{name: ("1 or more", lambda count: count >= 1) for name in ("trials", "repeats")},
}
