"""The answer of a report, in three sentences: what is best, at what cost, how sure that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pytest_amlnn.gates.verdict import RED, UNDECIDED, Verdict
from pytest_amlnn.improvements import Worth
from pytest_amlnn.report.differences import (
    MODELS,
    Difference,
    comparable,
    line_of,
    ranked,
)
from pytest_amlnn.report.facts import Facts
from pytest_amlnn.report.words import count, listed, number, value_of
from pytest_amlnn.report.worth import helped_and_hurt
from pytest_amlnn.result import FINISHED
from pytest_amlnn.statistics import SURE

MOST = 4
"""Datasets that a sentence names."""


def answer(
    cases: Sequence[Facts],
    left_out: Mapping[str, str],
    found: Sequence[Difference],
    verdicts: Mapping[str, Verdict],
    missing: int,
    worths: Sequence[Worth] = (),
) -> tuple[str, str, str]:
    """Return what a sweep says in three sentences.

    Cases that are `left_out`, with the rule that says why, are compared with none; `missing`
    cases lack runs; `worths` are of improvements.
    """
    groups = largest_groups([case for case in cases if case.id not in left_out])
    sure = certainty(found, verdicts, cases, missing, worths)
    return best(cases, groups, found), cost(groups), with_left_out(sure, cases, left_out)


def largest_groups(cases: Sequence[Facts]) -> list[list[Facts]]:
    """Return the models of each dataset, start and variant on the largest size, best first."""
    lines: dict[tuple[object, ...], dict[int, list[Facts]]] = {}
    for case in filter(comparable, cases):
        lines.setdefault(line_of(case), {}).setdefault(case.size, []).append(case)
    return [ranked(sizes[max(sizes)]) for sizes in lines.values()]


def best(
    cases: Sequence[Facts], groups: Sequence[Sequence[Facts]], found: Sequence[Difference]
) -> str:
    """Say which model is best on what, and which it cannot be told from."""
    said = [best_of(group, found) for group in groups]
    if said:
        text = listed(said, MOST) if len(said) > MOST else "; ".join(said)
        return f"{text[0].upper()}{text[1:]}."
    if not cases:
        return "Nothing was trained."
    done = [case for case in cases if case.result.status == FINISHED]
    if not done:
        return f"No case finished: {count(len(cases), 'case')} failed."
    return f"Of {count(len(cases), 'case')} none has a result that can be compared."


def with_left_out(text: str, cases: Sequence[Facts], left_out: Mapping[str, str]) -> str:
    """Name the cases that are compared with none, and why."""
    names = [
        f"{case.name} ({left_out[case.id].replace('_', ' ')})"
        for case in cases
        if case.id in left_out
    ]
    return f"{text[:-1]}. Left out: {listed(names)}." if names else text


def best_of(group: Sequence[Facts], found: Sequence[Difference]) -> str:
    """Say which of several models is best."""
    first, names = group[0], names_in(group)
    where = f"on {first.result.training['dataset']} ({first.size:,}{kind_of(first)})"
    name, reached = names[first.id], f"with {first.metric.name} {shown(first)}"
    if len(group) == 1:
        return f"{where} there is {name} {reached} alone"
    alike = [
        names[other.id]
        for pair in found
        if pair.kind == MODELS and (pair.better is first or pair.worse is first)
        for other in (pair.better, pair.worse)
        if other is not first and not (pair.sure and pair.better is first)
    ]
    if len(alike) == len(group) - 1:
        return f"{where} no model is distinguishable from the best, {name} {reached}"
    text = f"{where} {name} is best {reached}"
    return f"{text}, not distinguishable from {listed(alike)}" if alike else text


def names_in(group: Sequence[Facts]) -> dict[str, str]:
    """Return what each case is called: its model, or its name where others have the same."""
    models = Counter(case.model for case in group)
    return {case.id: case.model if models[case.model] == 1 else case.name for case in group}


def shown(case: Facts) -> str:
    """Return what a case reached."""
    return value_of(case.metric, case.spread.mean)


def kind_of(case: Facts) -> str:
    """Return start and variant of a case, where they are not the usual ones."""
    start, variant = str(case.result.training["start"]), str(case.result.case["variant"])
    said = [f"from {start} weights" if start != "random" else "", variant]
    return "".join(f", {part}" for part in said if part)


def cost(groups: Sequence[Sequence[Facts]]) -> str:
    """Say what the best takes, and what the cheapest one reaches."""
    said, named = [], list[Facts]()
    for group in groups[:MOST]:
        timed = [case for case in group if case.mean("train_seconds")]
        if group[0] not in timed:
            continue
        first, cheapest = group[0], min(timed, key=lambda case: case.mean("train_seconds") or 0)
        seconds, least = first.mean("train_seconds") or 0, cheapest.mean("train_seconds") or 0
        names = names_in(group)
        text = f"{names[first.id]} takes {number(seconds)} s of training"
        if seconds > 1.05 * least:
            more = f"{seconds / least:.1f} times as long as {names[cheapest.id]}"
            text += f", {more}, which reaches {shown(cheapest)}"
        said.append(text)
        named += [first, cheapest]
    loud = [*dict.fromkeys(case.model for case in named if not case.steady)]
    note = f" (the machine was not quiet: times of {listed(loud)} say little)" if loud else ""
    return f"{'; '.join(said)}{note}." if said else "There are no costs to compare."


def certainty(
    found: Sequence[Difference],
    verdicts: Mapping[str, Verdict],
    cases: Sequence[Facts],
    missing: int,
    worths: Sequence[Worth],
) -> str:
    """Say how sure that is, what changes do, whether the gate is green, what is missing."""
    sure, seeds = sum(pair.sure for pair in found), {len(case.result.runs) for case in cases}
    text = "No differences were judged"
    if found:
        text = (
            f"{sure} of {count(len(found), 'difference')}"
            f" {'is' if sure == 1 or len(found) == 1 else 'are'} more than"
            f" chance (at {100 * SURE:g} % for all together, {number_of_seeds(seeds)} a case)"
        )
    lacks = "lacks" if missing == 1 else "lack"
    lacking = f", and {count(missing, 'case')} {lacks} runs" if missing else ""
    return f"{text}; {changes(worths)}{gate(verdicts, len(cases))}{lacking}."


def changes(worths: Sequence[Worth]) -> str:
    """Say how many improvements help, and how many hurt; nothing where there are none."""
    if not worths:
        return ""
    said = count(len(worths), "improvement")
    return f"of {said} {helped_and_hurt(worths)}; "


def number_of_seeds(seeds: set[int]) -> str:
    """Return how many seeds cases have, from the fewest to the most."""
    least, most = min(seeds), max(seeds)
    return count(most, "seed") if least == most else f"{least} to {most} seeds"


def gate(verdicts: Mapping[str, Verdict], cases: int) -> str:
    """Say whether the gate is green."""
    red = [id for id, verdict in verdicts.items() if verdict.name in RED]
    judged = [verdict for verdict in verdicts.values() if verdict.name]
    undecided = sum(verdict.name in UNDECIDED for verdict in judged)
    if red:
        return f"the gate is red for {listed(red, 3)}"
    if not judged:
        return "no case has a limit, so there is no gate"
    open_ = f", {undecided} of them not decided" if undecided else ""
    all_of_them = count(max(cases, len(judged)), "case")  # improvements may have limits, too
    return f"the gate is green: {len(judged)} of {all_of_them} judged{open_}"
