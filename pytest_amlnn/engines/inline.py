"""Compute runs in this process, each once, going on where an earlier attempt ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pytest_amlnn import resume, store, training
from pytest_amlnn.case import Case
from pytest_amlnn.data import Data, Weights
from pytest_amlnn.device import resolve
from pytest_amlnn.lease import lease
from pytest_amlnn.progress import Progress
from pytest_amlnn.result import Run
from pytest_amlnn.training import Outcome

Shown = Callable[[Sequence[int]], AbstractContextManager[Progress]]
"""Opens what shows how far the runs with these seeds are."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """The runs of a case: all but their seeds."""

    case: Case
    data: Data
    id: str
    out: Path
    """The run directory."""
    device: str
    facts: Mapping[str, Any]
    """What environment.json says besides machine and datasets."""
    weights: Weights | None = None
    contended: bool = False

    def begun(self, seed: int, device: torch.device) -> Run:
        """Return what is to be said of a run if nothing more is heard of it."""
        return training.begun(
            self.case,
            id=self.id,
            seed=seed,
            device=device,
            weights=self.weights,
            contended=self.contended,
        )


def compute(job: Job, seeds: Sequence[int], shown: Shown) -> Iterator[Run]:
    """Yield the runs as the run directory has them; train and store those that it lacks.

    Raises StoreError where a stored run or checkpoint is of another recipe, other data or
    another version.
    """
    at_once = job.case.together and resolve(job.device).type == "cpu"
    for group in [seeds] if at_once else [[seed] for seed in seeds]:
        with store.locked(job.out, job.id):
            waiting = [seed for seed in group if not stored(job, seed)]
            if waiting:
                with shown(waiting) as progress:
                    train(job, waiting, progress)
            runs = [store.load_run(store.run_file(job.out, job.id, seed)) for seed in group]
        yield from runs


def stored(job: Job, seed: int) -> bool:
    """Return whether a run ended and is of this training; StoreError if of another."""
    run = store.ended(job.out, job.id, seed)
    # an unlucky one may have seen no data, and its checkpoints can be gone on from
    if run is not None and run.status not in store.UNLUCKY:
        new = job.begun(seed, resolve(job.device))
        now, then = resume.about(new, job.data(seed).facts), resume.about(run, run.data)
        resume.check(store.run_file(job.out, job.id, seed), then, now)
        store.forget(job.out, job.id, seed)  # a kill may have come before
    return run is not None


def train(job: Job, seeds: Sequence[int], progress: Progress) -> None:
    """Train runs at once, and store each as soon as it ends."""
    words = ""
    with lease(job.device, job.case.recipe.threads, progress.note) as device:
        runs = {seed: store.begin(job.out, job.begun(seed, device)) for seed in seeds}
        trained = training.train(
            job.case,
            job.data,
            [*runs.values()],
            device=device,
            progress=progress,
            places=[store.place(job.out, job.id, seed) for seed in seeds],
            weights=job.weights,
        )
        try:
            with closing(trained):
                for outcome in trained:
                    save(job, outcome)
                    del runs[outcome.run.seed]
        except torch.OutOfMemoryError as error:
            words = str(error)
        if words:  # out here, where nothing holds the nets any longer
            for run in runs.values():
                save(job, training.out_of_memory(job.case, job.data, run, device, words))


def save(job: Job, outcome: Outcome) -> None:
    """Store a run that ended."""
    run = outcome.run
    store.save_run(job.out, run, outcome.examples, outcome.names)
    dataset = {str(outcome.dataset.get("name", job.case.dataset)): dict(outcome.dataset)}
    store.save_environment(job.out, {**job.facts, **run.environment}, dataset)
    if run.status not in store.UNLUCKY:
        store.forget(job.out, job.id, run.seed)
