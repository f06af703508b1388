"""Run directories of several sweeps, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from small_runs import DATASETS, ENVIRONMENT, plan_of, planned, small_run

from pytest_amlnn import Run, plans, store

ID = "test_small[linear]"


def commit(number: int) -> str:
    """Give the id of a commit, which begins with its number."""
    return f"{number:07d}".ljust(40, "f")


def sweep_at(
    folder: Path,
    runs: Iterable[Run],
    *,
    number: int = 0,
    begun: str | None = None,
    profile: str = "quick",
    seeds: Sequence[int] | None = None,
) -> Path:
    """Write a run directory of a commit; without `seeds`, those that ran were planned."""
    runs = [*runs]
    by_case: dict[str, list[int]] = {}
    for run in runs:
        by_case.setdefault(run.id, []).append(run.seed)
    cases = [planned(id, seeds=seeds or ran) for id, ran in by_case.items()]
    plan = {
        **plan_of(cases, profile=profile),
        "commit": {"id": commit(number), "dirty": False},
        "begun": begun,
    }
    plans.begin(folder, plan, token=f"{folder}", resume=True)
    for run in runs:
        store.save_run(folder, run, {}, [])
    store.save_environment(folder, ENVIRONMENT, DATASETS)
    return folder


def runs_of(
    accuracies: Iterable[float],
    seconds: float = 2.0,
    *,
    first: int = 0,
    id: str = ID,
    **changes,
) -> list[Run]:
    """Give a run for each accuracy."""
    return [
        small_run(
            id,
            first + i,
            metrics={"test_accuracy": value, "train_seconds": seconds},
            **changes,
        )
        for i, value in enumerate(accuracies)
    ]


def sweeps_with(
    folder: Path,
    means: Sequence[float],
    *,
    seeds: int = 3,
    deviation: float = 0.01,
    seconds: Sequence[float] | None = None,
    **changes,
) -> list[Path]:
    """Write a sweep for each mean accuracy, a day after the other, of seeds of their own."""
    rng = np.random.default_rng(1)
    return [
        sweep_at(
            folder / f"s{i:02d}",
            runs_of(
                (mean + deviation * rng.normal(size=seeds)).tolist(),
                seconds[i] if seconds else 2.0 * float(rng.lognormal(sigma=0.05)),
                first=seeds * i,
                **changes,
            ),
            number=i,
            begun=f"2026-11-{i + 1:02d}T08:00:00+00:00",
        )
        for i, mean in enumerate(means)
    ]
