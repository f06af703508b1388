"""What a report says of a sweep besides its tables, judged once for all renderers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from pytest_amlnn.effects import effects_of
from pytest_amlnn.gates.verdict import Verdict
from pytest_amlnn.improvements import Worth, judge
from pytest_amlnn.report.advice import Advice, advice_of
from pytest_amlnn.report.answer import answer
from pytest_amlnn.report.claims import UNTESTED, Claim
from pytest_amlnn.report.differences import Difference, drawn
from pytest_amlnn.report.explanations import explain, of_cases, worthless
from pytest_amlnn.report.facts import Facts
from pytest_amlnn.report.groups import facts_of
from pytest_amlnn.report.sentences import Sentence
from pytest_amlnn.result import Result

CLAIMS = "pytest_amlnn.claims"
"""Entry point group: each a function of cases and their differences that returns claims."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Facts of all cases, what they differ in, and what follows."""

    cases: tuple[Facts, ...]
    sound: tuple[Facts, ...]
    """Those that are compared with others."""
    differences: tuple[Difference, ...]
    sentences: tuple[Sentence, ...]
    claims: tuple[Claim, ...]
    answer: tuple[str, str, str]
    """What is best on what, what it costs, and how sure that is."""
    worths: tuple[Worth, ...] = ()
    """What each improvement is worth; they are none of the cases, but their bases are."""
    advice: tuple[Advice, ...] = ()
    """What was advised, and what they say of it."""


def find(
    results: Sequence[Result],
    verdicts: Mapping[str, Verdict],
    folder: Path,
    *,
    missing: int,
    lacking: Mapping[str, Sequence[int]] | None = None,
    looks: Mapping[str, int] | None = None,
) -> Findings:
    """Judge the differences of a sweep's cases, and explain them; `missing` cases lack runs.

    `lacking` says which seeds a case lacks, `looks` which improvements were planned, and how
    often each may be judged.
    """
    effects = effects_of(results, lacking=lacking, looks=looks)
    worths = tuple(judge(effects, family=len(looks) if looks else None))
    cases = facts_of([result for result in results if not result.improvement], folder)
    said = of_cases(cases, verdicts)
    left_out = worthless(said)
    sound = tuple(case for case in cases if case.id not in left_out)
    differences = tuple(drawn(sound))
    makers = [entry.load() for entry in sorted(entry_points(group=CLAIMS))]
    return Findings(
        cases=cases,
        sound=sound,
        differences=differences,
        sentences=explain(said, differences, worths),
        claims=tuple(
            claim
            for make in makers
            for claim in make(sound, differences)
            # a sweep of improvements puts other claims to the test: its advice has them
            if not worths or claim.verdict != UNTESTED
        ),
        answer=answer(cases, left_out, differences, verdicts, missing, worths),
        worths=worths,
        advice=advice_of(worths),
    )
