"""Compute runs in this process, each once, going on where an earlier attempt ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import torch

from pytest_amlnn import resume, store, training
from pytest_amlnn.case import Case
from pytest_amlnn.data import Data
from pytest_amlnn.device import resolve
from pytest_amlnn.lease import lease
from pytest_amlnn.progress import Progress
from pytest_amlnn.result import Run
from pytest_amlnn.training import Outcome

Shown = Callable[[Sequence[int]], AbstractContextManager[Progress]]
"""Opens what shows how far the runs with these seeds are."""


def compute(
    case: Case,
    data: Data,
    *,
    id: str,
    seeds: Sequence[int],
    out: Path,
    device: str,
    shown: Shown,
    facts: Mapping[str, Any],
    contended: bool = False,
) -> Iterator[Run]:
    """Yield the runs as the run directory has them; train and store those that it lacks.

    `facts` is what environment.json says besides machine and datasets. Raises StoreError
    where a stored run or checkpoint is of another recipe, other data or another version.
    """
    where = resolve(device)
    at_once = case.together and where.type == "cpu"
    for group in [seeds] if at_once else [[seed] for seed in seeds]:
        with store.locked(out, id):
            waiting = [seed for seed in group if not stored(case, data, id, seed, out, where)]
            if waiting:
                with shown(waiting) as progress:
                    train(case, data, id, waiting, out, device, progress, facts, contended)
            runs = [store.load_run(store.run_file(out, id, seed)) for seed in group]
        yield from runs


def stored(case: Case, data: Data, id: str, seed: int, out: Path, device: torch.device) -> bool:
    """Return whether a run ended and is of this training; StoreError if of another."""
    run = store.ended(out, id, seed)
    # an unlucky one may have seen no data, and its checkpoints can be gone on from
    if run is not None and run.status not in store.UNLUCKY:
        new = training.begun(case, id=id, seed=seed, device=device)
        now, then = resume.about(new, data(seed).facts), resume.about(run, run.data)
        resume.check(store.run_file(out, id, seed), then, now)
        store.forget(out, id, seed)  # a kill may have come before
    return run is not None


def train(
    case: Case,
    data: Data,
    id: str,
    seeds: Sequence[int],
    out: Path,
    device: str,
    progress: Progress,
    facts: Mapping[str, Any],
    contended: bool,
) -> None:
    """Train runs at once, and store each as soon as it ends."""

    def save(outcome: Outcome) -> None:
        run = outcome.run
        store.save_run(out, run, outcome.examples, outcome.names)
        dataset = {str(outcome.dataset.get("name", case.dataset)): dict(outcome.dataset)}
        store.save_environment(out, {**facts, **run.environment}, dataset)
        if run.status not in store.UNLUCKY:
            store.forget(out, id, run.seed)
        del runs[run.seed]

    words = ""
    with lease(device, case.recipe.threads, progress.note) as where:
        runs = {
            seed: store.begin(
                out,
                training.begun(case, id=id, seed=seed, device=where, contended=contended),
            )
            for seed in seeds
        }
        places = [store.place(out, id, seed) for seed in seeds]
        trained = training.train(
            case, data, [*runs.values()], device=where, progress=progress, places=places
        )
        try:
            with closing(trained):
                for outcome in trained:
                    save(outcome)
        except torch.OutOfMemoryError as error:
            words = str(error)
        if words:  # out here, where nothing holds the nets any longer
            for run in [*runs.values()]:
                save(training.out_of_memory(case, data, run, where, words))
