"""plan.json: what was collected, written before any of it is run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from pytest_benchmark.utils import get_commit_info

from pytest_amlnn import gate
from pytest_amlnn.case import Case
from pytest_amlnn.options import Options

OPTIONS = ("profile", "data", "device", "seed", "repeats", "gate")


def plain(
    items: Iterable[pytest.Item], options: Options, limits: Iterable[gate.Limit]
) -> dict[str, Any] | None:
    """Return the plan of these items, None where none of them is a benchmark."""
    items = list(items)
    if not any(map(trains, items)):
        return None
    return {
        "options": {name: getattr(options, name) for name in OPTIONS},
        "limits": [gate.to_plain(limit) for limit in limits],
        "cases": [planned(item, options) for item in items if trains(item)],
        "costs": {item.nodeid: case.cost for item in items if (case := case_of(item))},
        "commit": get_commit_info(),
    }


def planned(item: pytest.Item, options: Options) -> dict[str, Any]:
    """Return what the plan says of one item."""
    skips = [
        mark.kwargs.get("reason") or next(iter(mark.args), "unconditional skip")
        for mark in item.iter_markers("skip")
    ]
    case = case_of(item)
    repeats = options.repeats or (case.repeats if case else 1)
    return {
        "id": item.name,
        "nodeid": item.nodeid,
        "skip": skips[0] if skips else None,
        "seeds": [*range(options.seed, options.seed + repeats)],
    }


def trains(item: pytest.Item) -> bool:
    """Return whether an item is a benchmark of ours."""
    return "train" in getattr(item, "fixturenames", ())


def case_of(item: pytest.Item) -> Case | None:
    """Return the case that an item is parametrized with, if it is."""
    callspec = getattr(item, "callspec", None)
    case = callspec.params.get("case") if callspec else None
    return case if isinstance(case, Case) else None
