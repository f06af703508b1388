"""Several sweeps in the order of time: what each case reached in each, and where that stepped.

`histories` gives a value for each metric of each case, with all that a table or a figure of it
shows. docs/history.md says what is compared and how steps are tested.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_amlnn.gates.bounds import FAMILY
from pytest_amlnn.gates.comparable import changed
from pytest_amlnn.gates.measured import Measured, main_metric_of, measured
from pytest_amlnn.identity import differences
from pytest_amlnn.metrics import COMMON, Metric, change_that_matters
from pytest_amlnn.report.change_points import EDGE, Drifting, Shuffled, steps
from pytest_amlnn.report.comparability import other, trouble_of
from pytest_amlnn.report.moments import Moment
from pytest_amlnn.result import Result
from pytest_amlnn.statistics import Spread, mean_of

(TRAIN_SECONDS,) = (metric for metric in COMMON if metric.name == "train_seconds")


# values


@dataclass(frozen=True, kw_only=True)
class Point:
    """What a case reached in one sweep."""

    moment: int
    """Index of the sweep among all that the report is of: equal for one sweep in every case."""
    label: str
    """Name and commit of the sweep."""
    spread: Spread
    """Mean, interval and value by seed; all that is known where the point is not comparable."""
    why: str = ""
    """Why it cannot be compared with the newest point; nothing where it can."""

    @property
    def comparable(self) -> bool:
        """Whether it is looked at for steps."""
        return not self.why


@dataclass(frozen=True, kw_only=True)
class Step:
    """A change of level between two sweeps that are neighbours among the comparable ones."""

    place: int
    """Index in `History.points` of the first one at the new level."""
    last: int
    """Index of the last comparable one at the old level."""
    was: float
    """Mean of the old level, over its runs; of times over its sweeps."""
    now: float
    """Mean of the new level."""
    chance: float
    """Of any such step in all cases and metrics together, where nothing changed."""
    matters: bool
    """Whether it is as large as a change that anybody would act on."""
    changed: str = ""
    """What is on record as changed between the two sweeps: of the training, and versions."""


@dataclass(frozen=True, kw_only=True)
class History:
    """One metric of one case over the sweeps that have the case: what a figure is drawn of."""

    case: str
    profile: str
    family: str
    metric: Metric
    """Its name, unit, better side, and how it is shown."""
    points: tuple[Point, ...]
    """In order of time; at least two."""
    steps: tuple[Step, ...] = ()
    """In order of time."""
    untold: str = ""
    """Why no step could have been found; nothing where it could."""


# histories


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A case in a sweep that it can be compared in."""

    index: int
    """Of its point in the history."""
    result: Result
    measured: Measured

    def changes(self, then: Sound) -> str:
        """Say what is on record as changed since: of the training, and versions."""
        packages = [one.result.runs[0].environment.get("packages", {}) for one in (then, self)]
        training = changed(then.measured.training, self.measured.training)
        return ", ".join(filter(None, (training, *differences(*packages))))


@dataclass(frozen=True, kw_only=True)
class Series:
    """A history whose steps are not looked for yet, with what they are looked for in."""

    history: History
    sound: tuple[Sound, ...]
    """What the comparable points are of."""

    @property
    def of_clock(self) -> bool:
        """Whether sweeps are what varies, and not their seeds."""
        return self.history.metric.of_clock


def histories(moments: Sequence[Moment]) -> list[History]:
    """Return the history of each metric of each case that two sweeps or more have.

    All together have a step where nothing changed with a chance of at most `FAMILY`.
    """
    cases: dict[tuple[str, str], list[tuple[int, Result]]] = {}
    for place, moment in enumerate(moments):
        for result in moment.sweep.results:
            cases.setdefault((moment.profile, result.id), []).append((place, result))
    series = [
        series_of(found, metric, moments)
        for _, found in sorted(cases.items())
        if len(found) > 1
        for metric in dict.fromkeys((main_metric_of(found[-1][1]), TRAIN_SECONDS))
    ]
    tested = sum(len(one.sound) > 1 for one in series)
    return [with_steps(one, FAMILY / max(tested, 1)) for one in series]


def series_of(
    found: Sequence[tuple[int, Result]], metric: Metric, moments: Sequence[Moment]
) -> Series:
    """Return a metric of a case in all sweeps that have it, compared with the newest one."""
    sides = [measured(result, traces=False) for _, result in found]
    troubles = [
        trouble_of(moments[place].sweep, result, side, metric)
        for (place, result), side in zip(found, sides, strict=True)
    ]
    sound = [i for i, trouble in enumerate(troubles) if not trouble]
    newest = sound[-1] if sound else len(found) - 1
    reasons = [
        trouble or other(found[newest][1], result, sides[newest], side, metric)
        for trouble, (_, result), side in zip(troubles, found, sides, strict=True)
    ]
    last, profile = found[-1][1], moments[found[0][0]].profile
    points = tuple(
        Point(
            moment=place,
            label=moments[place].label,
            spread=result.spread(metric),
            why=why,
        )
        for (place, result), why in zip(found, reasons, strict=True)
    )
    return Series(
        history=History(
            case=last.id,
            profile=profile,
            family=str(last.case["family"]),
            metric=metric,
            points=points,
        ),
        sound=tuple(
            Sound(index=i, result=result, measured=side)
            for i, ((_, result), side) in enumerate(zip(found, sides, strict=True))
            if not reasons[i]
        ),
    )


# steps


def with_steps(series: Series, level: float) -> History:
    """Return a history with the steps that are found at a level."""
    history = series.history
    groups, firsts = groups_of(series)
    model = Drifting() if series.of_clock else Shuffled()
    if not series.sound:
        return replace(history, untold="no sweep has a value that can be compared")
    untold = ""
    if len(series.sound) < 2 or not model.places(groups) or model.least(groups) > level:
        untold = untold_of(series, len(groups))
    found = steps(groups, model, level)
    ends = [0, *(step.place for step in found), len(groups)]
    means = [
        level_of(groups[begin:end], series.of_clock)
        for begin, end in zip(ends, ends[1:], strict=False)
    ]
    made = tuple(
        step_of(series, firsts[step.place], (means[i], means[i + 1]), step.chance / level)
        for i, step in enumerate(found)
    )
    return replace(history, steps=made, untold=untold)


def step_of(series: Series, place: int, means: tuple[float, float], share: float) -> Step:
    """Return a step at the comparable point of this number; `share` is that of its level."""
    before, after = series.sound[place - 1 : place + 1]
    was, now = means
    return Step(
        place=after.index,
        last=before.index,
        was=was,
        now=now,
        chance=min(1.0, share * FAMILY),
        matters=abs(now - was) >= change_that_matters(series.history.metric, was),
        changed=after.changes(before),
    )


def groups_of(series: Series) -> tuple[list[list[float]], list[int]]:
    """Return the values that steps are looked for in, and where in `sound` each begins.

    Of times it is the logarithm of a sweep's mean. Of what is learned it is each run, and
    sweeps that follow one another with the same values seed by seed are one group: the same
    bits again say nothing new.
    """
    name = series.history.metric.name
    if series.of_clock:
        logs = [[math.log(mean_of(one.measured.numbers(name)))] for one in series.sound]
        return logs, [*range(len(logs))]
    groups, firsts = list[dict[int, float]](), list[int]()
    for place, one in enumerate(series.sound):
        values = dict(zip(one.result.seeds, one.measured.numbers(name), strict=True))
        if groups and are_same(groups[-1], values):
            groups[-1] |= values
        else:
            groups.append(values)
            firsts.append(place)
    return [[*group.values()] for group in groups], firsts


def are_same(then: Mapping[int, float], now: Mapping[int, float]) -> bool:
    """Return whether all seeds that both have, and some do, have the same values."""
    both = then.keys() & now.keys()
    return bool(both) and all(then[seed] == now[seed] for seed in both)


def level_of(groups: Iterable[Sequence[float]], of_clock: bool) -> float:
    """Return the mean of a level."""
    mean = mean_of([value for group in groups for value in group])
    return math.exp(mean) if of_clock else mean


def untold_of(series: Series, groups: int) -> str:
    """Say why no step could have been found."""
    count = len(series.sound)
    if count > 1 and groups == 1 and not series.of_clock:
        return "the same values in all sweeps"
    told = f"too few sweeps to tell: {count} of {len(series.history.points)} can be compared"
    if series.of_clock:
        return f"{told}, times need {2 * EDGE}"
    return told if groups == count else f"{told}, {groups} of them with values of their own"
