"""How error and time grow with the size of the data: exponents of power laws."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from pytest_amlnn.report.differences import grouped, sizes_of
from pytest_amlnn.report.facts import Facts
from pytest_amlnn.statistics import Spread, spread


def lines_of(cases: Sequence[Facts]) -> dict[str, list[Facts]]:
    """Return the cases of each model, start and variant by size, where there are several."""
    groups = [sorted(group, key=lambda c: c.size) for group in grouped(cases, sizes_of)]
    models = Counter(group[0].model for group in groups)
    return {
        group[0].model if models[group[0].model] == 1 else kind_of(group[0]): group
        for group in groups
        if len({case.size for case in group}) == len(group)
    }


def kind_of(case: Facts) -> str:
    """Return model, start and variant of a case."""
    training, variant = case.result.training, case.result.case["variant"]
    return " ".join(filter(None, (case.model, str(training["start"]), str(variant))))


def errors(case: Facts) -> list[float | None]:
    """Return what each seed lacks of 1, or the metric itself if less of it is better."""
    if case.metric.better == "lower":
        return [*case.spread.runs]
    return [1 - v if v is not None and 0 <= v <= 1 else None for v in case.spread.runs]


def error_label(case: Facts) -> str:
    """Return what `errors` are of."""
    return case.metric.name if case.metric.better == "lower" else f"1 - {case.metric.name}"


def seconds(case: Facts) -> list[float | None]:
    """Return the training seconds of each seed."""
    return [run.value("train_seconds") for run in case.result.runs]


OfSeeds = Callable[[Facts], Sequence[float | None]]


def exponent(cases: Sequence[Facts], of: OfSeeds) -> Spread:
    """Return the exponent of a power law through a line's sizes, fitted seed by seed."""
    columns = [dict(zip(case.result.seeds, of(case), strict=True)) for case in cases]
    common = [seed for seed in columns[0] if all(seed in column for column in columns)]
    sizes = [case.size for case in cases]
    return spread([slope(sizes, [column[seed] for column in columns]) for seed in common])


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
