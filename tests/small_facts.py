"""Facts of cases that were written by hand, for what a report says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from small_runs import small_epoch, small_run

from pytest_amlnn import Epoch, Run, store
from pytest_amlnn.report.differences import Difference, drawn
from pytest_amlnn.report.explanations import explain, of_cases, worthless
from pytest_amlnn.report.facts import Facts
from pytest_amlnn.report.groups import facts_of
from pytest_amlnn.report.sentences import Sentence
from pytest_amlnn.result import gather

LEVEL = (1.0, 0.8, 1.1, 0.7)
"""Training loss and accuracy, validation loss and accuracy of an epoch that changes nothing."""


def curve(*rows: Sequence[float]) -> tuple[Epoch, ...]:
    """Return epochs with these losses and accuracies: training first, then validation."""
    return tuple(
        small_epoch(
            train=dict(zip(("loss", "accuracy"), row[:2], strict=False)),
            validation=dict(zip(("loss", "accuracy"), row[2:], strict=False)),
        )
        for row in rows
    )


def runs_of(
    label: str = "linear",
    values: Sequence[float | None] = (0.75, 0.76, 0.74),
    *,
    rows: Sequence[Sequence[float]] = (LEVEL,) * 4,
    recipe: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float | None] | None = None,
    first: int = 0,
    name: str = "test_accuracy",
    **changes: Any,
) -> list[Run]:
    """Return runs of a case with these values of its metric; `recipe` changes its recipe."""
    epochs = curve(*rows)
    best = min(range(len(rows)), key=lambda number: rows[number][2]) + 1 if rows else None
    runs = []
    for seed, value in enumerate(values, first):
        fields = {"epochs": epochs, "best_epoch": best, **changes}
        run = small_run(
            f"test_small[{label}]", seed, metrics={name: value, **(metrics or {})}, **fields
        )
        recipes = run.case["training"]["recipe"]
        recipes |= {"epochs": len(rows), **(recipe or {})}
        runs.append(run)
    return runs


def facts(label: str = "linear", *arguments: Any, **changes: Any) -> Facts:
    """Return the facts of one case."""
    return facts_of(gather(runs_of(label, *arguments, **changes)), None)[0]


def forecast(
    label: str = "line", values: Sequence[float] = (1.5, 1.6, 1.4), **changes: Any
) -> Facts:
    """Return the facts of a forecaster with these errors."""
    return facts(label, values, **{"task": "forecast", "name": "test_mse", **changes})


def pair(first: Facts, second: Facts) -> Difference:
    """Return the one comparison that is drawn of two cases."""
    (found,) = drawn([first, second])
    return found


def said(*cases: Facts) -> tuple[Sentence, ...]:
    """Return all that is said of cases."""
    of_each = of_cases(cases, {})
    sound = [case for case in cases if case.id not in worthless(of_each)]
    return explain(of_each, drawn(sound))


def with_answers(folder: Path, cases: Mapping[str, Sequence[Sequence[bool]]]) -> list[Facts]:
    """Store cases whose runs get these test examples right, and return their facts.

    Of `n` examples the first half is of class a, the second of class b.
    """
    for label, runs in cases.items():
        for seed, right in enumerate(runs):
            hits = np.array(right)
            labels = (np.arange(len(hits)) * 2 // len(hits)).astype(np.int64)
            arrays = {
                "label": labels,
                "predicted": np.where(hits, labels, 1 - labels),
                "confidence": np.full(len(hits), hits.mean(), np.float32),
            }
            (run,) = runs_of(label, [float(hits.mean())], first=seed)
            run.data["counts"]["test"] = len(hits)
            run.data["classes"][:] = ["a", "b"]
            store.save_run(folder, run, arrays, [f"{n}.png" for n in range(len(hits))])
    runs, _ = store.read_runs(folder)
    return [*facts_of(gather(runs), folder)]
