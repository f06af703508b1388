"""The pictures of a report, in sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_amlnn.report.drawing import Figure, Models
from pytest_amlnn.report.facts import Facts
from pytest_amlnn.report.figures import costs, curves, forecasts, pictures, times
from pytest_amlnn.report.groups import by_dataset, groups, largest

MOST = 96
"""Cases whose curves and times are drawn; more take a second for each fifteen."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """Figures under a heading."""

    title: str
    figures: tuple[Figure, ...]


def sections(cases: Sequence[Facts], models: Models) -> list[Section]:
    """Return all pictures of a sweep; sections without any are left out."""
    trained = [case for case in cases if any(run.epochs for run in case.result.runs)]
    trained = trained[:MOST]
    learned: list[Figure] = []
    for (family, dataset, size), group in groups(trained).items():
        learned += curves.figures(f"{family} on {dataset}, {size:,}", group, models)
    costing: list[Figure] = []
    scaling: list[Figure] = []
    for (family, dataset), group in by_dataset(cases).items():
        costing += costs.figures(f"{family} on {dataset}", group, models)
        scaling += costs.scaling(f"{family} on {dataset}", group, models)
    answered: list[Figure] = []
    forecast: list[Figure] = []
    for (family, dataset), group in largest(cases).items():
        title = f"{family} on {dataset}, {group[0].size:,}"
        answered += pictures.figures(title, group, models)
        forecast += forecasts.figures(title, group, models)
    found = (
        ("How they learned", learned),
        ("What it costs", costing),
        ("What more data bring", scaling),
        ("How sure they are", answered),
        ("What they forecast", forecast),
        ("Where the time went", times.figures(cases[:MOST])),
    )
    return [Section(title=title, figures=tuple(drawn)) for title, drawn in found if drawn]
