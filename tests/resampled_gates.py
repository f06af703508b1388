"""How often the gate is wrong, by resampling real runs.

    python tests/resampled_gates.py SUITES SEEDS,SEEDS CASE,CASE DIR...

A suite draws, for each case, 20 reference runs and new runs from a pool of real ones, and is
judged as the plugin judges it: the metric of the case, and the shape of its training. Printed
is how many suites are red where nothing was changed, how often a drop of the margin is found,
and how many seeds that takes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pytest_amlnn import store
from pytest_amlnn.gates.bounds import levels
from pytest_amlnn.gates.calibrate import calibrated
from pytest_amlnn.gates.calibration import Calibration
from pytest_amlnn.gates.gate import looks
from pytest_amlnn.gates.judging import judge
from pytest_amlnn.gates.limits import Limit, Limits
from pytest_amlnn.gates.measured import Measured, measured
from pytest_amlnn.gates.verdict import INCONCLUSIVE, PASSED, RED, REGRESSED, Judgement
from pytest_amlnn.metrics import Metric
from pytest_amlnn.result import gather
from pytest_amlnn.statistics import wilson

REFERENCE = 20
MOST = 20
"""Of --amlnn-max-repeats."""
MARGIN = 2.0
"""Deviations between seeds: of a limit by hand, for the sequential rule."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Many runs of one case."""

    whole: Measured
    known: Calibration
    limit: Limit
    metrics: dict[str, Metric]

    def suite(self, order: Sequence[int], drop: float) -> tuple[Measured, Limits]:
        """Give new runs, lower by `drop`, and limits from the others, in a random order."""
        chosen = [*order[:REFERENCE]]
        runs = {
            name: (tuple(values[i] for i in chosen),)
            for name, (values,) in self.known.runs.items()
        }
        known = replace(self.known, seeds=(tuple(chosen),), runs=runs)
        rest, metric = order[REFERENCE:], self.limit.metric
        values = {
            name: tuple(values[i] - drop * (name == metric) for i in rest)
            for name, values in self.whole.values.items()
            if name in known.runs
        }
        new = replace(self.whole, values=values, digests=(), seeds=tuple(rest))
        mean = known.reference(metric).mean
        limit = replace(self.limit, reference=mean)
        return new, Limits(limits=(limit,), calibrations={new.id: known})


def pools(folders: Sequence[Path], names: Sequence[str]) -> list[Pool]:
    """Give the runs of each of these cases."""
    runs = [run for folder in folders for run in store.read_runs(folder)[0]]
    found = []
    for result in gather({(run.id, run.seed): run for run in runs}.values()):
        if not any(name in result.id for name in names):
            continue
        one = calibrated(result, 1, ())
        main = one.known.main_metric
        plain = one.limits[main] | {"range": tuple(one.limits[main]["range"])}
        limit = Limit(case=result.id, metric=main, **{"told_by": 1, **plain})
        found.append(
            Pool(
                whole=measured(result, traces=False),
                known=one.known,
                limit=limit,
                metrics=dict(result.known),
            )
        )
    return found


def first_of(whole: Measured, count: int) -> Measured:
    """Give the first runs."""
    values = {name: mine[:count] for name, mine in whole.values.items()}
    return replace(
        whole, values=values, seeds=whole.seeds[:count], machines=whole.machines[:count]
    )


def judged(
    pool: Pool, rng: Any, first: int, most: int | None, drop: float, family: int
) -> tuple[Judgement, int]:
    """Give what is said of a case in the end, and with how many seeds; `drop` is in margins."""
    order = [*map(int, rng.permutation(len(pool.whole.seeds)))]
    if drop:  # of the margin that this suite has, which its reference tells
        margin = judged_once(pool, *pool.suite(order, 0.0), first, first, 1, family).margin
        new, held = pool.suite(order, drop * (margin or 0.0))
    else:
        new, held = pool.suite(order, 0.0)
    stages = looks(first, most)
    for seeds in stages:
        said = judged_once(pool, new, held, seeds, first, len(stages), family)
        if said.verdict != INCONCLUSIVE:
            break
    return said, seeds


def judged_once(
    pool: Pool, new: Measured, held: Limits, seeds: int, first: int, stages: int, family: int
) -> Judgement:
    """Give what is said of so many seeds."""
    mine = levels(family, looks=stages)
    (said,) = judge(first_of(new, seeds), held, pool.metrics, mine, first=first)
    return said


def share(count: int, of: int) -> str:
    """Give a share in per cent, with its 95 % interval."""
    low, high = wilson(count / of, of)
    return f"{100 * count / of:.2f} % [{100 * low:.2f}, {100 * high:.2f}]"


def untouched(found: Sequence[Pool], suites: int, first: int, most: int | None) -> str:
    """Say how many suites of unchanged cases are red."""
    rng = np.random.default_rng([first, most or 0])
    every = [
        [judged(pool, rng, first, most, 0.0, len(found)) for pool in found]
        for _ in range(suites)
    ]
    red = sum(any(said.verdict in RED for said, _ in one) for one in every)
    open_ = sum(said.verdict == INCONCLUSIVE for one in every for said, _ in one)
    seeds = np.mean([count for one in every for _, count in one])
    return (
        f"| {first} | {most or ''} | {share(red, suites)} |"
        f" {share(open_, suites * len(found))} | {seeds:.2f} |"
    )


def dropped(found: Sequence[Pool], suites: int, first: int, most: int | None) -> list[str]:
    """Say how often a drop of the margin is found, at once and with the seeds asked for."""
    lines = []
    for pool in found:
        rng = np.random.default_rng([first, most or 0])
        at_once = later = used = 0
        for _ in range(suites):
            state = rng.bit_generator.state
            said, seeds = judged(pool, rng, first, most, 1.0, len(found))
            at_once += said.verdict == REGRESSED
            if said.verdict == INCONCLUSIVE and said.needs_seeds and most is None:
                rng.bit_generator.state = state  # the same runs, and more of them
                said, seeds = judged(pool, rng, first, said.needs_seeds, 1.0, len(found))
            later += said.verdict == REGRESSED
            used += seeds
        lines.append(
            f"| {pool.whole.id} | {first} | {most or 'as asked for'} |"
            f" {share(at_once, suites)} | {share(later, suites)} | {used / suites:.2f} |"
        )
    return lines


def with_margin(pool: Pool, deviations: float) -> Pool:
    """Give a pool whose limit has a margin set by hand, of so many deviations."""
    margin = deviations * pool.known.reference(pool.limit.metric).sd
    return replace(pool, limit=replace(pool.limit, margin=margin, told_by=None))


def decided(
    found: Sequence[Pool], suites: int, first: int, most: int | None
) -> tuple[float, float]:
    """Give the share of right verdicts, with no drop and with one of the margin, and the mean
    number of seeds."""
    rng = np.random.default_rng(first)
    right, seeds = [], []
    for pool in found:
        for drop, verdict in ((0.0, PASSED), (1.0, REGRESSED)):
            for _ in range(suites):
                said, count = judged(pool, rng, first, most, drop, len(found))
                right.append(said.verdict == verdict)
                seeds.append(count)
    return float(np.mean(right)), float(np.mean(seeds))


def sequential(found: Sequence[Pool], suites: int) -> str:
    """Say how many seeds the sequential rule takes, and which number is right as often."""
    mine = [with_margin(pool, MARGIN) for pool in found]
    share, seeds = decided(mine, suites, 3, 24)
    fixed = next(
        (n for n in range(3, 49) if decided(mine, suites, n, None)[0] >= share), "over 48"
    )
    return (
        f"margin of {MARGIN:g} deviations, from 3 seeds to 24: right in {100 * share:.1f} %"
        f" with {seeds:.2f} seeds on average; as often right: {fixed} seeds each time"
    )


def main(
    suites: int, seeds: Sequence[int], names: Sequence[str], folders: Sequence[Path]
) -> None:
    """Print the rates; `seeds` are the numbers that cases are planned with."""
    found = pools(folders, names)
    for pool in found:
        runs = pool.known.reference(pool.limit.metric)
        print(f"{pool.whole.id}: {runs.n} runs, {runs.mean:.4f}, sd {runs.sd:.4f}")
    kinds = [(first, most) for first in seeds for most in (None, MOST)]
    print("\n| seeds | --amlnn-max-repeats | red suites | undecided cases | mean seeds |")
    print("|---|---|---|---|---|")
    for first, most in kinds:
        print(untouched(found, suites, first, most), flush=True)
    print(f"\n{sequential(found, suites // 20)}", flush=True)
    print("\n| case | seeds | most | found at once | found | mean seeds |")
    print("|---|---|---|---|---|---|")
    for first, most in kinds:
        print("\n".join(dropped(found, suites // 10, first, most)), flush=True)


if __name__ == "__main__":
    main(
        int(sys.argv[1]),
        [int(seeds) for seeds in sys.argv[2].split(",")],
        sys.argv[3].split(","),
        [Path(name) for name in sys.argv[4:]],
    )
