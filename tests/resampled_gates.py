"""How often the gate is wrong, by resampling real runs: `python -m resampled_gates DIR...`.

A suite draws, for each case, a reference and new runs from a pool of real ones, calibrates and
judges as the plugin does. It prints how many suites have a red limit, how many would miss a
drop of the margin, and how many seeds the sequential rule takes.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from pytest_amlnn import store
from pytest_amlnn.gates.bounds import levels, margin_told_by
from pytest_amlnn.gates.gate import looks
from pytest_amlnn.gates.judging import held_against
from pytest_amlnn.gates.limits import Limit
from pytest_amlnn.gates.measured import main_metric_of
from pytest_amlnn.gates.reference import reference_of
from pytest_amlnn.metrics import change_that_matters
from pytest_amlnn.result import gather
from pytest_amlnn.statistics import wilson

REFERENCE = 20
FEWEST = 40
"""Runs of a pool."""


def pools(folders: list[Path]) -> dict[str, tuple[Any, list[float], int]]:
    """Give metric, values and planned seeds of each case with enough runs."""
    runs = [run for folder in folders for run in store.read_runs(folder)[0]]
    found = {}
    for result in gather({(run.id, run.seed): run for run in runs}.values()):
        metric = main_metric_of(result)
        values = [run.value(metric.name) for run in result.runs]
        if len(values) >= FEWEST:
            found[result.id] = (metric, values, int(result.case["repeats"]))
    return found


def suite(found: Any, rng: Any, most: int | None, drop: float, first: int | None) -> list[Any]:
    """Give the verdict and the seeds used of each case of one suite; `drop` is in margins."""
    outcomes = []
    for metric, values, repeats in found.values():
        order = rng.permutation(len(values))
        reference = reference_of([[values[i] for i in order[:REFERENCE]]])
        count = first or repeats
        stages = looks(count, most)
        whole = levels(len(found)).drop
        margin = max(
            margin_told_by(repeats, reference, whole),
            change_that_matters(metric, reference.mean),
        )
        limit = Limit(
            case="", metric=metric.name, reference=1.0, margin=margin, told_by=repeats
        )
        new = [values[i] - drop * margin for i in order[REFERENCE:]]
        for seeds in stages:
            said = held_against(
                new[:seeds], reference, limit, metric, levels(len(found), looks=len(stages))
            )
            if said.verdict != "inconclusive":
                break
        outcomes.append((said.verdict, seeds, said.needs_seeds))
    return outcomes


def main(folders: list[Path], suites: int) -> None:
    """Print the rates."""
    found = pools(folders)
    print({id: len(values) for id, (_, values, _) in found.items()})
    rng = np.random.default_rng(0)
    for first in (None, 5):
        for most in (None, 20):
            for drop in (0.0, 1.0):
                every = [suite(found, rng, most, drop, first) for _ in range(suites)]
                red = sum(any(v in RED for v, _, _ in one) for one in every)
                low, high = wilson(red / suites, suites)
                verdicts = Counter(v for one in every for v, _, _ in one)
                seeds = np.mean([s for one in every for _, s, _ in one])
                shares = {v: f"{n / suites / len(found):.4f}" for v, n in verdicts.items()}
                print(
                    f"seeds {first or 'planned'}, max-repeats {most}, drop of {drop} margins:"
                    f" {red} of {suites} suites red = {100 * red / suites:.2f} %"
                    f" [{100 * low:.2f}, {100 * high:.2f}]; {shares}; mean seeds {seeds:.2f}",
                    flush=True,
                )


RED = ("regressed", "suspicious")

if __name__ == "__main__":
    main([Path(name) for name in sys.argv[2:]], int(sys.argv[1]))
