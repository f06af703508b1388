"""Verdicts on the results of a sweep, whose limits share one chance of a false alarm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_amlnn.gates import bounds
from pytest_amlnn.gates.against import judge_against
from pytest_amlnn.gates.baseline import (
    BaselineError,
    load,
    profile_of,
    read_baseline,
    save,
)
from pytest_amlnn.gates.judging import judge
from pytest_amlnn.gates.limits import Limits, from_plan, load_for
from pytest_amlnn.gates.measured import Measured, main_metric_of, measured
from pytest_amlnn.gates.verdict import IDENTICAL, RED, Verdict, verdict_of
from pytest_amlnn.options import Options
from pytest_amlnn.result import Result


@dataclass(frozen=True, kw_only=True)
class Gate:
    """All that results of a sweep are held against."""

    held: Limits = Limits()
    baseline: Mapping[str, Measured] = field(default_factory=dict)
    """What another sweep reached, by case."""
    baseline_name: str = ""
    planned: Mapping[str, int] = field(default_factory=dict)
    """By case that is to run, with how many seeds; the limits of all share a level."""
    max_repeats: int | None = None
    """Seeds that a case may go on to until it is decided."""
    enforced: bool = True
    strict: bool = False
    folder: Path | None = None
    """The run directory, where answers lie."""

    @property
    def family(self) -> int:
        """How many limits of the planned cases are judged by chances."""
        planned = {*self.planned}
        limits = [limit for limit in self.held.limits if limit.reference is not None]
        return sum(limit.case in planned for limit in limits) + len(planned & {*self.baseline})

    def keep_baseline(self) -> None:
        """Keep in the run directory what its results are compared with."""
        if self.baseline and self.folder:
            save(self.folder, self.baseline)

    def first_seeds(self, result: Result) -> int:
        """Return how many seeds a case was planned with."""
        return self.planned.get(result.id) or max(1, int(result.case["repeats"]))

    def looks(self, first: int) -> list[int]:
        """Return the numbers of seeds at which a case of so many may be judged."""
        return looks(first, self.max_repeats)


def planned_seeds(plan: Mapping[str, Any]) -> dict[str, int]:
    """Return the cases of a plan that are to run, and with how many seeds."""
    return {
        case["id"]: case.get("repeats") or len(case["seeds"]) or 1
        for case in plan["cases"]
        if not case["skip"]
    }


def looks_of_improvements(plan: Mapping[str, Any]) -> dict[str, int]:
    """Return the improvements of a plan that are to run, and how often each may be judged."""
    first, most = planned_seeds(plan), plan["options"].get("max_repeats")
    return {
        case["id"]: len(looks(first[case["id"]], most))
        for case in plan["cases"]
        if case.get("base") and not case["skip"]
    }


def gate_of_options(options: Options) -> Gate:
    """Return what results are held against; raises UserError for what cannot be used."""
    if options.gate == "off":
        return Gate()
    found: dict[str, Measured] = {}
    if options.baseline is not None:
        place = Path(options.baseline)
        try:
            found = read_baseline(place)
        except BaselineError as error:
            raise BaselineError(f"--amlnn-baseline {error}") from error
        if (profile := profile_of(place)) != options.profile:
            raise BaselineError(
                f"--amlnn-baseline {place}: is of the profile {profile}, not {options.profile}"
            )
    return Gate(
        held=load_for(options),
        baseline=found,
        baseline_name=baseline_name(str(options.baseline)) if found else "",
        max_repeats=options.max_repeats,
        enforced=options.gate == "enforce",
        strict=options.strict,
        folder=options.out,
    )


def gate_of_plan(plan: Mapping[str, Any], folder: Path) -> Gate:
    """Return what the results of a run directory are held against, as it says."""
    options = plan["options"]
    if options.get("gate") == "off":
        return Gate()
    baseline = options.get("baseline")
    return Gate(
        held=from_plan(plan),
        baseline=load(folder) if baseline else {},
        baseline_name=baseline_name(str(baseline)) if baseline else "",
        planned=planned_seeds(plan),
        max_repeats=options.get("max_repeats"),
        enforced=options.get("gate") != "report",
        strict=bool(options.get("strict")),
        folder=folder,
    )


def baseline_name(place: str) -> str:
    """Return where a limit stands that comes from a baseline."""
    return f"--amlnn-baseline {place}"


def looks(first: int, most: int | None) -> list[int]:
    """Return how many seeds a case has each time that it is judged: twice as many each."""
    found = [first]
    while most is not None and found[-1] < most:
        found.append(min(2 * found[-1], most))
    return found


def judge_result(result: Result, gate: Gate, *, divided: int | None = None) -> Verdict:
    """Judge one result; `divided` is by how many limits the family's level is divided for it.

    A case that may be judged several times, as it gets more seeds, has its level divided by
    these, too: then its chance of a false alarm is the same, whenever it stops.
    """
    theirs = gate.baseline.get(result.id)
    if not gate.baseline_name and not gate.held.by_case.get(result.id):
        return verdict_of([])
    folder = gate.folder if theirs and theirs.right else None
    side, first = measured(result, folder, traces=theirs is not None), gate.first_seeds(result)
    levels = bounds.levels(divided or gate.family, looks=len(gate.looks(first)))
    found = judge(side, gate.held, result.known, levels, first=first)
    if gate.baseline_name:
        metric = main_metric_of(result)
        found.append(judge_against(side, theirs, metric, levels, where=gate.baseline_name))
    return verdict_of(found, enforced=gate.enforced, strict=gate.strict)


def judge_all(results: Iterable[Result], gate: Gate) -> dict[str, Verdict]:
    """Judge all results of a sweep, by Holm's steps.

    What has the bits of its baseline is no part of the family: it cannot be a false alarm.
    """
    every = [*results]
    found = {result.id: judge_result(result, gate) for result in every}
    chances = [
        (id, judgement.chance)
        for id, verdict in found.items()
        for judgement in verdict.judgements
        if judgement.chance is not None
    ]
    family = max(gate.family, 1)
    identical = sum(j.verdict == IDENTICAL for v in found.values() for j in v.judgements)
    steps = step_down([chance for _, chance in chances], family, max(family - identical, 1))
    divided: dict[str, int] = {}
    for (id, _), step in zip(chances, steps, strict=True):
        divided[id] = max(step, divided.get(id, step))
    again = {
        result.id: judge_result(result, gate, divided=divided[result.id])
        for result in every
        if divided.get(result.id, family) != family and found[result.id].name not in RED
    }
    return found | again


def step_down(chances: Sequence[float], family: int, left: int) -> list[int]:
    """Return by how many the family's level is divided for each limit (Holm 1979).

    `chances` are of false alarms as large as what was seen, over the level of one of `family`
    limits; `left` of these can be a false alarm at all. Once one is not significant, none of
    the others has a higher level.
    """
    divided = [left] * len(chances)
    rest, significant = left, True
    for i in sorted(range(len(chances)), key=lambda i: chances[i]):
        divided[i] = rest
        significant = significant and chances[i] * rest <= family
        if significant and rest > 1:
            rest -= 1
    return divided
