"""The runs of a case, or of an improvement and its base, with as many seeds as decide it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_amlnn.collection import case_of
from pytest_amlnn.computing import compute, failure
from pytest_amlnn.data import Source
from pytest_amlnn.job import Job
from pytest_amlnn.planning import add_seeds
from pytest_amlnn.result import FINISHED, Result
from pytest_amlnn.session import session_of


def base_of(job: Job) -> Job | None:
    """Return the job of the base that an improvement is compared with, with the same seeds.

    Data that the test gave are those of both; an improvement's own may be what it changes.
    """
    if job.case.improvement is None:
        return None
    base, data = job.case.improvement.base, job.data
    if isinstance(data, Source) and data == job.case.training.data.at(data.place):
        data = base.training.data.at(data.place)
    return replace(
        job,
        case=base,
        id=base.id,
        data=data,
        weights=job.weights if base.training.start != "random" else None,
    )


def check_base(item: pytest.Item, bases: Result) -> None:
    """Fail the item of an improvement where a run of its base did not end as it should."""
    if bases.status != FINISHED:
        raise failure("\n".join([f"{item.name}: its base failed", *bases.troubles]))


def train_until_decided(item: pytest.Item, job: Job, result: Result) -> Result:
    """Return the result of a case with runs of further seeds, until the gate has decided.

    Only --amlnn-max-repeats asks for any; pytest-benchmark's table has the first ones.
    """
    from pytest_amlnn.gates.gate import Gate, judge_result
    from pytest_amlnn.gates.verdict import INCONCLUSIVE

    gate = session_of(item.config).gate or Gate()
    for count in gate.looks(len(job.seeds))[1:]:
        verdict = judge_result(result, gate)
        doubts = [j for j in verdict.judgements if j.verdict == verdict.name == INCONCLUSIVE]
        if result.status != FINISHED or not any(doubt.needs_seeds for doubt in doubts):
            break  # it is decided, or seeds do not decide it
        result = with_further(item, job, result, count)
    return result


def train_until_told_apart(
    item: pytest.Item, job: Job, base: Job, result: Result, bases: Result
) -> Result:
    """Return the result of an improvement with runs of further seeds, as many of its base,
    until it is decided what it is worth; --amlnn-max-repeats says how many there may be."""
    from pytest_amlnn.effects import Effect
    from pytest_amlnn.gates.gate import looks
    from pytest_amlnn.improvements import is_open

    counts = looks(len(job.seeds), session_of(item.config).options.max_repeats)
    family = len([each for each in item.session.items if is_improvement(each)])
    for count in counts[1:]:
        effect = Effect(case=result, base=bases)
        if not is_open(effect, family=family, looks=len(counts)):
            break
        bases = with_further(item, base, bases, count)
        check_base(item, bases)
        result = with_further(item, job, result, count)
    return result


def is_improvement(item: pytest.Item) -> bool:
    """Return whether an item is going to train an improvement."""
    case = case_of(item)
    return bool(case and case.improvement) and not item.get_closest_marker("skip")


def with_further(item: pytest.Item, job: Job, result: Result, count: int) -> Result:
    """Return a result with the runs of those seeds that it lacks of so many."""
    further = tuple(range(result.runs[-1].seed + 1, job.seeds[0] + count))
    add_seeds(item, job.id, further)
    runs = tuple(compute(item, replace(job, seeds=further)))
    return replace(result, runs=(*result.runs, *runs))
