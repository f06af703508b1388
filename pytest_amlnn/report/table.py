"""The comparison table: one row a case, the same on the terminal and in report.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tabulate import tabulate

from pytest_amlnn.gate import judge
from pytest_amlnn.report import Sweep
from pytest_amlnn.result import FINISHED, Result
from pytest_amlnn.statistics import Spread, spread

Column = tuple[str, Callable[[Result], str]]


def tables(sweep: Sweep, style: str) -> list[tuple[str, str]]:
    """Return (title, table) for each family and dataset, in tabulate's `style`."""
    kinds = dict.fromkeys((r.case["family"], r.case["dataset"]) for r in sweep.results)
    return [
        (f"{family} on {dataset}", table(rows(sweep, family, dataset), sweep, style))
        for family, dataset in kinds
    ]


def rows(sweep: Sweep, family: str, dataset: str) -> list[Result]:
    """Return the results of one table: by size, then by model."""
    found = [
        r for r in sweep.results if (r.case["family"], r.case["dataset"]) == (family, dataset)
    ]
    return sorted(found, key=lambda r: (r.case["size"], r.case["model"], r.id))


def table(results: list[Result], sweep: Sweep, style: str) -> str:
    """Return the rows as a table; columns that would be empty are left out."""
    columns = columns_of(results[0].case["task"], sweep)
    cells = {head: [cell(result) for result in results] for head, cell in columns}
    full = {head: column for head, column in cells.items() if any(column)}
    return str(tabulate(full, headers="keys", tablefmt=style, disable_numparse=True))


def columns_of(task: str, sweep: Sweep) -> list[Column]:
    """Return the columns of a task, head and cell."""
    return [
        ("model", lambda r: escape(r.case["model"])),
        ("init", lambda r: escape(r.case["init"])),
        ("size", lambda r: f"{r.case['size']:,}"),
        ("budget", lambda r: "steps" if str(r.case["label"]).endswith("-steps") else ""),
        *(CLASSIFICATION if task == "classification" else FORECAST),
        ("epochs", lambda r: number(r.metrics["epochs"].mean, "{:.3g}")),
        ("train s", lambda r: interval(r.metrics["train_seconds"], "{:.1f}")),
        ("samples/s", lambda r: number(r.metrics["samples_per_second"].mean, "{:,.0f}")),
        ("parameters", lambda r: number(r.metrics["parameters"].mean, "{:,.0f}")),
        ("seeds", lambda r: str(len(r.runs))),
        ("status", lambda r: "" if sweep.status(r) == FINISHED else sweep.status(r)),
        ("gate", lambda r: judge(r, sweep.limits).name or ""),
        ("original", lambda r: original(r.case["reference"])),
    ]


def interval(spread: Spread, style: str, scale: float = 1.0) -> str:
    """Return a mean with its 95 % interval, as far as there is one."""
    numbers = [spread.mean, spread.low, spread.high]
    mean, low, high = [None if n is None else style.format(n * scale) for n in numbers]
    return mean or "-" if low is None else f"{mean} [{low}, {high}]"


def number(value: float | None, style: str) -> str:
    """Return a number, or a dash where there is none."""
    return "-" if value is None else style.format(value)


def against(result: Result, other: str) -> str:
    """Return another forecast's error over the model's, seed by seed, and what it says.

    Both saw the same series, so their ratio is known better than either error is.
    """
    pairs = [(run.metrics.get(other), run.metrics.get("test_mse")) for run in result.runs]
    ratios = spread([theirs / ours if theirs and ours else None for theirs, ours in pairs])
    return f"{interval(ratios, '{:.3f}')} {rank(ratios)}".strip()


def rank(ratios: Spread) -> str:
    """Return which of two is better, as far as the interval of their ratio tells."""
    if ratios.low is None or ratios.high is None:
        return ""
    return "better" if ratios.low > 1 else "worse" if ratios.high < 1 else "not distinguishable"


def added(result: Result) -> str:
    """Return by how many points of accuracy training raised what trained weights began with.

    Both are of the validation split, so that they are of the same pictures.
    """
    pairs = [
        (run.metrics.get("val_accuracy"), run.metrics.get("start_accuracy"))
        for run in result.runs
    ]
    gains = [
        None if after is None or before is None else after - before for after, before in pairs
    ]
    return "" if None in gains else interval(spread(gains), "{:+.1f}", 100)


def chance(result: Result) -> float | None:
    """Return the accuracy of guessing, in per cent; None where no run got to see the data."""
    classes = [len(run.data["classes"]) for run in result.runs if "classes" in run.data]
    return 100 / classes[0] if classes else None


def original(reference: Mapping[str, Any]) -> str:
    """Return what the original report gives for the same model and size."""
    if "test_accuracy" in reference:
        return f"{100 * reference['test_accuracy']:.2f} %"
    return f"loss {reference['scaled_loss']:g}" if "scaled_loss" in reference else ""


def escape(text: str) -> str:
    """Return a name that breaks no table, whatever its author put into it."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


CLASSIFICATION: tuple[Column, ...] = (
    ("start %", lambda r: number(r.metrics["start_accuracy"].mean, "{:.1%}").rstrip("%-")),
    ("added", added),
    ("accuracy %", lambda r: interval(r.metrics["test_accuracy"], "{:.1f}", 100)),
    ("chance %", lambda r: number(chance(r), "{:.1f}")),
    ("top-5 %", lambda r: number(r.metrics["test_top5"].mean, "{:.1%}").rstrip("%")),
    ("loss", lambda r: number(r.metrics["test_loss"].mean, "{:.3f}")),
)
FORECAST: tuple[Column, ...] = (
    ("MSE", lambda r: interval(r.metrics["test_mse"], "{:.4g}")),
    ("oracle", lambda r: number(r.metrics["oracle_mse"].mean, "{:.4g}")),
    ("autoregression", lambda r: number(r.metrics["autoregression_mse"].mean, "{:.4g}")),
    ("seasonal naive", lambda r: number(r.metrics["seasonal_naive_mse"].mean, "{:.4g}")),
    ("against autoregression", lambda r: against(r, "autoregression_mse")),
    ("efficiency", lambda r: interval(r.metrics["efficiency"], "{:.3f}")),
)
