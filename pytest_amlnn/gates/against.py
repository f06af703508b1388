"""A result against that of another sweep: by its bits, seed by seed, or as two samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from pytest_amlnn.gates import bounds
from pytest_amlnn.gates.bounds import Levels
from pytest_amlnn.gates.causes import likely
from pytest_amlnn.gates.comparable import changed
from pytest_amlnn.gates.judging import TOO_GOOD, far_off, held_against
from pytest_amlnn.gates.limits import Limit
from pytest_amlnn.gates.measured import Measured
from pytest_amlnn.gates.pairs import by_pairs, margin_within, one_run
from pytest_amlnn.gates.reference import Reference, reference_of
from pytest_amlnn.gates.verdict import (
    IDENTICAL,
    NOT_COMPARABLE,
    RED,
    SUSPICIOUS,
    Judgement,
)
from pytest_amlnn.metrics import Metric, change_that_matters
from pytest_amlnn.statistics import mean_of


def judge_against(
    ours: Measured, theirs: Measured | None, metric: Metric, levels: Levels, *, where: str
) -> Judgement:
    """Judge one metric of a result by what another sweep reached; `where` names that sweep."""
    limit = Limit(case=ours.id, metric=metric.name, where=where)
    mine = ours.numbers(metric.name)
    base = theirs.numbers(metric.name) if theirs else []
    found = Judgement(
        limit=limit, value=mean(mine), reference=mean(base), verdict=NOT_COMPARABLE
    )
    if theirs is None:
        return replace(found, why=(f"{where} has no such case",))
    if theirs.trouble:
        return replace(found, why=(f"{where}: {theirs.trouble}",))
    if not mine or not base:
        side = "this sweep" if base else where
        return replace(found, why=(f"{side} has no value of it from every run",))
    if metric.of_clock:
        return replace(found, why=("times are compared side by side alone: amlnn ab",))
    if why := other_case(ours, theirs):
        return replace(found, why=(why,))
    if are_identical(ours, theirs):
        return replace(found, verdict=IDENTICAL, low=0.0, high=0.0)
    judged = best_of(ours, theirs, mine, base, metric, levels)
    odd = other_bits(ours, theirs)
    fields = changed(theirs.training, ours.training)
    cause = likely(ours, partial(before, theirs)) if judged.verdict in RED else ""
    needs = judged.needs_seeds
    said = [
        *judged.why,
        TOO_GOOD if judged.verdict == SUSPICIOUS else "",
        f"{needs} seeds on both sides would decide" if needs else "",
        odd,
        f"changed: {fields}" if fields else "",
        f"likely cause: {cause}" if cause else "",
    ]
    return replace(
        judged,
        limit=limit,
        reference=found.reference,
        why=tuple(words for words in said if words),
        odd=bool(odd),
    )


def before(theirs: Measured, name: str) -> Reference | None:
    """Return what the runs of another sweep say of a metric."""
    values = theirs.numbers(name)
    return reference_of([values]) if values else None


def best_of(
    ours: Measured,
    theirs: Measured,
    mine: list[float],
    base: list[float],
    metric: Metric,
    levels: Levels,
) -> Judgement:
    """Judge by the better one of two ways, each at half of the level.

    Seed by seed, what both sides owe to the seed drops out; where they owe nothing to it, two
    samples say more, and allow for runs that fail by themselves.
    """
    if len(base) == 1:
        return one_run(ours, theirs, mine, base[0], metric, levels)
    common = [seed for seed in ours.seeds if seed in theirs.seeds]
    pairs = [mine[ours.seeds.index(seed)] - base[theirs.seeds.index(seed)] for seed in common]
    paired = len(common) > 1 and len(common) >= min(len(mine), len(base))
    if not paired:
        return two_samples(mine, base, metric, levels)
    halves = Levels(drop=levels.drop / 2, gain=levels.gain / 2, shape=levels.shape / 2)
    ways = [
        two_samples(mine, base, metric, halves),
        by_pairs(pairs, mine, base, metric, halves),
    ]
    return min(ways, key=width)


def width(judgement: Judgement) -> float:
    """Return how far apart the bounds of a difference are."""
    if judgement.low is None or judgement.high is None:
        return math.inf
    return judgement.high - judgement.low


def two_samples(
    mine: list[float], base: list[float], metric: Metric, levels: Levels
) -> Judgement:
    """Judge runs by those of the baseline, as by a reference of few runs."""
    reference = reference_of([base])
    least = change_that_matters(metric, reference.mean)
    told = bounds.margin_told_by(len(mine), reference, levels.drop)
    margin = margin_within(told, least, reference.mean)
    found = held_against(mine, reference, metric, levels, margin=margin, least=least)
    return replace(found, why=(f"{len(mine)} runs against {len(base)}", *far_off(reference)))


def mean(values: Sequence[float]) -> float | None:
    """Return the mean, None of nothing."""
    return mean_of(values) if values else None


def other_case(ours: Measured, theirs: Measured) -> str:
    """Say why two results cannot be compared; nothing where they can."""
    for name in ("task", "init", "dataset"):
        then, now = getattr(theirs, name), getattr(ours, name)
        if then != now:
            return f"{name} was {then}, is {now}"
    before = dict(zip(theirs.seeds, theirs.digests, strict=False))
    for seed, now in zip(ours.seeds, ours.digests, strict=False):
        then = before.get(seed)
        if then is not None and now is not None and then != now:
            return f"the data of seed {seed} had the digest {then[:12]}, have {now[:12]}"
    known = {*theirs.digests}, {*ours.digests}
    if all(len(one) == 1 for one in known) and known[0] != known[1] and None not in known[1]:
        return f"the data had the digest {theirs.digests[0]}, have {ours.digests[0]}"
    return ""


def are_identical(ours: Measured, theirs: Measured) -> bool:
    """Return whether each of our runs has the bits of theirs with the same seed."""
    before = dict(zip(theirs.seeds, theirs.traces, strict=False))
    now = dict(zip(ours.seeds, ours.traces, strict=False))
    return bool(now) and all(
        seed in before and (trace.epochs, trace.end) == (before[seed].epochs, before[seed].end)
        for seed, trace in now.items()
    )


def other_bits(ours: Measured, theirs: Measured) -> str:
    """Say that something that is not on record changed what was computed, and since when."""
    before = dict(zip(theirs.seeds, theirs.traces, strict=False))
    for seed, trace in zip(ours.seeds, ours.traces, strict=False):
        was = before.get(seed)
        if was is None or was.identity != trace.identity:
            continue
        if (was.epochs, was.end) == (trace.epochs, trace.end):
            continue
        pairs = zip(was.epochs, trace.epochs, strict=False)
        same = [then == now for then, now in pairs]
        first = same.index(False) + 1 if False in same else min(len(was.epochs), len(same)) + 1
        place = f"epoch {first}" if first <= len(trace.epochs) else "the test"
        return (
            f"seed {seed} has the same training and environment, and other bits from {place}"
            " on: code that is not on record changed what is computed"
        )
    return ""
