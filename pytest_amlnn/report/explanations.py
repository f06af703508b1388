"""Why the cases of a sweep stand where they stand, in sentences that each rest on numbers.

The rules are in `rules_of_faults`, `rules_of_cases`, `rules_of_pairs` and `reasons`; here is
their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_amlnn.gates.verdict import Verdict
from pytest_amlnn.report.differences import Difference
from pytest_amlnn.report.facts import Facts
from pytest_amlnn.report.rules_of_cases import of_case
from pytest_amlnn.report.rules_of_faults import WORTHLESS
from pytest_amlnn.report.rules_of_pairs import of_pair
from pytest_amlnn.report.sentences import Sentence


def worthless(cases: Sequence[Facts], verdicts: Mapping[str, Verdict]) -> dict[str, str]:
    """Return the cases that are compared with no other, with the rule that says why."""
    said = {case.id: of_case(case, verdicts.get(case.id)) for case in cases}
    return {id: one.rule for id, one in said.items() if one and one.rule in WORTHLESS}


def explain(
    cases: Sequence[Facts], found: Sequence[Difference], verdicts: Mapping[str, Verdict]
) -> tuple[Sentence, ...]:
    """Return what is to be said of a sweep, the gravest first.

    What makes a case worthless comes first, then each comparison with what explains it, then
    what single cases show besides.
    """
    said = {case.id: one for case in cases if (one := of_case(case, verdicts.get(case.id)))}
    bad = {id: one for id, one in said.items() if one.rule in WORTHLESS}
    sentences, told = [*bad.values()], {*bad}
    for pair in found:
        ids = [pair.worse.id, pair.better.id]
        if bad.keys() & ids:
            continue
        sentences += of_pair(pair)
        # what a single case shows explains the first difference that it stands in
        mine = [id for id in ids if pair.sure and id in said and id not in told]
        sentences += [said[id] for id in mine]
        told |= {*mine}
    return (*sentences, *(one for id, one in said.items() if id not in told))
