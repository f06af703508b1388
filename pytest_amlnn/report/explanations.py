"""Why the cases of a sweep stand where they stand, in sentences that each rest on numbers.

The rules are in `rules_of_faults`, `rules_of_cases`, `rules_of_pairs` and `reasons`; here is
their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_amlnn.gates.verdict import Verdict
from pytest_amlnn.improvements import Worth
from pytest_amlnn.report.differences import Difference
from pytest_amlnn.report.facts import Facts
from pytest_amlnn.report.rules_of_cases import of_case
from pytest_amlnn.report.rules_of_faults import WORTHLESS
from pytest_amlnn.report.rules_of_pairs import of_pair
from pytest_amlnn.report.sentences import Sentence


def of_cases(cases: Sequence[Facts], verdicts: Mapping[str, Verdict]) -> dict[str, Sentence]:
    """Return what single cases show, by their ids; nothing of those that show nothing."""
    said = {case.id: of_case(case, verdicts.get(case.id)) for case in cases}
    return {id: one for id, one in said.items() if one}


def worthless(said: Mapping[str, Sentence]) -> dict[str, str]:
    """Return the cases that are compared with no other, with the rule that says why."""
    return {id: one.rule for id, one in said.items() if one.rule in WORTHLESS}


def explain(
    said: Mapping[str, Sentence], found: Sequence[Difference], worths: Sequence[Worth] = ()
) -> tuple[Sentence, ...]:
    """Return what is to be said of a sweep, the gravest first.

    `said` is what `of_cases` gives, `found` the differences of cases that are not worthless,
    `worths` what improvements of them are worth.
    What makes a case worthless comes first, then each comparison with what explains it, then
    what single cases show besides.
    """
    told = {*worthless(said)}
    sentences = [one for id, one in said.items() if id in told]
    for pair in found:
        sentences += of_pair(pair, worths)
        # what a single case shows explains the first difference that it stands in
        ids = (pair.worse.id, pair.better.id)
        mine = [id for id in ids if pair.sure and id in said and id not in told]
        sentences += [said[id] for id in mine]
        told |= {*mine}
    return (*sentences, *(one for id, one in said.items() if id not in told))
