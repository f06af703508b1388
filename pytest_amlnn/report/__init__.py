"""Reports: pure functions of what a run directory holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_amlnn import disk, store
from pytest_amlnn.gate import Limit
from pytest_amlnn.result import FINISHED, Result, gather


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Everything that a report may tell of one run directory."""

    plan: dict[str, Any]
    environment: dict[str, Any]
    results: tuple[Result, ...]

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits that the sweep was started with; none with the gate off."""
        return tuple(Limit(**limit) for limit in self.plan["limits"])

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
            if not case["skip"] and (seeds := self.lacking(case["id"]))
        ]

    def lacking(self, id: str) -> list[int]:
        """Return the seeds of a case that were planned and have no run."""
        cases = [case for case in self.plan["cases"] if case["id"] == id]
        results = [result for result in self.results if result.id == id]
        done = {run.seed for result in results for run in result.runs}
        return [seed for case in cases for seed in case["seeds"] if seed not in done]

    def status(self, result: Result) -> str:
        """Return the worst of the runs' statuses, `missing` where runs are."""
        lacking = result.status == FINISHED and self.lacking(result.id)
        return "missing" if lacking else result.status


def read(folder: Path) -> Sweep:
    """Read a run directory; StoreError where it is none."""
    return Sweep(
        plan=store.load_plan(folder),
        environment=store.load_environment(folder),
        results=tuple(gather(store.load_runs(folder))),
    )


def write(folder: Path) -> Sweep:
    """Render all reports of a run directory into it."""
    from pytest_amlnn.report import benchmark, markdown, summary

    sweep = read(folder)
    store.write_json(folder / "summary.json", summary.plain(sweep))
    store.write_json(folder / "benchmark.json", benchmark.plain(sweep))
    disk.write(folder / "report.md", markdown.text(sweep).encode())
    return sweep
