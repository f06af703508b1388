"""Where values in the order of time step to another level, by a test of stated chance.

One step is looked for at every place at once: the statistic is the largest share of the sum of
squares that lies between what comes before a place and what comes after, which is that of the
likelihood-ratio test for one change of a mean (Sen and Srivastava 1975; Worsley 1979). Both
sides of a step are then searched again: binary segmentation (Scott and Knott 1974).

How large the statistic gets by chance is counted among drawn sequences in which nothing
changed (Monte Carlo test, drawn only as often as needed: Besag and Clifford 1991). There are
two models of those, `Shuffled` and `Drifting`.

A search has a level; each half that it leaves has half of it. Stretches that truly have one
level are leaves of a binary tree, so what they cost together is at most the level (Kraft's
inequality), however many steps there are. docs/history.md has the rates that were measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

Groups = Sequence[Sequence[float]]
"""Values in the order of time; a step can lie between two groups."""

EXCEEDANCES = 20
"""Drawn sequences with as large a step, after which no more are drawn."""
FIRST, MOST = 500, 400_000
"""Sequences that are drawn at once at first, and at most in all."""
LARGEST_BATCH = 1_000_000
"""Values that are drawn at once: 8 MB."""
ROUNDING = 1e-9
"""Sums of the same values in another order differ by less."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A step between two groups."""

    place: int
    """Index of the first group after it."""
    chance: float
    """Of such a step where nothing changed: to be held against the level of the search."""


class Model(Protocol):
    """How values vary where nothing changed."""

    @property
    def apart(self) -> bool:
        """Whether every value after a step must lie on one side of every value before it."""

    def places(self, groups: Groups) -> Sequence[int]:
        """Return the indexes of the groups that a new level can begin with."""

    def least(self, groups: Groups) -> float:
        """Return the smallest chance that a step among so many values can have."""

    def draw(self, rng: np.random.Generator, values: Any, rows: int) -> Any:
        """Return so many sequences in which nothing changed, as rows."""


def steps(groups: Groups, model: Model, level: float) -> list[Found]:
    """Return the steps that are found at a level, in the order of their places."""
    return search(groups, model, level, share=1.0, first=0)


def search(
    groups: Groups, model: Model, level: float, *, share: float, first: int
) -> list[Found]:
    """Return the steps of a stretch that begins at a place, and has a share of the level."""
    if not model.places(groups) or model.least(groups) > level * share:
        return []
    place, chance = largest_step(groups, model, level * share)
    if chance > level * share:
        return []
    half = share / 2
    return [
        *search(groups[:place], model, level, share=half, first=first),
        Found(place=first + place, chance=chance / share),
        *search(groups[place:], model, level, share=half, first=first + place),
    ]


def largest_step(groups: Groups, model: Model, level: float) -> tuple[int, float]:
    """Return the place of the largest step, and the chance of one as large."""
    import numpy as np

    places = model.places(groups)
    ends = np.cumsum([len(group) for group in groups])
    cuts = ends[np.asarray(places) - 1]
    values = normalised([value for group in groups for value in group])
    found, sizes = sizes_of(values[np.newaxis], cuts, apart=model.apart)
    place, size = places[int(found[0])], float(sizes[0])
    if size == 0:
        return place, 1.0
    rng, drawn, larger = np.random.default_rng(0), 0, 0
    for rows in batches(min(MOST, math.ceil(EXCEEDANCES / level)), len(values)):
        _, sizes = sizes_of(model.draw(rng, values, rows), cuts, apart=model.apart)
        above = np.flatnonzero(sizes >= size - ROUNDING)
        if larger + len(above) >= EXCEEDANCES:
            last = int(above[EXCEEDANCES - larger - 1])
            return place, EXCEEDANCES / (drawn + last + 1)
        drawn, larger = drawn + rows, larger + len(above)
    return place, (larger + 1) / (drawn + 1)


def batches(count: int, width: int) -> Iterator[int]:
    """Yield numbers of rows that add up to a count: few at first, as most searches need."""
    most = max(1, LARGEST_BATCH // width)
    size = min(FIRST, most)
    while count > 0:
        yield min(size, count)
        count, size = count - size, min(2 * size, most)


def sizes_of(rows: Any, cuts: Any, *, apart: bool) -> tuple[Any, Any]:
    """Return for each row the index of the cut with the largest step, and its size, 0 to 1.

    Where both sides must lie apart, a step whose sides do not has no size.
    """
    import numpy as np

    count = rows.shape[1]
    away = rows - rows.mean(axis=1, keepdims=True)
    whole = (away**2).sum(axis=1)
    sums = np.cumsum(away, axis=1)[:, cuts - 1]
    between = sums**2 * count / (cuts * (count - cuts))
    best = between.argmax(axis=1)
    each = np.arange(len(rows))
    sizes = between[each, best] / np.where(whole > 0, whole, 1.0)
    if apart:
        cut = cuts[best]
        most = np.maximum.accumulate(rows, axis=1)[each, cut - 1]
        least = np.minimum.accumulate(rows, axis=1)[each, cut - 1]
        later = rows[:, ::-1]
        most_later = np.maximum.accumulate(later, axis=1)[each, count - cut - 1]
        least_later = np.minimum.accumulate(later, axis=1)[each, count - cut - 1]
        sizes = np.where((most < least_later) | (least > most_later), sizes, 0.0)
    return best, sizes


def normalised(values: Sequence[float]) -> np.ndarray:
    """Return values less their mean, in units of the largest: all squares are numbers."""
    import numpy as np

    found = np.asarray(values, dtype=float)
    found = found / (float(abs(found).max()) or 1.0)
    away = found - found.mean()
    largest = float(abs(away).max())
    # what is left of equal values is rounding
    return away / largest if largest > ROUNDING * 1e-3 else np.zeros_like(away)


# models


@dataclass(frozen=True, kw_only=True)
class Shuffled:
    """Any order of the values is as likely: Fisher's permutation test.

    It holds for runs of independent seeds, however they are distributed, and for every number
    of them.
    """

    apart: bool = False

    def places(self, groups: Groups) -> Sequence[int]:
        """Return every place but the first."""
        return range(1, len(groups))

    def least(self, groups: Groups) -> float:
        """Return one over the most ways to divide the values at a place."""
        count, before, most = sum(map(len, groups)), 0, 1
        for group in groups[:-1]:
            before += len(group)
            most = max(most, math.comb(count, before))
        return 1 / most

    def draw(self, rng: np.random.Generator, values: Any, rows: int) -> Any:
        """Return the values in random orders."""
        import numpy as np

        return rng.permuted(np.tile(values, (rows, 1)), axis=1)


EDGE = 4
"""Sweeps on each side of a step: fewer may share a busy hour."""
LIKENESS = 0.5
"""Correlation of a sweep with the one before it, up to which `Drifting` holds."""
WARM_UP = 12
"""Values after which a drawn sequence has forgotten where it began: 0.5 ** 12 is 0.0002."""


@dataclass(frozen=True, kw_only=True)
class Drifting:
    """One value a sweep, each like the one before it: an autoregression of first order.

    Times on a shared machine are so. Too few sweeps for the orders of them to tell anything are
    the rule, so the distribution is taken to be normal; what keeps outliers out is that both
    sides of a step have several sweeps and lie apart.
    """

    apart: bool = True

    def places(self, groups: Groups) -> Sequence[int]:
        """Return the places with enough sweeps on both sides."""
        return range(EDGE, len(groups) - EDGE + 1)

    def least(self, groups: Groups) -> float:
        """Return 0: a step can be as large as it likes."""
        return 0.0

    def draw(self, rng: np.random.Generator, values: Any, rows: int) -> Any:
        """Return normal sequences that forget by half from one value to the next."""
        found = rng.normal(size=(rows, WARM_UP + len(values)))
        for i in range(1, found.shape[1]):
            found[:, i] += LIKENESS * found[:, i - 1]
        return found[:, WARM_UP:]
