"""What a run directory holds, read and judged: all that a report may tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_amlnn import store
from pytest_amlnn.gate import Limit, Verdict, judge
from pytest_amlnn.result import FINISHED, Result, gather


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Everything that a report may tell of one run directory."""

    plan: dict[str, Any]
    environment: dict[str, Any]
    results: tuple[Result, ...]
    verdicts: Mapping[str, Verdict]
    """What the gate says of each result, by its id."""
    lacking: Mapping[str, list[int]]
    """Seeds that were planned and have no run, by the ids of cases that lack any."""

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

    def status(self, result: Result) -> str:
        """Return the worst of the runs' statuses, `missing` where runs are."""
        lacking = result.status == FINISHED and result.id in self.lacking
        return "missing" if lacking else result.status


def read(folder: Path) -> Sweep:
    """Read a run directory and judge its results; StoreError where it is none."""
    plan = store.load_plan(folder)
    results = gather(store.load_runs(folder))
    limits: dict[str, list[Limit]] = {}
    for plain in plan["limits"]:
        limits.setdefault(plain["case"], []).append(Limit(**plain))
    return Sweep(
        plan=plan,
        environment=store.load_environment(folder),
        results=tuple(results),
        verdicts={result.id: judge(result, limits.get(result.id, ())) for result in results},
        lacking=lacking(plan, results),
    )


def lacking(plan: Mapping[str, Any], results: list[Result]) -> dict[str, list[int]]:
    """Return the seeds that were planned and have no run, by the ids of cases that lack any."""
    done = {result.id: {run.seed for run in result.runs} for result in results}
    found = {
        case["id"]: [seed for seed in case["seeds"] if seed not in done.get(case["id"], ())]
        for case in plan["cases"]
    }
    return {id: seeds for id, seeds in found.items() if seeds}
