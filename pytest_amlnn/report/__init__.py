"""Reports: pure functions of what a run directory holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_amlnn import disk, store
from pytest_amlnn.gate import Limit, Verdict, judge
from pytest_amlnn.result import FINISHED, Result, finite, gather

SUMMARY_SCHEMA = 1


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


def write(folder: Path) -> Sweep:
    """Render all reports of a run directory into it."""
    from pytest_amlnn.report import text

    sweep = read(folder)
    store.write_json(folder / "summary.json", summary(sweep))
    store.write_json(folder / "benchmark.json", benchmark(sweep))
    disk.write(folder / "report.md", text.markdown(sweep).encode())
    return sweep


# summary.json


def summary(sweep: Sweep) -> dict[str, Any]:
    """Return the whole sweep in the documented schema, for other programs."""
    plain: dict[str, Any] = finite(
        {
            "schema": SUMMARY_SCHEMA,
            "profile": sweep.plan["options"]["profile"],
            "environment": sweep.environment,
            "cases": [summary_of(result, sweep) for result in sweep.results],
            "skipped": sweep.skipped,
            "missing": sweep.missing,
        }
    )
    return plain


def summary_of(result: Result, sweep: Sweep) -> dict[str, Any]:
    """Return one case: what it was, what it reached, what the gate says."""
    verdict = sweep.verdicts[result.id]
    limits = [
        {"metric": j.limit.metric, "at_least": j.limit.at_least, "at_most": j.limit.at_most}
        | {"value": j.value, "verdict": j.verdict}
        for j in verdict.judgements
    ]
    return {
        "id": result.id,
        "family": result.case["family"],
        "task": result.training["task"],
        "model": result.training["model"],
        "init": result.runs[0].init,
        "size": result.case["size"],
        "dataset": result.training["dataset"],
        "status": sweep.status(result),
        "seeds": [run.seed for run in result.runs],
        "metrics": {name: asdict(spread) for name, spread in result.metrics.items()},
        "gate": {"verdict": verdict.name, "limits": limits},
        "contended": result.contended,
    }


# benchmark.json


def benchmark(sweep: Sweep) -> dict[str, Any]:
    """Return one benchmark a case, its rounds the training seconds of its runs.

    pytest-benchmark measures nothing under pytest-xdist; this is written from the run directory
    in its format, so `pytest-benchmark compare` works however the suite was run.
    """
    from pytest_benchmark import __version__

    nodes = {case["id"]: case["nodeid"] for case in sweep.plan["cases"]}
    timed = [r for r in sweep.results if None not in r.metrics["train_seconds"].runs]
    packages = sweep.environment.get("packages", {})
    plain: dict[str, Any] = finite(
        {
            "machine_info": {**sweep.environment, "python_packages": packages},
            "commit_info": sweep.plan["commit"],
            "benchmarks": [benchmark_of(result, nodes) for result in timed],
            "datetime": datetime.now(UTC).isoformat(),
            "version": __version__,
            "schema": 1,
        }
    )
    return plain


def benchmark_of(result: Result, nodes: Mapping[str, str]) -> dict[str, Any]:
    """Return one case as pytest-benchmark would have recorded it."""
    from pytest_benchmark.stats import Stats

    case, stats = result.case, Stats()
    for seconds in result.metrics["train_seconds"].runs:
        stats.update(seconds)
    means = {name: spread.mean for name, spread in result.metrics.items()}
    return {
        "group": f"{case['family']} {result.training['dataset']} {case['size']}",
        "name": result.id,
        "fullname": nodes.get(result.id, result.id),
        "params": {"case": case["label"]},
        "param": case["label"],
        "extra_info": {**means, "status": result.status, "contended": result.contended},
        "options": {
            "disable_gc": False,
            "timer": "train_seconds",
            "min_rounds": len(result.runs),
        },
        "stats": {**stats.as_dict(), "data": list(stats.data), "iterations": 1},
    }
