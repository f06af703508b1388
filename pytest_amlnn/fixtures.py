"""The fixtures: `train`, `gate` and `device`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_amlnn import store
from pytest_amlnn.collection import case_of, unavailable
from pytest_amlnn.computing import compute, failure, with_found
from pytest_amlnn.data import Data, Weights
from pytest_amlnn.errors import UserError
from pytest_amlnn.further_seeds import (
    base_of,
    check_base,
    train_until_decided,
    train_until_told_apart,
)
from pytest_amlnn.job import Job, job_of
from pytest_amlnn.planning import add_to_plan
from pytest_amlnn.result import FINISHED, Result, Run
from pytest_amlnn.session import CASE, VERDICT, session_of

if TYPE_CHECKING:
    import torch

    from pytest_amlnn.case import Case
    from pytest_amlnn.gates.verdict import Verdict

CALLED = pytest.StashKey[bool]()
"""Of an item: whether `train` was called."""
TRAINED = pytest.StashKey[bool]()
"""Of an item: whether `train` has its result."""
BROKEN = pytest.StashKey[str]()
"""Of an item: the limits that its result did not keep, in words."""


class TrainingClock:
    """Counts the training seconds of every run that is handed back, whoever computed it."""

    seconds = 0.0


def training_clock() -> float:
    """Return the training seconds so far: pytest-benchmark's timer."""
    return TrainingClock.seconds


@pytest.fixture(scope="session")
def device(pytestconfig: pytest.Config) -> torch.device:
    """The torch device that --amlnn-device chooses."""
    from pytest_amlnn.device import resolve

    return resolve(session_of(pytestconfig).options.device)


@pytest.fixture
def train(request: pytest.FixtureRequest, benchmark: Any) -> Callable[..., Result]:
    """Train a case once for each seed, `train(case)`, and return its result.

    With `train(case, data)` the splits for a seed come from another source than the case
    names, or from a function; with `train(case, data, weights)` nets start from those. Every
    run is stored as soon as it ends, and pytest-benchmark's table shows the training seconds.
    The item fails where a run diverges or is implausible, whatever the gate says.
    """
    session, item = session_of(request.config), request.node
    if not hasattr(benchmark, "pedantic"):
        raise failure(
            "train measures by pytest-benchmark's fixture `benchmark`, and this project has"
            " another one of that name: rename it"
        )
    bearers = {*session.nodes.get(store.key(item.name), [])}  # an item may be there twice
    if len(bearers) > 1:
        raise failure(
            f"{item.name} would be stored in one place with {' and '.join(sorted(bearers))}:"
            " rename a test function or a case"
        )

    def train_case(
        case: Case, data: Data | None = None, weights: Weights | None = None
    ) -> Result:
        if item.stash[CALLED]:
            raise failure(f"train was called twice in {item.name}: an item stores one case")
        skip_unless_available(item, case)
        item.stash[CALLED] = True
        job = planned_job(item, case, data, weights)
        benchmark.group = benchmark.group or case.group
        result = all_runs(item, benchmark, job)
        item.stash[TRAINED] = True
        means = {name: spread.mean for name, spread in result.metrics.items()}
        benchmark.extra_info |= means
        known = [(name, mean) for name, mean in means.items() if mean is not None]
        item.user_properties += [(CASE, item.name), *known]  # for --junitxml, too
        if result.status != FINISHED:
            forget_times(benchmark)
        if result.failed:
            raise failure("\n".join(result.troubles))
        return result

    item.stash[CALLED] = item.stash[TRAINED] = False  # also where a plugin runs it once more
    return train_case


def skip_unless_available(item: pytest.Item, case: Case) -> None:
    """Skip a case that cannot run on this machine; collection has where it knew the case."""
    if case_of(item) is None and (reason := unavailable(case, item, session_of(item.config))):
        pytest.skip(reason)


def planned_job(
    item: pytest.Item, case: Case, data: Data | None, weights: Weights | None
) -> Job:
    """Return what an engine is given, once the plan has it."""
    session = session_of(item.config)
    try:
        add_to_plan(item, case)
        return job_of(case, data, weights, item.name, session.options)
    except UserError as error:
        words = f"{item.name}: {error}"
    raise failure(words)  # out here, where pytest shows nothing but the words


def all_runs(item: pytest.Item, benchmark: Any, job: Job) -> Result:
    """Return the result of a job; of an improvement once its base has been trained."""
    base = base_of(job)
    bases = Result(id=base.id, runs=tuple(compute(item, base))) if base else None
    if bases:
        check_base(item, bases)
    job = with_found(item, job)
    result = Result(id=job.id, runs=timed(benchmark, job, compute(item, job)))
    if base and bases:
        return train_until_told_apart(item, job, base, result, bases)
    return train_until_decided(item, job, result)


def timed(benchmark: Any, job: Job, computed: Iterator[Run]) -> tuple[Run, ...]:
    """Return all runs of a job, each a round of pytest-benchmark."""
    runs: list[Run] = []

    def train_next() -> None:
        """Take the next run; once there is none, as for a profiler's extra call, do nothing."""
        run = next(computed, None)
        if run is not None:
            runs.append(run)
            TrainingClock.seconds += run.metrics.get("train_seconds") or 0.0

    def train_all() -> None:
        for _ in job.seeds:
            train_next()

    if benchmark.enabled:
        benchmark.pedantic(train_next, rounds=len(job.seeds))
    else:  # under pytest-xdist it calls its target once, whatever the rounds
        benchmark.pedantic(train_all)
    return tuple(runs)


def forget_times(benchmark: Any) -> None:
    """Keep an item that broke off out of pytest-benchmark's table and files: not fast."""
    benchmark.has_error = True  # it goes into no file
    if benchmark.stats:  # there is none under pytest-xdist
        benchmark.stats.stats.data.clear()  # what has no rounds is in no table


@pytest.fixture
def gate(request: pytest.FixtureRequest) -> Callable[[Result], Verdict]:
    """Hold a result against the limits of its case: `assert gate(result).passed`."""
    from pytest_amlnn.gates.gate import Gate, judge_result
    from pytest_amlnn.gates.judging import unknown_metrics

    session, item = session_of(request.config), request.node
    item.stash[BROKEN] = ""  # also where a plugin runs it once more

    def judge(result: Result) -> Verdict:
        gate = session.gate or Gate()
        verdict = judge_result(result, gate)
        wrong = unknown_metrics(gate.held, result)
        if wrong:
            raise failure("\n".join(wrong))
        item.user_properties.append((VERDICT, str(verdict.name)))
        if not verdict.passed:
            item.stash[BROKEN] = verdict.brief
        return verdict

    return judge
