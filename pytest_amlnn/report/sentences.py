"""A sentence of a report, with the numbers that it rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pytest_amlnn.report.facts import Facts


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """What is said, by which rule, of which cases, and on what evidence."""

    rule: str
    cases: tuple[str, ...]
    text: str
    evidence: tuple[str, ...]
    """Lines, each with a number."""


def sentence(
    rule: Callable[..., object] | str, cases: Iterable[Facts], text: str, *evidence: str
) -> Sentence:
    """Return what a rule says of cases; empty lines of evidence are left out."""
    return Sentence(
        rule=rule if isinstance(rule, str) else rule.__name__,
        cases=tuple(case.id for case in cases),
        text=text,
        evidence=tuple(filter(None, evidence)),
    )
