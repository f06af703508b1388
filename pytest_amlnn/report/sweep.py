"""What a run directory holds, read and judged."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_amlnn import plans, store
from pytest_amlnn.gates.gate import gate_of_plan, judge_all, looks_of_improvements
from pytest_amlnn.gates.verdict import Verdict
from pytest_amlnn.report.findings import Findings, find
from pytest_amlnn.result import FINISHED, Result, gather
from pytest_amlnn.trials import trials_of

MOST_LINES = 100
"""Of what a report says of records that cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Everything that a report may tell of one run directory."""

    folder: Path
    places: Mapping[str, str] = field(default_factory=dict)
    """Where data lie, as who reads it says: a plan may be a stranger's."""
    plan: dict[str, Any]
    environment: dict[str, Any]
    results: tuple[Result, ...]
    verdicts: Mapping[str, Verdict]
    """What the gate says of each result, by its id."""
    lacking: Mapping[str, list[int]]
    """Seeds that were planned and have no run, by the ids of cases that lack any."""
    compared: tuple[str, ...] = ()
    """Cases that the baseline has, too."""
    late: tuple[str, ...] = ()
    """Cases that are red now that all have ended, and whose items were not."""
    searches: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Trials of the searches, by the ids of the cases that search for a number."""
    unreadable: tuple[str, ...] = ()
    """What is wrong with each record that is left out, with its file."""

    @property
    def skipped(self) -> list[dict[str, str]]:
        """Cases that could not run on this machine, with the reason."""
        return [
            {"id": case["id"], "reason": case["skip"]}
            for case in self.plan["cases"]
            if case["skip"]
        ]

    @property
    def missing(self) -> list[dict[str, str]]:
        """Cases that were to run and lack runs, for whatever reason."""
        return [
            {"id": case["id"], "reason": f"no run ended with seed {', '.join(map(str, seeds))}"}
            for case in self.plan["cases"]
            if not case["skip"] and (seeds := self.lacking.get(case["id"]))
        ]

    def with_late(self, passed: Collection[str]) -> Sweep:
        """Return the same with those cases that are red now, of items that are green."""
        green = {*passed, *self.judged_by_none(passed)}
        red = (id for id, verdict in self.verdicts.items() if not verdict.passed)
        found = replace(self, late=tuple(id for id in red if id in green))
        vars(found)["findings"] = self.findings  # they are the same, and take a while
        return found

    def judged_by_none(self, passed: Collection[str]) -> set[str]:
        """Return bases without an item of their own, trained in one of an improvement that
        passed."""
        planned = self.plan["cases"]
        nodes = {case["id"]: case["nodeid"] for case in planned}
        improved = {case["nodeid"] for case in planned if case.get("base")}
        return {
            case["base"]
            for case in planned
            if case["id"] in passed and nodes.get(case.get("base")) in improved
        }

    @cached_property
    def findings(self) -> Findings:
        """What the cases differ in, and why."""
        return find(
            self.results,
            self.verdicts,
            self.folder,
            missing=len(self.missing),
            lacking=self.lacking,
            looks=looks_of_improvements(self.plan),
        )

    @property
    def ordinary(self) -> tuple[Result, ...]:
        """Results of cases that are no improvements: they are compared with each other."""
        return tuple(result for result in self.results if not result.improvement)

    @property
    def without_base(self) -> list[str]:
        """Improvements that are compared with nothing: their base has no run."""
        known = {result.id for result in self.results}
        return [
            f"{result.id}: its base {found['base']} has no run"
            for result in self.results
            if (found := result.improvement) and found["base"] not in known
        ]

    def status(self, result: Result) -> str:
        """Return the worst of the runs' statuses, `missing` where runs are."""
        lacking = result.status == FINISHED and result.id in self.lacking
        return "missing" if lacking else result.status


def read(folder: Path, places: Mapping[str, str] | None = None) -> Sweep:
    """Read a run directory and judge its results; StoreError where it is none."""
    plan = plans.load(folder)
    runs, unreadable = store.read_runs(folder)
    results = gather(runs)
    try:
        environment = store.load_environment(folder)
    except store.StoreError as error:  # nothing but a line of the report needs it
        environment, unreadable = {}, [*unreadable, str(error)]
    searches, damaged = read_searches(folder, results)
    gate = gate_of_plan(plan, folder)
    return Sweep(
        folder=folder,
        places=places or {},
        plan=plan,
        environment=environment,
        results=tuple(results),
        verdicts=judge_all(results, gate),
        compared=tuple(gate.baseline),
        lacking=plans.lacking(plan, {result.id: result.seeds for result in results}),
        searches=searches,
        unreadable=shortened([*unreadable, *damaged]),
    )


def read_searches(
    folder: Path, results: Iterable[Result]
) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """Return the trials of cases that search for a number, and what is wrong with others."""
    found, wrong = {}, []
    for result in results:
        improvement = result.case.get("improvement")
        if not improvement or not improvement.get("search"):
            continue
        try:
            found[result.id] = trials_of(folder, result.id) or []
        except store.StoreError as error:
            wrong.append(str(error))
    return found, wrong


def shortened(lines: list[str]) -> tuple[str, ...]:
    """Return the first of many lines, and how many there are besides."""
    rest = len(lines) - MOST_LINES
    return (*lines[:MOST_LINES], *([f"and {rest:,} more"] if rest > 0 else []))
