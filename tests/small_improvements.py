"""Improvements that were written by hand, for what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from small_facts import runs_of
from small_runs import sweep

from pytest_amlnn import Run, plans
from pytest_amlnn.effects import effects_of
from pytest_amlnn.improvements import Worth, judge
from pytest_amlnn.result import gather

BASE = (0.70, 0.72, 0.71)
BETTER, WORSE = (0.90, 0.92, 0.93), (0.50, 0.52, 0.53)
"""Surely better and worse than the base, for all of a few changes."""


def improvement(
    change: str,
    values: Sequence[float | None],
    *,
    base: str = "base",
    advice: str = "",
    recipe: Mapping[str, Any] | None = None,
    **changes: Any,
) -> list[Run]:
    """Return runs of a change of a base, with these values of its metric."""
    label = f"{change}-{base}"
    runs = runs_of(label, values, recipe=recipe, **{"model": base, **changes})
    for run in runs:
        of_base = {
            "name": change,
            "base": f"test_small[{base}]",
            "advice": advice,
            "search": None,
        }
        run.case.update(family="improvement", improvement=of_base)
    return [replace(run, id=f"test_improvement[{label}]") for run in runs]


def judged(*runs: Sequence[Run], **options: Any) -> dict[str, Worth]:
    """Return what the changes among runs are worth, by their names."""
    effects = effects_of(gather(run for some in runs for run in some))
    return {worth.effect.name: worth for worth in judge(effects, **options)}


def improved_sweep(folder: Path, *runs: Sequence[Run], **options: Any) -> Path:
    """Write a run directory whose plan says which cases are improvements of which."""
    every = [run for some in runs for run in some]
    sweep(folder, every, **options)
    plan = plans.load(folder)
    bases = {
        run.id: run.case["improvement"]["base"] for run in every if run.case.get("improvement")
    }
    for case in plan["cases"]:
        case["base"] = bases.get(case["id"])
        case["seeds"] = [run.seed for run in every if run.id == case["id"]] or case["seeds"]
    plans.save(folder, plan, None)
    return folder
