"""How often equals are told apart in tables of improvements, and how often others are.

    python tests/simulated_effects.py TABLES

A table has 30 changes of which none does anything, each with a few seeds. Printed is how many
tables call any of them better or worse: by Student's t alone, with the variances of Smyth 2004
as he estimates them, and as reports have it. Below stands how often a change of so many
standard deviations is found among equals.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product

import numpy as np

from pytest_amlnn.statistics import (
    SURE,
    Prior,
    inverse_trigamma,
    moderation,
    two_sided,
    wilson,
)

ROWS = 30
Groups = Sequence[tuple[float, int]]


def student(groups: Groups) -> Prior:
    """Give a prior that knows nothing."""
    return Prior(variance=1.0, freedom=0.0)


def smyth(groups: Groups) -> Prior:
    """Give the prior of Smyth 2004, section 6.2, with no more freedom than others have."""
    from scipy.special import digamma, polygamma

    logs = [
        math.log(variance) - float(digamma(freedom / 2)) + math.log(freedom / 2)
        for variance, freedom in groups
    ]
    left = float(np.var(logs, ddof=1)) - float(polygamma(1, groups[0][1] / 2))
    most = sum(freedom for _, freedom in groups[1:])
    if left <= 0:
        return Prior(variance=float(np.mean([v for v, _ in groups])), freedom=most)
    freedom = 2 * inverse_trigamma(left)
    shift = float(digamma(freedom / 2)) - math.log(freedom / 2)
    variance = math.exp(float(np.mean(logs)) + shift)
    return Prior(variance=variance, freedom=min(freedom, most))


PRIORS: dict[str, Callable[[Groups], Prior]] = {
    "t alone": student,
    "Smyth 2004": smyth,
    "reports": moderation,
}
DEVIATIONS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "equal": lambda rng, rows: np.ones(rows),
    "from 1 to 10": lambda rng, rows: 10 ** rng.random(rows),
    "half 1, half 10": lambda rng, rows: np.where(np.arange(rows) % 2, 10.0, 1.0),
    "one is 3": lambda rng, rows: np.where(np.arange(rows) < 1, 3.0, 1.0),
    "one is 5": lambda rng, rows: np.where(np.arange(rows) < 1, 5.0, 1.0),
    "one is 10": lambda rng, rows: np.where(np.arange(rows) < 1, 10.0, 1.0),
    "a tenth is 10": lambda rng, rows: np.where(np.arange(rows) < rows // 10, 10.0, 1.0),
    "one is 0.1": lambda rng, rows: np.where(np.arange(rows) < 1, 0.1, 1.0),
}
"""Of the differences of a table's rows."""


def table(
    rng: np.random.Generator, deviations: str, seeds: int, *, shared: bool = False
) -> np.ndarray:
    """Give the differences of each row, by seed: `shared` by five rows is the base's noise."""
    noise = rng.normal(size=(ROWS, seeds))
    if shared:
        base = rng.normal(size=(ROWS // 5, seeds)).repeat(5, axis=0)
        noise = (noise - base) / math.sqrt(2)
    return noise * DEVIATIONS[deviations](rng, ROWS)[:, None]


def chances(differences: np.ndarray, prior_of: Callable[[Groups], Prior]) -> list[float]:
    """Give the chance of each row's mean, were it equal to its base."""
    seeds = differences.shape[1]
    means, variances = differences.mean(axis=1), differences.var(axis=1, ddof=1)
    prior = prior_of([(float(variance), seeds - 1) for variance in variances])
    moderated = [prior.moderated(float(variance), seeds - 1) for variance in variances]
    return [
        two_sided(float(mean), math.sqrt(variance / seeds), freedom)
        for mean, (variance, freedom) in zip(means, moderated, strict=True)
    ]


def false_tables(
    deviations: str, seeds: int, name: str, shared: bool = False, *, tables: int
) -> int:
    """Give how many tables of equals call any of them different."""
    rng = np.random.default_rng([tables, seeds, len(deviations)])
    return sum(
        min(chances(table(rng, deviations, seeds, shared=shared), PRIORS[name])) * ROWS < SURE
        for _ in range(tables)
    )


def found(size: float, seeds: int, name: str, *, tables: int) -> int:
    """Give how often a change of so many standard deviations is found among equals."""
    rng = np.random.default_rng([tables, seeds])
    count = 0
    for _ in range(tables):
        differences = table(rng, "equal", seeds)
        differences[0] += size
        count += chances(differences, PRIORS[name])[0] * ROWS < SURE
    return count


def share(count: int, of: int) -> str:
    """Give a share in per cent, with its 95 % interval."""
    low, high = wilson(count / of, of)
    return f"{100 * count / of:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def call(function: Callable[..., int], arguments: Sequence[object]) -> int:
    return function(*arguments)


def main(tables: int) -> None:
    """Print the rates."""
    equals = [
        *product(DEVIATIONS, (3, 10), PRIORS),
        *product(["equal"], (3, 10), PRIORS, [True]),
    ]
    changes = [*product((2.0, 3.0, 4.0, 6.0), (3, 5, 10), PRIORS)]
    with ProcessPoolExecutor(2) as pool:
        for title, function, rows in (
            ("deviations | seeds", false_tables, equals),
            ("change, deviations | seeds", found, changes),
        ):
            counts = pool.map(partial(call, partial(function, tables=tables)), rows)
            print(f"\n| {title} | {' | '.join(PRIORS)} |")
            print(f"|{'---|' * (2 + len(PRIORS))}")
            for first in range(0, len(rows), len(PRIORS)):
                what, seeds, _, *shared = rows[first]
                cells = [share(next(counts), tables) for _ in PRIORS]
                said = f"{what}{', bases shared' if shared else ''}"
                print(f"| {said} | {seeds} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
