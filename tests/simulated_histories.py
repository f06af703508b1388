"""How often steps are found in histories, where there are some and where there are none.

    python tests/simulated_histories.py REPORTS

A report has 20 cases, each with what was learned (three seeds a sweep) and with times (one a
sweep). Printed is how many reports of unchanged histories name any step, and how often one step
is found between the right sweeps, and no other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product

import numpy as np

from pytest_amlnn.gates.bounds import FAMILY
from pytest_amlnn.report.change_points import Drifting, Model, Shuffled, steps
from pytest_amlnn.statistics import wilson

CASES, SEEDS, WARM_UP = 20, 3, 50
LEVEL = FAMILY / (2 * CASES)
"""Of a history: all of a report share the family's."""


def normal(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """Give noise of deviation 1."""
    return rng.normal(size=size)


def heavy(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """Give noise of deviation 1 with the tails of Student's t of three degrees of freedom."""
    return rng.standard_t(3, size=size) / np.sqrt(3)


def failing(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """Give normal noise, and one value in twenty that lies ten deviations away."""
    return rng.normal(size=size) + 10 * (rng.random(size) < 0.05)


NOISES: dict[str, Callable[..., np.ndarray]] = {
    "normal": normal,
    "t, 3 degrees": heavy,
    "1 in 20 fails": failing,
}
LIKENESSES = (0.0, 0.3, 0.5, 0.7)


def learned(rng: np.random.Generator, noise: str, sweeps: int) -> list[list[float]]:
    """Give the values of each sweep's seeds."""
    return NOISES[noise](rng, (sweeps, SEEDS)).tolist()


def times(
    rng: np.random.Generator, noise: str, sweeps: int, likeness: float
) -> list[list[float]]:
    """Give the logarithm of a time for each sweep, each like the one before it."""
    found = NOISES[noise](rng, (WARM_UP + sweeps,))
    for i in range(1, len(found)):
        found[i] += likeness * found[i - 1]
    return [[value] for value in (found[WARM_UP:] * np.sqrt(1 - likeness**2)).tolist()]


def false_reports(kind: str, noise: str, sweeps: int, likeness: float, *, reports: int) -> int:
    """Give how many reports of unchanged cases name a step in histories of this kind."""
    rng = np.random.default_rng([sweeps, reports, int(10 * likeness), len(noise)])
    count = 0
    for _ in range(reports):
        if kind == "times":
            found = any(
                steps(times(rng, noise, sweeps, likeness), Drifting(), LEVEL)
                for _ in range(CASES)
            )
        else:
            found = any(
                steps(learned(rng, noise, sweeps), Shuffled(), LEVEL) for _ in range(CASES)
            )
        count += found
    return count


def raised(groups: Sequence[Sequence[float]], place: int, size: float) -> list[list[float]]:
    """Give the same with a step before a sweep."""
    return [[v + size * (i >= place) for v in group] for i, group in enumerate(groups)]


def found_right(kind: str, sweeps: int, size: float, place: int, *, reports: int) -> int:
    """Give how often a step of so many deviations is found there, and no other."""
    rng = np.random.default_rng([sweeps, reports, place])
    model: Model = Drifting() if kind == "times" else Shuffled()
    count = 0
    for _ in range(reports):
        groups = (
            times(rng, "normal", sweeps, 0.0)
            if kind == "times"
            else learned(rng, "normal", sweeps)
        )
        found = steps(raised(groups, place, size), model, LEVEL)
        count += [step.place for step in found] == [place]
    return count


def share(count: int, of: int) -> str:
    """Give a share in per cent, with its 95 % interval."""
    low, high = wilson(count / of, of)
    return f"{100 * count / of:.2f} % [{100 * low:.2f}, {100 * high:.2f}]"


def call(function: Callable[..., int], arguments: Sequence[object]) -> int:
    return function(*arguments)


def main(reports: int) -> None:
    """Print the rates."""
    unchanged = [
        *product(["learned"], NOISES, (10, 20, 30), [0.0]),
        *product(["times"], NOISES, (10, 20, 30), LIKENESSES),
    ]
    stepped = [
        *product(["learned"], (8, 12, 20), (2.0, 3.0, 4.0), ["middle", "end"]),
        *product(["times"], (8, 12, 20, 30), (6.0, 8.0, 10.0, 15.0), ["middle"]),
    ]
    with ProcessPoolExecutor(2) as pool:
        rates = pool.map(partial(call, partial(false_reports, reports=reports)), unchanged)
        print("| values | noise | sweeps | likeness of neighbours | reports with a step |")
        print("|---|---|---|---|---|")
        for (kind, noise, sweeps, likeness), count in zip(unchanged, rates, strict=True):
            of = share(count, reports)
            print(f"| {kind} | {noise} | {sweeps} | {likeness} | {of} |", flush=True)
        places = [(k, n, d, n // 2 if w == "middle" else n - 1) for k, n, d, w in stepped]
        rates = pool.map(partial(call, partial(found_right, reports=reports)), places)
        print("\n| values | sweeps | step, deviations | before sweep | found there alone |")
        print("|---|---|---|---|---|")
        for (kind, sweeps, size, place), count in zip(places, rates, strict=True):
            of = share(count, reports)
            print(f"| {kind} | {sweeps} | {size:g} | {place + 1} | {of} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
