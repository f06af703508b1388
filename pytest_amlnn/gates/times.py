"""How long a step takes on two sides that were trained in turns: ratios, pair by pair."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from pytest_amlnn.gates.bounds import FAMILY, deviation, t_quantile
from pytest_amlnn.result import FINISHED, Run

SLOWER_MATTERS = 1.05
"""A ratio that anybody would act on."""
SLOWER, FASTER, ALIKE = "slower", "faster", "alike"


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Seconds a step of the head over those of the base, over all pairs of a case."""

    id: str
    mean: float
    """Geometric."""
    low: float
    high: float
    """95 % interval of the mean: t on the log scale."""
    pairs: int
    verdict: str


def seconds_of_step(run: Run) -> float | None:
    """Return the seconds of a step: the median over the epochs, the first left out if it can.

    What else runs on the machine comes in bursts, and the first epoch warms caches up.
    """
    if run.status != FINISHED or not run.epochs:
        return None
    each = [epoch.seconds["train"] / epoch.steps for epoch in run.epochs if epoch.steps]
    return median(each[1:] or each) if each else None


def ratios(
    base: Mapping[tuple[str, int], Run], head: Mapping[tuple[str, int], Run]
) -> list[Ratio]:
    """Return the ratio of each case that both sides trained with several seeds."""
    logs: dict[str, list[float]] = {}
    for key in sorted(base.keys() & head.keys()):
        before, now = seconds_of_step(base[key]), seconds_of_step(head[key])
        if before and now:
            logs.setdefault(key[0], []).append(math.log(now / before))
    enough = {id: values for id, values in logs.items() if len(values) > 1}
    level = FAMILY / max(len(enough), 1)
    return [ratio_of(id, values, level) for id, values in enough.items()]


def ratio_of(id: str, logs: Sequence[float], level: float) -> Ratio:
    """Return a case's ratio, and whether it is slower, at this level and by what matters."""
    count = len(logs)
    mean, error = math.fsum(logs) / count, deviation(logs) / math.sqrt(count)
    half = t_quantile(0.025, count - 1) * error
    sure = t_quantile(level / 2, count - 1) * error
    verdict = ALIKE
    if abs(mean) > math.log(SLOWER_MATTERS) and abs(mean) > sure:
        verdict = SLOWER if mean > 0 else FASTER
    return Ratio(
        id=id,
        mean=math.exp(mean),
        low=math.exp(mean - half),
        high=math.exp(mean + half),
        pairs=count,
        verdict=verdict,
    )
