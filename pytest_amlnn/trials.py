"""What was tried in a search: a file for each case, written whole after each trial."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from pytest_amlnn import store
from pytest_amlnn.disk import StoreError, below
from pytest_amlnn.errors import UserError
from pytest_amlnn.identity import changes_in_words
from pytest_amlnn.result import FINISHED, SCHEMA, finite
from pytest_amlnn.search import Search

AFRESH = "remove it to search afresh"


class SearchError(UserError):
    """A search that found nothing, or cannot begin; the message says what to change."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A value that was tried, or what one range test says."""

    value: float | None
    """None where a range test has none to choose."""
    loss: float | None
    """The lowest on validation, mean over the seeds; of a range test the lowest one of its
    curve. None where it is no finite number."""
    status: str
    """`finished`; or that of the worst seed."""
    seeds: tuple[int, ...]
    seconds: float
    curve: tuple[tuple[float, float], ...] = ()
    """Of a range test: each step's learning rate, and the smoothed loss there."""


@dataclass(frozen=True, kw_only=True)
class Searched:
    """A search as far as it has come."""

    id: str
    """Of the case."""
    search: Search
    identity: Mapping[str, Any]
    """What the trials' numbers follow from besides, as plain data."""
    trials: tuple[Trial, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether all has been tried."""
        return len(self.trials) == self.search.total

    @property
    def best(self) -> Trial | None:
        """The first trial with the lowest loss so far; None where none has finished."""
        known = [t for t in self.trials if t.status == FINISHED and t.loss is not None]
        return min(known, key=lambda trial: trial.loss or 0.0, default=None)

    @property
    def found(self) -> float | None:
        """The value that was searched for: the best one that was tried, or the geometric mean
        of what the range tests chose; None as long as there is none."""
        if not self.is_over:
            return None
        if self.search.method == "optuna":
            return self.best.value if self.best else None
        values = [trial.value for trial in self.trials if trial.value is not None]
        if len(values) < len(self.trials):
            return None
        mean = math.exp(math.fsum(map(math.log, values)) / len(values))
        return min(max(mean, self.search.low), self.search.high)

    @property
    def failure(self) -> str:
        """Say why nothing was found, and what to do."""
        search = self.search
        reach = f"from {search.low:g} to {search.high:g}"
        if search.method == "optuna":
            tried = f"none of {search.total} trials {reach} ended with a finite loss"
        else:
            seeds = [trial.seeds[0] for trial in self.trials if trial.value is None]
            tried = f"with seed {seeds[0]} no value {reach} lowered the loss"
        return f"search of {search.field}: {tried}; search among lower values"


def to_plain(searched: Searched) -> dict[str, Any]:
    """Return a search as JSON-ready data, with what it found."""
    plain = {"schema": SCHEMA, **asdict(searched), "found": searched.found}
    finite_plain: dict[str, Any] = finite(plain)
    return finite_plain


def from_plain(plain: Mapping[str, Any]) -> Searched:
    """Return the search that `to_plain` was given; ValueError for one that cannot be."""
    search = Search(**plain["search"])
    trials = [
        Trial(
            **{
                **trial,
                "seeds": tuple(trial["seeds"]),
                "curve": tuple(map(tuple, trial["curve"])),
            }
        )
        for trial in plain["trials"]
    ]
    named = {field.name: plain[field.name] for field in fields(Searched)}
    searched = Searched(**{**named, "search": search, "trials": tuple(trials)})
    if len(trials) > search.total:
        raise ValueError(f"it has {len(trials)} trials, of {search.total}")
    for number, trial in enumerate(trials, 1):
        if trial.value is not None and not search.low <= trial.value <= search.high:
            raise ValueError(f"the value of trial {number} is {trial.value}, out of reach")
    if searched.found != plain["found"]:
        raise ValueError(f"found is {plain['found']}, its trials say {searched.found}")
    return searched


# files


def file_of(folder: Path, id: str) -> Path:
    """Return where the search of a case is described; DiskError where a link leads there."""
    return below(folder, store.SEARCHES, f"{store.key(id)}.json")


def save(folder: Path, searched: Searched) -> None:
    """Write a search as far as it has come."""
    store.write_json(file_of(folder, searched.id), to_plain(searched))


def load(folder: Path, id: str) -> Searched | None:
    """Read the search of a case; None where there is none, StoreError where it is damaged."""
    from pytest_amlnn import records  # not before something is read: it takes a while

    file = file_of(folder, id)
    if not os.path.lexists(file):
        return None
    try:
        searched = from_plain(records.read_search(file))
        if store.key(searched.id) != store.key(id):
            raise StoreError(f"{file} is of another case: {searched.id[:200]}")
    except ValueError as error:
        raise StoreError(f"{file} cannot be read: {error}; {AFRESH}") from error
    except StoreError as error:
        raise StoreError(f"{error}; {AFRESH}") from error
    return searched


def begun(folder: Path, fresh: Searched) -> Searched:
    """Return a search as far as an earlier process came, or the fresh one.

    Raises StoreError where what is stored is another search, or one in another training.
    """
    earlier = load(folder, fresh.id)
    if earlier is None:
        return fresh
    then, now = (
        store.as_stored({**searched.identity, "search": asdict(searched.search)})
        for searched in (earlier, fresh)
    )
    if changed := changes_in_words(then, now):
        raise StoreError(
            f"{file_of(folder, fresh.id)} is of another search: {changed}. Remove it to search"
            " afresh, name another --amlnn-out, or resume with all of this as it was"
        )
    return replace(fresh, trials=earlier.trials)


def trials_of(folder: Path, id: str) -> list[dict[str, Any]] | None:
    """Return what was tried for a case, in order, as plain data; None where nothing was.

    Each has `value`, `loss`, `status`, `seeds`, `seconds`, and of a range test the `curve`.
    Raises StoreError where the record is damaged.
    """
    searched = load(folder, id)
    return None if searched is None else list(to_plain(searched)["trials"])
