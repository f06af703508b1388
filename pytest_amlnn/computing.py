"""The runs of an item's case: computed by an engine, and shown while they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_amlnn import plans, store
from pytest_amlnn.command_line import workerinput
from pytest_amlnn.errors import UserError
from pytest_amlnn.escapes import lines_for_terminal
from pytest_amlnn.job import Job
from pytest_amlnn.result import Run
from pytest_amlnn.session import session_of
from pytest_amlnn.time_left import planned_runs, seconds_left

if TYPE_CHECKING:
    from pytest_amlnn.progress import Progress


def failure(words: str) -> BaseException:
    """Return what fails an item with nothing but the words, which may quote strangers."""
    return pytest.fail.Exception(lines_for_terminal(words), pytrace=False)


def compute(item: pytest.Item, job: Job) -> Iterator[Run]:
    """Yield the runs of a job, as stored or trained now."""
    from pytest_amlnn.engines import inline

    try:
        yield from inline.compute(job, partial(show, item, job))
        return
    except UserError as error:
        words = f"{job.id}: {error}"
    raise failure(words)  # out here, where pytest shows nothing but the words


def with_found(item: pytest.Item, job: Job) -> Job:
    """Return a job whose recipe has what its improvement searches for, if it does."""
    if job.case.improvement is None or job.case.improvement.search is None:
        return job
    from pytest_amlnn import tuning

    most = session_of(item.config).options.max_repeats or 0
    reported = range(job.seeds[0], job.seeds[0] + max(len(job.seeds), most))
    try:
        return tuning.with_found(job, reported, partial(show, item))
    except UserError as error:
        words = f"{job.id}: {error}"
    raise failure(words)


@contextmanager
def show(item: pytest.Item, job: Job, seeds: Sequence[int]) -> Iterator[Progress]:
    """Show how far the runs with these seeds are, and add what they took to the pace."""
    from pytest_amlnn.heartbeats import Beats, Place
    from pytest_amlnn.preparing import told_to
    from pytest_amlnn.progress import errors_past, progress_on
    from pytest_amlnn.tally import Tally

    session, plugins = session_of(item.config), item.config.pluginmanager
    training = job.case.training
    capture = plugins.getplugin("capturemanager")
    shares = {m.name.partition("_")[2] for m in training.task.metrics if m.share}
    tally = Tally(id=job.id, seeds=seeds, epochs=training.recipe.epochs, shares=shares)
    if worker := workerinput(item.config).get("workerid"):
        place = Place(out=job.out, worker=worker, sweep=session.token)
        write = errors_past(capture, footer=True)
        shown: Any = Beats(tally, place, lambda: session.pace, write)
    else:
        to_come = costs_to_come(item, job.id, seeds)
        if to_come:
            tally.sweep_left = partial(seconds_left, to_come=to_come, pace=session.pace)
        shown = progress_on(plugins.getplugin("terminalreporter"), capture, tally)
    with shown, told_to(shown.prepare):
        yield shown
        session.pace += tally.spent(job.case.cost * len(seeds))


def costs_to_come(item: pytest.Item, id: str, seeds: Sequence[int]) -> list[float]:
    """Return the costs of the runs that this process will train after these ones."""
    session = session_of(item.config)
    with suppress(UserError):  # said in the end
        plan = plans.load(session.options.out)
        selected = {each.nodeid for each in item.session.items} - session.ended
        mine = {(store.as_stored(id), seed) for seed in seeds}
        return [
            run.cost
            for run in planned_runs(plan, selected)
            if (run.id, run.seed) not in mine and not run.is_stored(session.options.out)
        ]
    return []
