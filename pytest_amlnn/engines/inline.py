"""Compute runs in this process: each once, resumed where an earlier attempt ended.

A training leases its cores or its GPU among all trainings of this user. A lease is a locked
file in the folder for temporary files: it ends with its process, however that ends.
"""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import monotonic, sleep

import torch
from filelock import FileLock, Timeout

from pytest_amlnn import answers, store, training
from pytest_amlnn.device import resolve
from pytest_amlnn.engines import Show
from pytest_amlnn.identity import identity_of
from pytest_amlnn.job import Job
from pytest_amlnn.progress import Progress
from pytest_amlnn.result import Run

POLL_SECONDS = 0.02
PATIENCE_SECONDS = 5.0
"""After so long, whoever waits is told what for."""
TURN = "core-turn"
"""Held while waiting for cores: a training that needs two is not overtaken for ever by those
that need one."""

Tell = Callable[[str], None]


def compute(job: Job, show: Show) -> Iterator[Run]:
    """Yield the runs as the run directory has them; train and store those that it lacks.

    Raises StoreError where a stored run or checkpoint is of another recipe, other data or
    another version.
    """
    at_once = job.case.seeds_at_once and resolve(job.device).type == "cpu"
    for group in [job.seeds] if at_once else [(seed,) for seed in job.seeds]:
        with store.locked(job.out, job.id):
            lacking = [seed for seed in group if not is_stored(job, seed)]
            if lacking:
                with show(lacking) as progress:
                    train(job, lacking, progress)
            runs = [store.load_run(store.run_file(job.out, job.id, seed)) for seed in group]
        yield from runs


def is_stored(job: Job, seed: int) -> bool:
    """Return whether a run ended and is of this training; StoreError if of another."""
    file = store.run_file(job.out, job.id, seed)
    run = store.load_run(file) if file.exists() else None
    if run is not None and answers.forget_damaged(job.out, run):
        return False
    # one that is retried may have seen no data, and its checkpoints can be resumed
    if run is not None and run.status not in store.RETRIED:
        new = initial_run(job, seed, resolve(job.device))
        now = {"schema": new.schema, **identity_of(new, job.data(seed).facts)}
        then = {"schema": run.schema, **identity_of(run, run.data)}
        store.refuse_unless_same(file, then, now)
        store.forget(job.out, job.id, seed)  # a kill may have come before
    return run is not None


def train(job: Job, seeds: Sequence[int], progress: Progress) -> None:
    """Train runs, at once where the case can be, and store each as soon as it ends."""
    words = ""
    with lease(job.device, job.case.training.recipe.threads, progress.note) as device:
        runs = {seed: store.begin(job.out, initial_run(job, seed, device)) for seed in seeds}
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
                for outcome in outcomes:
                    save(job, outcome)
                    del runs[outcome.run.seed]
        except torch.OutOfMemoryError as error:
            words = str(error)
        if words:  # out here, where nothing holds the nets any longer
            for run in runs.values():
                save(job, training.out_of_memory(job.case, job.data, run, device, words))


def initial_run(job: Job, seed: int, device: torch.device) -> Run:
    """Return the record that is left of a run if the process dies."""
    return training.initial_run(
        job.case,
        id=job.id,
        seed=seed,
        device=device,
        data=job.data,
        weights=job.weights,
        contended=job.contended,
    )


def save(job: Job, outcome: training.Outcome) -> None:
    """Store a run that ended."""
    run = outcome.run
    store.save_run(job.out, run, outcome.answers, outcome.names)
    name = str(outcome.dataset.get("name", job.case.training.data.name))
    store.save_environment(
        job.out, {**job.facts, **run.environment}, {name: dict(outcome.dataset)}
    )
    if run.status not in store.RETRIED:
        store.forget(job.out, job.id, run.seed)


# leases


@contextmanager
def lease(device: str, threads: int, tell: Tell) -> Iterator[torch.device]:
    """Wait for what --amlnn-device and a recipe ask for, and hold it meanwhile.

    On a CPU that is a core for each thread, all of them where there are fewer; else one of
    the GPUs that torch sees, or the one that is named. Raises DeviceError.
    """
    asked = resolve(device)
    with ExitStack() as held:
        if asked.type == "cuda":
            numbers = [asked.index] if ":" in device else range(torch.cuda.device_count())
            names = {gpu(number): number for number in numbers}
            (name,) = hold([*names], 1, held, tell)
            held.callback(empty_cache)  # before the next one needs that memory
            asked = torch.device("cuda", names[name])
        elif asked.type == "mps":
            hold(["mps"], 1, held, tell)
        else:
            cores = [f"core-{number}" for number in machine_cores()]
            with ExitStack() as turn:
                hold([TURN], 1, turn, tell)
                hold(cores, min(threads, len(cores)), held, tell)
        yield asked


def empty_cache() -> None:
    """Give back what torch keeps of a GPU's memory for itself."""
    gc.collect()
    torch.cuda.empty_cache()


def machine_cores() -> list[int]:
    """Return the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def gpu(number: int) -> str:
    """Return a GPU's own name, which is the same whatever CUDA_VISIBLE_DEVICES says."""
    return f"cuda-{torch.cuda.get_device_properties(number).uuid}"


def hold(names: Sequence[str], count: int, held: ExitStack, tell: Tell) -> list[str]:
    """Lock `count` of the named things as they become free, until `held` is closed."""
    mine: list[str] = []
    user = os.getuid() if hasattr(os, "getuid") else "user"
    place = Path(tempfile.gettempdir()) / f"amlnn-leases-{user}"
    place.mkdir(parents=True, exist_ok=True)
    patient_until = monotonic() + PATIENCE_SECONDS
    while True:
        for name in names:
            if len(mine) < count and name not in mine and lock(place / name, held):
                mine.append(name)
        if len(mine) == count:
            return mine
        if monotonic() > patient_until:
            what = "its turn at the cores" if names == [TURN] else " or ".join(names)
            tell(f"waiting for another training to give back {what}")
            patient_until = float("inf")
        sleep(POLL_SECONDS)


def lock(file: Path, held: ExitStack) -> bool:
    """Lock a file that is free just now; return whether it was."""
    try:
        held.enter_context(FileLock(file, timeout=0))
    except Timeout:
        return False
    return True
