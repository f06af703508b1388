"""Compute runs in this process: each once, resumed where an earlier attempt ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import torch

from pytest_amlnn import answers, outcome, store, training
from pytest_amlnn.device import is_out_of_memory, resolve
from pytest_amlnn.engines import Show
from pytest_amlnn.identity import identity_of
from pytest_amlnn.job import Job
from pytest_amlnn.leases import Queue, lease
from pytest_amlnn.progress import Progress
from pytest_amlnn.result import Run


def compute(job: Job, show: Show) -> Iterator[Run]:
    """Yield the runs as the run directory has them; train and store those that it lacks.

    Raises StoreError where a stored run or checkpoint is of another recipe, other data or
    another version.
    """
    for group in groups_of(job):
        with store.locked(job.out, job.id):
            lacking = [seed for seed in group if not is_stored(job, seed)]
            if lacking:
                with show(lacking) as progress:
                    train(job, lacking, progress)
            runs = [store.load_run(store.run_file(job.out, job.id, seed)) for seed in group]
        yield from runs


def groups_of(job: Job) -> list[tuple[int, ...]]:
    """Return which seeds are trained at once."""
    at_once = job.case.seeds_at_once and resolve(job.device).type == "cpu"
    return [job.seeds] if at_once else [(seed,) for seed in job.seeds]


def is_stored(job: Job, seed: int) -> bool:
    """Return whether a run ended and is of this training; StoreError if of another."""
    file = store.run_file(job.out, job.id, seed)
    run = store.load_run(file) if file.exists() else None
    if run is not None and answers.forget_damaged(job.out, run):
        return False
    # one that is retried may have seen no data, and its checkpoints can be resumed
    if run is not None and run.status not in store.RETRIED:
        device = resolve(job.device)
        new = initial_run(job, seed, device)
        facts = outcome.facts_of_data(job.case, job.data, seed, device)
        now = {"schema": new.schema, **identity_of(new, facts)}
        then = {"schema": run.schema, **identity_of(run, run.data)}
        store.refuse_unless_same(file, then, now)
        store.forget(job.out, job.id, seed)  # a kill may have come before
    return run is not None


def train(job: Job, seeds: Sequence[int], progress: Progress) -> None:
    """Train runs, at once where the case can be, and store each as soon as it ends."""
    words = ""
    queue = Queue(tell=progress.note, who=job.id, wait=job.wait)
    with lease(job.device, job.case.training.recipe.threads, queue) as mine:
        progress.begin()
        device, shared = mine.device, mine.shared
        runs = {
            seed: store.begin(job.out, initial_run(job, seed, device, shared=shared))
            for seed in seeds
        }
        outcomes = training.train(
            job.case,
            job.data,
            [*runs.values()],
            device=device,
            progress=progress,
            places=[store.place(job.out, job.id, seed) for seed in seeds],
            weights=job.weights,
        )
        try:
            with closing(outcomes):
                for ended in outcomes:
                    save(job, ended)
                    del runs[ended.run.seed]
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            words = (str(error) or type(error).__name__).splitlines()[0]
        if words:  # out here, where nothing holds the nets any longer
            for run in runs.values():
                save(job, outcome.out_of_memory(job.case, job.data, run, device, words))


def initial_run(job: Job, seed: int, device: torch.device, *, shared: bool = False) -> Run:
    """Return the record that is left of a run if the process dies."""
    return training.initial_run(
        job.case,
        id=job.id,
        seed=seed,
        device=device,
        data=job.data,
        weights=job.weights,
        contended=job.contended or shared,
    )


def save(job: Job, ended: outcome.Outcome) -> None:
    """Store a run that ended."""
    run = ended.run
    store.save_run(job.out, run, ended.answers, ended.names)
    name = str(ended.dataset.get("name", job.case.training.data.name))
    store.save_environment(
        job.out, {**job.facts, **run.environment}, {name: dict(ended.dataset)}
    )
    if run.status not in store.RETRIED:
        store.forget(job.out, job.id, run.seed)
