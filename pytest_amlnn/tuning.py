"""Find the number that an improvement searches for: trial by trial, each stored as it ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from importlib.metadata import version
from time import perf_counter
from typing import Any

import torch

from pytest_amlnn import outcome, store, training, trials
from pytest_amlnn.case import Case
from pytest_amlnn.device import is_out_of_memory, resolve
from pytest_amlnn.engines import inline
from pytest_amlnn.identity import identity_of
from pytest_amlnn.job import Job
from pytest_amlnn.leases import Queue, lease
from pytest_amlnn.progress import Progress
from pytest_amlnn.range_test import chosen_rate, range_test, short_case
from pytest_amlnn.recipe import TRANSFORMS, with_changes
from pytest_amlnn.result import FINISHED, STATUSES, Run, best_epoch
from pytest_amlnn.search import Search
from pytest_amlnn.steps import seed_of
from pytest_amlnn.trials import Searched, SearchError, Trial

Show = Callable[[Job, Sequence[int]], AbstractContextManager[Progress]]
"""Opens what shows how far the runs of a job with these seeds are."""
MODELLED = 2 / 3
"""Share of the trials whose values follow from those before; Optuna's own ten random ones
would be all that there are."""


def with_found(job: Job, reported: Sequence[int], show: Show) -> Job:
    """Return a job whose recipe has what its improvement's search finds.

    `reported` are the seeds of the runs that it may be compared by. Raises SearchError where
    nothing is found, StoreError where the run directory has another search of the case.
    """
    search = job.case.improvement and job.case.improvement.search
    if not search:
        return job
    refuse_reported_seeds(search, reported)
    with store.locked(job.out, job.id):
        fresh = Searched(id=job.id, search=search, identity=identity_in(job, search))
        searched = trials.begun(job.out, fresh)
        if not searched.is_over:
            reach = f"from {search.low:g} to {search.high:g}"
            announce(job, f"searching {search.field} {reach}: {search.total} trials", show)
            while not searched.is_over:
                tried = next_trial(job, searched, show)
                searched = replace(searched, trials=(*searched.trials, tried))
                trials.save(job.out, searched)
            if searched.found is not None:
                announce(job, f"found {search.field} {searched.found:.4g}", show)
    if searched.found is None:
        raise SearchError(searched.failure)
    return replace(job, case=with_value(job.case, search.field, searched.found))


def refuse_reported_seeds(search: Search, reported: Sequence[int]) -> None:
    """Raise SearchError where a seed that is reported would choose the value, too."""
    both = sorted({*search.seeds} & {*reported})
    if both:
        raise SearchError(
            f"search of {search.field}: seed {both[0]} is among those that are reported,"
            f" {reported[0]} to {reported[-1]}; name another --amlnn-seed, or another seed in"
            " Search"
        )


def identity_in(job: Job, search: Search) -> dict[str, Any]:
    """Return what the trials' numbers follow from besides the search, as plain data."""
    device = resolve(job.device)
    facts = outcome.facts_of_data(job.case, job.data, search.seed, device)
    found = identity_of(inline.initial_run(job, search.seed, device), facts)
    if search.method == "optuna":
        found["versions"] |= {"optuna": version("optuna")}
    return found


def announce(job: Job, text: str, show: Show) -> None:
    """Say how a search goes, between its trials; that costs nothing."""
    free = replace(job, case=replace(job.case, flops=0.0))
    with show(free, job.seeds) as progress:
        progress.note(text)


def with_value(case: Case, field: str, value: float) -> Case:
    """Return the case with this value in a field of its recipe, or of its transforms."""
    recipe = with_changes(case.training.recipe, **{field: value})
    return replace(case, training=replace(case.training, recipe=recipe))


# trials


def next_trial(job: Job, searched: Searched, show: Show) -> Trial:
    """Return what comes of the next value, or of the next range test."""
    search, number = searched.search, len(searched.trials)
    title = f"{job.id} trial {number + 1}/{search.total}"
    if search.method == "range":
        one = replace(job, case=short_case(job.case), id=title, seeds=(search.seeds[number],))
        return trial_of_range(one, search, show)
    value = next_value(searched, value_of(job.case, search.field))
    case = with_value(job.case, search.field, value)
    title = f"{title}, {search.field} {value:.4g},"
    return trial_of_value(replace(job, case=case, id=title, seeds=search.seeds), value, show)


def value_of(case: Case, field: str) -> float | None:
    """Return what a recipe has in a field of its own, or of its transforms."""
    recipe = case.training.recipe
    found: float | None = getattr(recipe.transforms if field in TRANSFORMS else recipe, field)
    return found


def next_value(searched: Searched, own: float | None) -> float:
    """Return the value that is tried next: first the recipe's own, if it is within reach.

    It follows from the search and the trials before, whichever process they ran in.
    """
    import optuna

    search, earlier = searched.search, searched.trials
    if not earlier and own is not None and search.low <= own <= search.high:
        return own
    between = optuna.distributions.FloatDistribution(search.low, search.high, log=True)
    sampler = optuna.samplers.TPESampler(
        seed=seed_of(search.seed, len(earlier)) % 2**32,
        n_startup_trials=search.trials - int(MODELLED * search.trials),
    )
    with quiet():
        study = optuna.create_study(sampler=sampler)
        for trial in earlier:
            study.add_trial(
                optuna.trial.create_trial(
                    params={search.field: trial.value},
                    distributions={search.field: between},
                    value=math.inf if trial.loss is None else trial.loss,
                )
            )
        return float(study.ask({search.field: between}).params[search.field])


@contextmanager
def quiet() -> Iterator[None]:
    """Have Optuna log nothing but warnings; restores the caller's setting."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def trial_of_value(job: Job, value: float, show: Show) -> Trial:
    """Return what comes of training with a value, judged by the validation split."""
    runs, seconds = list[Run](), 0.0
    for seeds in inline.groups_of(job):
        with leased(job, seeds, show) as (device, progress):
            started = perf_counter()
            fresh = [inline.initial_run(job, seed, device) for seed in seeds]
            ended = training.train(
                job.case,
                job.data,
                fresh,
                device=device,
                progress=progress,
                weights=job.weights,
                tested=False,
            )
            runs += [each.run for each in ended]
            seconds += perf_counter() - started
    losses = [lowest_loss(run) for run in runs]
    loss = math.fsum(losses) / len(losses)
    return Trial(
        value=value,
        loss=loss if math.isfinite(loss) else None,
        status=max((run.status for run in runs), key=STATUSES.index),
        seeds=job.seeds,
        seconds=seconds,
    )


def lowest_loss(run: Run) -> float:
    """Return the lowest validation loss of a run; infinity for one that did not learn."""
    best = best_epoch(run.epochs)
    if run.status != FINISHED or best is None:
        return math.inf
    return run.epochs[best - 1].validation["loss"]


def trial_of_range(job: Job, search: Search, show: Show) -> Trial:
    """Return what one range test says."""
    with leased(job, job.seeds, show) as (device, progress):
        started = perf_counter()
        curve = range_test(
            job.case,
            job.data,
            inline.initial_run(job, job.seeds[0], device),
            search,
            device=device,
            progress=progress,
            weights=job.weights,
        )
        seconds = perf_counter() - started
    value = chosen_rate(curve)
    return Trial(
        value=value,
        loss=min((loss for _, loss in curve), default=None),
        status=FINISHED if value is not None else "diverged",
        seeds=job.seeds,
        seconds=seconds,
        curve=curve,
    )


@contextmanager
def leased(
    job: Job, seeds: Sequence[int], show: Show
) -> Iterator[tuple[torch.device, Progress]]:
    """Hold what a training takes, and show how far it is; SearchError without memory."""
    words = ""
    with show(job, seeds) as progress:
        queue = Queue(tell=progress.note, who=job.id, wait=job.wait)
        with lease(job.device, job.case.training.recipe.threads, queue) as mine:
            progress.begin()
            try:
                yield mine.device, progress
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                words = (str(error) or type(error).__name__).splitlines()[0]
    if words:  # out here, where nothing holds the nets any longer
        raise SearchError(f"{job.id}: {mine.device} has no memory left: {words}")
