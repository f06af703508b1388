"""Reports: pure functions of what a run directory holds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_amlnn import disk, store
from pytest_amlnn.escapes import for_terminal
from pytest_amlnn.gates.gate import baseline_name
from pytest_amlnn.gates.measured import main_metric_of
from pytest_amlnn.gates.verdict import Judgement
from pytest_amlnn.report import improvements
from pytest_amlnn.report.differences import Difference
from pytest_amlnn.report.rules_of_pairs import confounders
from pytest_amlnn.report.sweep import Sweep, read
from pytest_amlnn.result import FINISHED, Result, finite

SUMMARY_SCHEMA = 2


def write(folder: Path, places: Mapping[str, str] | None = None) -> Sweep:
    """Render all reports of a run directory into it; `places` are where data lie, by name."""
    from pytest_amlnn.report import ci, page, text  # only where there is something to report

    sweep = read(folder, places)
    store.write_json(folder / "summary.json", summary(sweep))
    store.write_json(folder / "benchmark.json", benchmark(sweep))
    store.write_json(folder / "bigger_is_better.json", ci.bigger_is_better(sweep))
    disk.write(folder / "report.md", text.markdown(sweep).encode())
    disk.write(folder / "report.html", page.html(sweep).encode())
    return sweep


def append_summary(sweep: Sweep) -> str:
    """Append the report to the summary of a step on GitHub Actions; say what went wrong."""
    from pytest_amlnn.report import ci, text

    return ci.append_summary(text.markdown(sweep)) if "GITHUB_ACTIONS" in os.environ else ""


def failures_for_ci(sweep: Sweep) -> list[str]:
    """Return commands that annotate each failed case on GitHub Actions; none elsewhere."""
    from pytest_amlnn.report import ci

    return ci.commands(sweep)


# summary.json


def summary(sweep: Sweep) -> dict[str, Any]:
    """Return the whole sweep in the documented schema, for other programs."""
    found = sweep.findings
    said = {
        "comparisons": [*comparisons(sweep), *map(difference_of, found.differences)],
        "explanations": [asdict(sentence) for sentence in found.sentences],
        "claims": [asdict(claim) for claim in found.claims],
        "improvements": [improvements.plain(worth, sweep.searches) for worth in found.worths],
        "answer": [*found.answer],
    }
    plain: dict[str, Any] = finite({**measured_of(sweep), **said})
    return plain


def measured_of(sweep: Sweep) -> dict[str, Any]:
    """Return what was measured and judged, without comparisons and explanations."""
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
    return {
        "id": result.id,
        "family": result.case["family"],
        "task": result.training["task"],
        "model": result.training["model"],
        "init": result.runs[0].init,
        "size": result.case["size"],
        "dataset": result.training["dataset"],
        "status": sweep.status(result),
        "seeds": [*result.seeds],
        "metrics": {name: asdict(spread) for name, spread in result.metrics.items()},
        "judged_by": judged_by(result),
        "digests": [run.data.get("digest") for run in result.runs],
        "gate": {"verdict": verdict.name, "limits": [*map(limit_of, verdict.judgements)]},
        "contended": result.contended,
    }


def comparisons(sweep: Sweep) -> list[dict[str, Any]]:
    """Return how each case stands against that of the baseline, where one was given."""
    name = sweep.plan["options"].get("baseline")
    return [
        {"kind": "baseline", "id": result.id, "baseline": name, **limit_of(judgement)}
        for result in sweep.results
        for judgement in sweep.verdicts[result.id].judgements
        if name and judgement.limit.where == baseline_name(name)
    ]


def difference_of(found: Difference) -> dict[str, Any]:
    """Return how the better of two cases of this sweep stands against the other."""
    return {
        "kind": found.kind,
        "better": found.better.id,
        "worse": found.worse.id,
        "metric": found.better.metric.name,
        "difference": found.away,
        "low": found.low,
        "high": found.high,
        "chance": found.chance,
        "adjusted": found.adjusted,
        "verdict": "better" if found.sure else "not distinguishable",
        "how": found.how,
        "confounders": confounders(found),
    }


def judged_by(result: Result) -> dict[str, Any]:
    """Return what a comparison needs to know of the metric that a case is judged by."""
    metric = main_metric_of(result)
    names = ("name", "better", "share", "matters", "of_machine")
    return {name: getattr(metric, name) for name in names}


def limit_of(judgement: Judgement) -> dict[str, Any]:
    """Return one limit, and what was found."""
    names = ("value", "reference", "margin", "low", "high", "verdict", "needs_seeds", "why")
    return {
        "metric": judgement.limit.metric,
        "at_least": judgement.limit.at_least,
        "at_most": judgement.limit.at_most,
        "exactly": judgement.limit.exactly,
        "where": judgement.limit.where,
        **{name: getattr(judgement, name) for name in names},
    }


# benchmark.json


def benchmark(sweep: Sweep) -> dict[str, Any]:
    """Return one benchmark a case, its rounds the training seconds of its runs.

    pytest-benchmark measures nothing under pytest-xdist; this is written from the run directory
    in its format, so `pytest-benchmark compare` works however the suite was run.
    """
    from pytest_benchmark import __version__

    nodes = {case["id"]: case["nodeid"] for case in sweep.plan["cases"]}
    found = [benchmark_of(result, sweep, nodes) for result in sweep.results]
    packages = sweep.environment.get("packages", {})
    plain: dict[str, Any] = printable(
        {
            "machine_info": {**sweep.environment, "python_packages": packages},
            "commit_info": sweep.plan["commit"],
            "benchmarks": [case for case in found if case],
            "datetime": datetime.now(UTC).isoformat(),
            "version": __version__,
            "schema": 1,
        }
    )
    return plain


def benchmark_of(
    result: Result, sweep: Sweep, nodes: Mapping[str, str]
) -> dict[str, Any] | None:
    """Return one case as pytest-benchmark would have recorded it; None where it has no times.

    All numbers are of the runs that finished: one that broke off early is not fast.
    """
    from pytest_benchmark.stats import Stats

    runs = tuple(run for run in result.runs if run.status == FINISHED)
    if not runs:
        return None
    finished = result if runs == result.runs else Result(id=result.id, runs=runs)
    if finished.metrics["train_seconds"].mean is None:
        return None
    case, stats = result.case, Stats()
    for seconds in finished.metrics["train_seconds"].runs:
        stats.update(seconds)
    timed = finite({**stats.as_dict(), "data": list(stats.data), "iterations": 1})
    if None in timed.values():  # times that nothing can be computed from
        return None
    means = {name: spread.mean for name, spread in finished.metrics.items()}
    return {
        "group": case["group"],
        "name": result.id,
        "fullname": nodes.get(result.id, result.id),
        "params": {"case": case["label"]},
        "param": case["label"],
        "extra_info": {
            **means,
            "status": sweep.status(result),
            "contended": result.contended,
            "unfinished": len(result.runs) - len(runs),
        },
        "options": {
            "disable_gc": False,
            "timer": "train_seconds",
            "min_rounds": len(runs),
        },
        "stats": timed,
    }


def printable(value: Any) -> Any:
    """Return plain data as `pytest-benchmark compare` can print it: text in a line, visible."""
    if isinstance(value, Mapping):
        return {for_terminal(str(key)): printable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [printable(entry) for entry in value]
    return for_terminal(value) if isinstance(value, str) else finite(value)
