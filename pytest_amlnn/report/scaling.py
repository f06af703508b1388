"""How error and time grow with the size of the data: exponents of power laws."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from pytest_amlnn.report.facts import Facts
from pytest_amlnn.statistics import Spread, spread


def lines_of(cases: Sequence[Facts]) -> dict[str, list[Facts]]:
    """Return, by model, its cases by size, of models that were trained on several sizes."""
    models = dict.fromkeys(case.model for case in cases)
    return {name: mine for name in models if len(mine := sizes_of(name, cases)) > 1}


def sizes_of(model: str, cases: Sequence[Facts]) -> list[Facts]:
    """Return the cases of a model by size; of several of one size the first."""
    mine: dict[int, Facts] = {}
    for case in cases:
        if case.model == model:
            mine.setdefault(case.size, case)
    return [mine[size] for size in sorted(mine)]


def errors(case: Facts) -> list[float | None]:
    """Return what each seed lacks of 1, or the metric itself if less of it is better."""
    if case.metric.better == "lower":
        return [*case.spread.runs]
    return [None if value is None else 1 - value for value in case.spread.runs]


def error_label(case: Facts) -> str:
    """Return what `errors` are of."""
    return case.metric.name if case.metric.better == "lower" else f"1 - {case.metric.name}"


def seconds(case: Facts) -> list[float | None]:
    """Return the training seconds of each seed."""
    return [run.value("train_seconds") for run in case.result.runs]


OfSeeds = Callable[[Facts], Sequence[float | None]]


def exponent(cases: Sequence[Facts], of: OfSeeds) -> Spread:
    """Return the exponent of a power law through a model's sizes, fitted seed by seed."""
    columns = [of(case) for case in cases]
    sizes = [case.size for case in cases]
    return spread([slope(sizes, values) for values in zip(*columns, strict=False)])


def slope(sizes: Sequence[int], values: Sequence[float | None]) -> float | None:
    """Return the exponent of a power law by least squares on log axes; None of too few."""
    pairs = [
        (math.log(s), math.log(v)) for s, v in zip(sizes, values, strict=True) if v and v > 0
    ]
    if len(pairs) < len(sizes):
        return None
    x, y = (math.fsum(part) / len(pairs) for part in zip(*pairs, strict=True))
    below = math.fsum((a - x) ** 2 for a, _ in pairs)
    return math.fsum((a - x) * (b - y) for a, b in pairs) / below if below else None


def in_words(found: Spread) -> str:
    """Return an exponent with its interval."""
    if found.mean is None:
        return "?"
    if found.low is None or found.high is None:
        return f"{found.mean:.2f}"
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"
