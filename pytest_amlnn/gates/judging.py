"""The judgement whether a result keeps its limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

from pytest_amlnn.gates import bounds
from pytest_amlnn.gates.bounds import Levels
from pytest_amlnn.gates.calibration import Calibration
from pytest_amlnn.gates.comparable import incomparable
from pytest_amlnn.gates.limit_checks import wrong_metric
from pytest_amlnn.gates.limits import Limit, Limits
from pytest_amlnn.gates.measured import Measured, machine_of_all
from pytest_amlnn.gates.reference import Reference
from pytest_amlnn.gates.shape import with_reasons, with_shape
from pytest_amlnn.gates.verdict import (
    INCONCLUSIVE,
    NOT_COMPARABLE,
    PASSED,
    REGRESSED,
    SUSPICIOUS,
    Judgement,
    decided,
)
from pytest_amlnn.metrics import COMMON, Metric, change_that_matters, whole_value
from pytest_amlnn.result import Result
from pytest_amlnn.statistics import mean_of


def judge(
    result: Measured,
    held: Limits,
    known: Mapping[str, Metric],
    levels: Levels,
    *,
    first: int,
) -> list[Judgement]:
    """Hold a result against the limits of its case.

    `known` has its metrics by name; `first` is the number of seeds that it was planned with.
    """
    calibration = held.calibrations.get(result.id)
    return [
        judge_one(result, limit, calibration, known.get(limit.metric), levels, first)
        for limit in held.by_case.get(result.id, ())
    ]


def judge_one(
    result: Measured,
    limit: Limit,
    calibration: Calibration | None,
    metric: Metric | None,
    levels: Levels,
    first: int,
) -> Judgement:
    """Hold one metric against its bounds, then against its reference."""
    numbers = result.numbers(limit.metric) if metric else []
    value = result.mean(limit.metric) if metric else None
    judgement = partial(Judgement, limit=limit, value=value, reference=limit.reference)
    if metric and metric.of_clock and result.contended:
        return judgement(verdict=NOT_COMPARABLE, why=("the run shared the machine",))
    if value is None or not keeps(value, limit):
        found = judgement(verdict=out_of_bounds(value, limit, metric))
        return with_reasons(found, result, calibration) if calibration else found
    if limit.reference is None or metric is None:
        return judgement(verdict=PASSED)
    why = incomparable(result, limit, calibration, metric)
    if why:
        return judgement(verdict=NOT_COMPARABLE, why=(why,))
    reference = reference_for(result, limit, calibration)
    least = change_that_matters(metric, reference.mean)
    whole = whole_value(metric, reference.mean)
    margin = margin_of(limit, reference, (least, whole), levels, first)
    held = held_against(numbers, reference, metric, levels, margin=margin, least=least)
    words = (runs_in_words(reference), *said_of(held, reference))
    found = replace(held, limit=limit, value=value, why=words)
    if calibration is None or limit.metric != calibration.main_metric:
        return found
    return with_shape(found, result, calibration, levels)


def keeps(value: float, limit: Limit) -> bool:
    """Return whether a value lies within the bounds that it is held against as it is."""
    low = limit.at_least is None or value >= limit.at_least
    high = limit.at_most is None or value <= limit.at_most
    return low and high and limit.exactly in (None, value)


def out_of_bounds(value: float | None, limit: Limit, metric: Metric | None) -> str:
    """Return the verdict on a value that is not within its bounds."""
    if value is None or limit.exactly is None or metric is None:
        return REGRESSED
    worse = metric.better != "neither" and (metric.better == "lower") == (value > limit.exactly)
    return REGRESSED if worse else SUSPICIOUS


def reference_for(result: Measured, limit: Limit, calibration: Calibration | None) -> Reference:
    """Return what a result is held against, as it is known of its machine."""
    if calibration is None or not calibration.has(limit.metric):
        stated = limit.stated
        assert stated is not None  # or the file would have been refused
        return stated
    return calibration.reference(limit.metric, machine_of_all(result))


def margin_of(
    limit: Limit, reference: Reference, within: tuple[float, float], levels: Levels, first: int
) -> float:
    """Return the drop that matters to a limit.

    Where it is what seeds can tell, those that the case was planned with tell it, at the level
    that it is judged at, so that unchanged results pass. It lies within the drop that anybody
    would act on and the whole value: seeds that tell no more than that tell nothing.
    """
    if limit.told_by is None:
        return limit.margin or 0.0
    told = bounds.margin_told_by(first, reference, levels.drop)
    least, whole = within
    return max(least, told) if told < whole else least


def held_against(
    values: list[float],
    reference: Reference,
    metric: Metric,
    levels: Levels,
    *,
    margin: float,
    least: float,
) -> Judgement:
    """Judge a metric by the bounds of its difference to a reference.

    `least` is the change that anybody would act on, `margin` the drop that is not passed.
    """
    sign = -1.0 if metric.better == "lower" else 1.0
    turned = [sign * value for value in values]
    base = reference if sign > 0 else reference.turned()
    found = bounds.bounds_of(turned, base, levels.drop)
    gain = bounds.least_gain(turned, base, levels.gain)
    low, high = found.low, found.high
    gains = math.inf if metric.of_machine else min(least, margin)  # less memory is no wonder
    verdict = decided(low, high, gain, margin=margin, gains=gains)
    undecided = verdict == INCONCLUSIVE
    needs = bounds.seeds_needed(turned, base, margin, levels.drop) if undecided else None
    if sign < 0:
        low, high = (None if end is None else -end for end in (high, low))
    return Judgement(
        limit=Limit(case="", metric=metric.name),
        value=mean_of(values),
        verdict=verdict,
        reference=reference.mean,
        margin=margin,
        low=low,
        high=high,
        needs_seeds=needs,
        chance=min(
            bounds.chance_of_drop(turned, base) / levels.drop,
            bounds.chance_of_gain(turned, base) / levels.gain,
        ),
    )


TOO_GOOD = (
    "it is better than chance allows: are test examples in train, or does the net know its"
    " targets?"
)


def far_off(reference: Reference) -> Iterable[str]:
    """Say how many runs of a reference failed by themselves, if any."""
    odd = reference.failed + reference.soared
    if odd:
        yield f"{odd} of its runs {'was' if odd == 1 else 'were'} far off by themselves"


def runs_in_words(reference: Reference) -> str:
    """Say which runs are behind a reference."""
    runs = f"the reference has {reference.n} runs, sd {reference.sd:.2g}"
    between = f", {reference.sd_machines:.2g} between machines"
    return runs + (between if reference.sd_machines else "")


def said_of(found: Judgement, reference: Reference) -> Iterable[str]:
    """Say what of a reference is odd, what a verdict means, and what would decide it."""
    yield from far_off(reference)
    if found.verdict == SUSPICIOUS:
        yield f"{TOO_GOOD} If it is meant, calibrate anew"
    if found.verdict == INCONCLUSIVE and found.needs_seeds:
        yield f"{found.needs_seeds} seeds would decide: --amlnn-max-repeats {found.needs_seeds}"
    elif found.verdict == INCONCLUSIVE:
        yield "more seeds would not decide: calibrate with more runs, or allow a larger margin"


def unknown_metrics(held: Limits, result: Result) -> list[str]:
    """Return what is wrong with the metrics that limits on a result name, in words."""
    mine = held.by_case.get(result.id, ())
    own = [metric for metric in result.known.values() if metric not in COMMON]
    return [
        words for limit in mine for words in wrong_metric(limit, own, result.training["task"])
    ]
