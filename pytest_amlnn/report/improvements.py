"""Improvements as a table, and for other programs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pytest_amlnn.improvements import Worth
from pytest_amlnn.metrics import Metric, change_that_matters
from pytest_amlnn.report.values import Cell, Table, words
from pytest_amlnn.report.words import either, listed, value_of
from pytest_amlnn.report.worth import MARKS, bases_of, remark, signed, times, verdict_of
from pytest_amlnn.statistics import SURE

HEADS = ("base", "change", "from", "to", "difference", "verdict")
COSTS = ("time x", "FLOPs x", "seeds", "remark")
ESSENTIAL = frozenset({"base", "change", "difference", "verdict"})


def table_of(worths: Sequence[Worth]) -> Table | None:
    """Return what each change is worth, a row each, by base and effect; None without any."""
    if not worths:
        return None
    names, heads = bases_of(worths), (*HEADS, *COSTS)
    rows = [row_of(worth, names[worth.effect.base.id]) for worth in in_order(worths)]
    found = Table(
        title="Improvements",
        heads=heads,
        rows=tuple(rows),
        essential=ESSENTIAL,
        note=note(worths),
    )
    empty = {head for place, head in enumerate(heads) if all(row[place].empty for row in rows)}
    return found.only([head for head in heads if head not in empty])


def in_order(worths: Sequence[Worth]) -> list[Worth]:
    """Return changes by their base, the best first, those without a difference last."""
    names = bases_of(worths)
    return sorted(
        worths,
        key=lambda worth: (
            names[worth.effect.base.id],
            math.inf if worth.difference is None else -worth.difference,
            worth.effect.case.id,
        ),
    )


def by_metric(worths: Sequence[Worth]) -> dict[str, list[Worth]]:
    """Return changes by the name of their metric, each in the order of the table."""
    found: dict[str, list[Worth]] = {}
    for worth in in_order(worths):
        found.setdefault(worth.effect.metric.name, []).append(worth)
    return found


def row_of(worth: Worth, base: str) -> tuple[Cell, ...]:
    """Return the row of a change."""
    effect = worth.effect
    return (
        words(base),
        words(effect.name),
        words(value_of(effect.metric, effect.base_mean), effect.base_mean),
        words(value_of(effect.metric, effect.mean), effect.mean),
        words(signed(worth), worth.difference),
        Cell(words=verdict_of(worth), mark=MARKS.get(verdict_of(worth), "")),
        words(times(effect.seconds), effect.seconds),
        words(times(effect.operations), effect.operations),
        words(str(len(effect.case.runs)), len(effect.case.runs)),
        words(remark(worth)),
    )


def note(worths: Sequence[Worth]) -> str:
    """Say how the table is to be read."""
    metrics = [*dict.fromkeys(worth.effect.metric for worth in worths)]
    named = [f"{m.name} (in points)" if m.share else m.name for m in metrics]
    return (
        f"Difference: by how much a change is better, in {listed(named)}, paired by seed; below"
        f" 0 it is worse. All changes share a chance of {100 * SURE:g} % that any is said to"
        " help or to hurt and does neither (Holm 1979). Bounds are at that level: 0 lies"
        " outside them where a change helps or hurts. How much seeds differ is estimated with"
        " the help of the other changes on the same data. Too small to matter: the bounds lie"
        f" within {either([*map(what_matters, metrics)])}. So many seeds would decide if they"
        " went on as these do. Time is that of training, FLOPs are those of its forward passes,"
        " both as multiples of the base's."
    )


def what_matters(metric: Metric) -> str:
    """Return the change of a metric that anybody would act on, in words."""
    least = change_that_matters(metric, 1.0)
    if metric.share:
        return f"{count_of_points(least)} of {metric.name}"
    share = f"{100 * least:g} %" if metric.matters is None else f"{least:g}"
    return f"{share} of {metric.name}"


def count_of_points(share: float) -> str:
    """Return a share as points: `1 point`, `0.5 points`."""
    shown = f"{100 * share:g}"
    return f"{shown} point" if shown == "1" else f"{shown} points"


# summary.json


def plain(
    worth: Worth, searches: Mapping[str, list[dict[str, Any]]] = MappingProxyType({})
) -> dict[str, Any]:
    """Return what a change is worth as plain data; `searches` has the trials of cases."""
    effect = worth.effect
    names = ("difference", "low", "high", "chance", "adjusted", "verdict", "small")
    return {
        "id": effect.case.id,
        "name": effect.name,
        "base": effect.base.id,
        "advice": effect.advice,
        "metric": effect.metric.name,
        "seeds": [*effect.case.seeds],
        "base_mean": effect.base_mean,
        "mean": effect.mean,
        **{name: getattr(worth, name) for name in names},
        "needs_seeds": worth.needs_seeds,
        "why": worth.why,
        "cost": {"train_seconds": effect.seconds, "flops": effect.operations},
        "changed": {field: [*values] for field, values in effect.changed.items()},
        "trials": searches.get(effect.case.id),
    }
