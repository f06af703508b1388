"""The cases of a sweep, and which of them stand beside each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pytest_amlnn.report.facts import Facts
from pytest_amlnn.result import Result


def facts_of(results: Sequence[Result], folder: Path | None) -> tuple[Facts, ...]:
    """Return the facts of all cases of a sweep."""
    labels = Counter(str(result.case["label"]) for result in results)
    return tuple(
        Facts(result, folder, label if labels[label] == 1 else result.id)
        for result in results
        for label in [str(result.case["label"])]
    )


def groups(cases: Iterable[Facts]) -> dict[tuple[str, str, int], list[Facts]]:
    """Return cases by family, dataset and size, the smallest first."""
    found: dict[tuple[str, str, int], list[Facts]] = {}
    for case in sorted(cases, key=lambda case: (case.size, case.id)):
        key = (str(case.result.case["family"]), str(case.result.training["dataset"]), case.size)
        found.setdefault(key, []).append(case)
    return found


def by_dataset(cases: Iterable[Facts]) -> dict[tuple[str, str], list[Facts]]:
    """Return cases by family and dataset."""
    found: dict[tuple[str, str], list[Facts]] = {}
    for key, group in groups(cases).items():
        found.setdefault(key[:2], []).extend(group)
    return found


def largest(cases: Iterable[Facts]) -> dict[tuple[str, str], list[Facts]]:
    """Return the cases of the largest size by family and dataset."""
    return {key[:2]: group for key, group in groups(cases).items()}
