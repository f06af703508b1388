"""How long a step takes on two sides that were trained in turns: ratios, pair by pair."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from pytest_amlnn.gates.bounds import FAMILY, t_quantile
from pytest_amlnn.gates.verdict import INCONCLUSIVE
from pytest_amlnn.result import FINISHED, Run
from pytest_amlnn.statistics import deviation

SLOWER_MATTERS = 1.05
"""A ratio that anybody would act on."""
SLOWER, FASTER, ALIKE = "slower", "faster", "alike"
WALL, PROCESSOR = "wall", "processor"


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Seconds a step of the head over those of the base, over all pairs of a case."""

    id: str
    by: str
    """Which clock: the one on the wall, or that of the processor's work."""
    mean: float
    """Geometric."""
    low: float
    high: float
    """95 % interval of the mean: t on the log scale."""
    pairs: int
    verdict: str


def wall_of_step(run: Run) -> float | None:
    """Return the seconds of a step: the median over the epochs, the first left out if it can.

    What else runs on the machine comes in bursts, and the first epoch warms caches up.
    """
    each = [epoch.seconds["train"] / epoch.steps for epoch in run.epochs if epoch.steps]
    return median(each[1:] or each) if each else None


def work_of_step(run: Run) -> float | None:
    """Return the seconds that processors work on a step: the least of all epochs.

    What else runs there only adds to it, by emptying caches. On a GPU they say nothing.
    """
    if str(run.environment.get("device")).partition(":")[0] != "cpu":
        return None
    each = [(epoch.seconds.get("processor"), epoch.steps) for epoch in run.epochs]
    known = [seconds / steps for seconds, steps in each if seconds and steps]
    return min(known) if known and len(known) == len(each) else None


CLOCKS: Mapping[str, Callable[[Run], float | None]] = {
    WALL: wall_of_step,
    PROCESSOR: work_of_step,
}


def ratios(
    base: Mapping[tuple[str, int], Run], head: Mapping[tuple[str, int], Run]
) -> list[Ratio]:
    """Return the ratios of each case that both sides trained with several seeds.

    They have half of the family's chance of a false alarm: accuracies have the other half.
    """
    logs: dict[tuple[str, str], list[float]] = {}
    for key in sorted(base.keys() & head.keys()):
        runs = base[key], head[key]
        if any(run.status != FINISHED for run in runs):
            continue
        for name, clock in CLOCKS.items():
            before, now = map(clock, runs)
            if before and now:
                logs.setdefault((key[0], name), []).append(math.log(now / before))
    enough = {key: values for key, values in logs.items() if len(values) > 1}
    level = FAMILY / 2 / max(len(enough), 1)
    return [ratio_of(*key, values, level) for key, values in enough.items()]


def ratio_of(id: str, by: str, logs: Sequence[float], level: float) -> Ratio:
    """Return a case's ratio, and whether it is slower, at this level and by what matters."""
    count = len(logs)
    mean, error = math.fsum(logs) / count, deviation(logs) / math.sqrt(count)
    half = t_quantile(0.025, count - 1) * error
    sure = t_quantile(level / 2, count - 1) * error
    matters = math.log(SLOWER_MATTERS)
    verdict = ALIKE if mean + half < matters else INCONCLUSIVE  # as long, or shorter
    if abs(mean) > matters and abs(mean) > sure:
        verdict = SLOWER if mean > 0 else FASTER
    return Ratio(
        id=id,
        by=by,
        mean=math.exp(mean),
        low=math.exp(mean - half),
        high=math.exp(mean + half),
        pairs=count,
        verdict=verdict,
    )


def slower(found: Sequence[Ratio]) -> bool:
    """Return whether any case is slower by either clock."""
    return any(ratio.verdict == SLOWER for ratio in found)


def undecided(found: Sequence[Ratio]) -> bool:
    """Return whether neither clock says of some case how long it takes."""
    said: dict[str, set[str]] = {}
    for ratio in found:
        said.setdefault(ratio.id, set()).add(ratio.verdict)
    return any(verdicts == {INCONCLUSIVE} for verdicts in said.values())
