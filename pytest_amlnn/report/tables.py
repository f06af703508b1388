"""The comparison as tables, and what is not as it should be."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from pytest_amlnn.comparison import compare
from pytest_amlnn.gates.verdict import KEPT, RED, UNDECIDED
from pytest_amlnn.metrics import COMMON, Column, Metric, Paired
from pytest_amlnn.report import details as details_of
from pytest_amlnn.report import improvements
from pytest_amlnn.report.sweep import Sweep
from pytest_amlnn.report.values import Cell, Document, Notice, Table, words
from pytest_amlnn.result import FINISHED, Result
from pytest_amlnn.statistics import is_finite

INTERVALS = (
    "Intervals are 95 %: Student's t over the seeds, on the log scale for what cannot be below"
    " 0; Wilson's over the test examples where one run is all there is."
)
ORIGINAL = (
    "An original loss is in min-max-scaled units of another series, so it stands there for the"
    " record only."
)

Named = tuple[str, Callable[[Result, Sweep], Cell]]
"""A column's head, and its cell in the row of a result."""

BEFORE: tuple[Named, ...] = (
    ("model", lambda result, sweep: words(result.training["model"])),
    ("init", lambda result, sweep: words(result.training["start"])),
    ("size", lambda result, sweep: words(f"{result.case['size']:,}", result.case["size"])),
    ("variant", lambda result, sweep: words(result.case["variant"])),
)
"""Columns of every table, before those of the task."""

AFTER: tuple[Named, ...] = (
    ("times", lambda result, sweep: words("contended" if result.contended else "")),
    ("seeds", lambda result, sweep: words(str(len(result.runs)))),
    ("status", lambda result, sweep: words(trouble(sweep.status(result)))),
    ("gate", lambda result, sweep: words(sweep.verdicts[result.id].name or "")),
    ("original", lambda result, sweep: words(original(result.case["reference"]))),
)
"""Columns of every table, after those of the task and of all runs."""
CASE: Named = ("case", lambda result, sweep: words(result.id))
"""The first column where those of `BEFORE` do not tell all rows apart."""
CONTENDED = "Contended times are of runs that shared the machine, and say little."
ESSENTIAL = frozenset({"status", "gate"})


def document(sweep: Sweep) -> Document:
    """Return the whole report."""
    facts = sweep.environment
    notices = (
        ("Limits not kept", unkept(sweep, RED)),
        ("Not decided", unkept(sweep, UNDECIDED)),
        ("The same training, and other bits", unkept(sweep, KEPT, odd=True)),
        ("Runs in trouble", [line for result in sweep.results for line in result.troubles]),
        ("Records that cannot be read", list(sweep.unreadable)),
        ("Skipped", [f"{case['id']}: {case['reason']}" for case in sweep.skipped]),
        ("Missing", [f"{case['id']}: {case['reason']}" for case in sweep.missing]),
        ("Compared with nothing", sweep.without_base),
    )
    found, cases = tables(sweep), sweep.findings.cases
    details = (
        details_of.differences(sweep.findings.differences),
        details_of.targets(cases),
        details_of.powers(cases),
        details_of.classes(cases, facts),
    )
    heads = {head for table in found for head in table.heads}
    return Document(
        title=f"Profile {sweep.plan['options']['profile']}",
        answer=sweep.findings.answer,
        machine=machine(facts) if facts else "",
        datasets=tuple(dataset(*pair) for pair in facts.get("datasets", {}).items()),
        tables=tuple(found),
        notices=tuple(Notice(title=t, lines=tuple(lines)) for t, lines in notices if lines),
        notes=tuple(notes(sweep.ordinary, heads)),
        improvements=improvements.table_of(sweep.findings.worths),
        details=tuple(filter(None, details)),
    )


def tables(sweep: Sweep) -> list[Table]:
    """Return a table for each family, dataset and task, in the order in which they come."""
    kinds: dict[tuple[str, str, str], list[Result]] = {}
    for result in sweep.ordinary:
        training = result.training
        kind = (result.case["family"], training["dataset"], str(training["task"]))
        kinds.setdefault(kind, []).append(result)
    return [table(f"{kind[0]} on {kind[1]}", results, sweep) for kind, results in kinds.items()]


def table(title: str, results: list[Result], sweep: Sweep) -> Table:
    """Return results as rows, by size, then by model; a task's columns are its first case's."""
    ordered = sorted(results, key=lambda r: (r.case["size"], r.training["model"], r.id))
    columns = [*ordered[0].columns, *(metric for metric in COMMON if metric.head)]
    middle: list[Named] = [(column.head, cell_maker(column)) for column in columns]
    naming = names_of_rows(ordered, sweep)
    before = BEFORE if naming[0] != CASE else (CASE, *BEFORE)
    cells = {
        head: [make(result, sweep) for result in ordered]
        for head, make in (*before, *middle, *AFTER)
    }
    shown = {head: column for head, column in cells.items() if not all(c.empty for c in column)}
    essential = {column.head for column in columns if column.essential}
    return Table(
        title=title,
        heads=tuple(shown),
        rows=tuple(zip(*shown.values(), strict=True)),
        essential=ESSENTIAL | essential | {head for head, _ in naming},
    )


def names_of_rows(results: list[Result], sweep: Sweep) -> tuple[Named, ...]:
    """Return the fewest columns by which each row can be told from the others."""
    without_init = tuple(column for column in BEFORE if column[0] != "init")
    for columns in (without_init, BEFORE):
        names = {
            tuple(" ".join(make(result, sweep).words.split()) for _, make in columns)
            for result in results
        }
        if len(names) == len(results):
            return columns
    return (CASE,)


def cell_maker(column: Column) -> Callable[[Result, Sweep], Cell]:
    """Return what makes a column's cell in the row of a result."""
    if isinstance(column, Paired):
        return lambda result, sweep: comparison_cell(column, result)
    return lambda result, sweep: metric_cell(column, result)


def metric_cell(metric: Metric, result: Result) -> Cell:
    """Return a metric's mean; nothing where a case does not have it, such as a start."""
    spread = result.metrics.get(metric.name) or result.spread(metric)  # a baseline is no metric
    unmeasured = all(value is None for value in spread.runs)
    if unmeasured and (metric.optional or result.status == FINISHED):
        return Cell()
    return Cell(
        spread=spread,
        format=metric.format,
        scale=100.0 if metric.share else 1.0,
        interval=metric.interval,
    )


def comparison_cell(column: Paired, result: Result) -> Cell:
    """Return two metrics of a case compared seed by seed; nothing where either is not there."""
    ours, theirs = (
        [run.value(name) for run in result.runs] for name in (column.metric, column.other)
    )
    if all(value is None for value in theirs) or (column.optional and None in ours):
        return Cell()
    metric = result.known.get(column.metric)
    lower = metric is not None and metric.better == "lower"
    found = compare(
        ours, theirs, by=column.by, better="lower" if lower else "higher", share=column.share
    )
    return Cell(
        spread=found.spread,
        format=column.format,
        scale=100.0 if column.share else 1.0,
        interval=True,
        words=found.word if column.ranked else "",
    )


def trouble(status: str) -> str:
    """Return a status unless it is the one that is expected."""
    return "" if status == FINISHED else status


def original(reference: Mapping[str, Any]) -> str:
    """Return what the original report gives for the same model and size."""
    known = {name: value for name, value in reference.items() if is_finite(value)}
    if "test_accuracy" in known:
        return f"{100 * known['test_accuracy']:.2f} %"
    return f"loss {known['scaled_loss']:g}" if "scaled_loss" in known else ""


def unkept(sweep: Sweep, verdicts: Collection[str], *, odd: bool = False) -> list[str]:
    """Return a line for each limit that these verdicts were given on; `odd`: of odd ones."""
    found = [sweep.verdicts[result.id] for result in sweep.results]
    return [
        str(j) for v in found for j in v.judgements if j.verdict in verdicts and j.odd >= odd
    ]


def notes(results: Iterable[Result], heads: set[str]) -> list[str]:
    """Return the sentences that explain the columns that are there, each once."""
    columns = [column for result in results for column in result.columns]
    said = [c.sentence for c in (*COMMON, *columns) if c.sentence and c.head in heads]
    besides = {"original": ORIGINAL, "times": CONTENDED}
    return [INTERVALS, *dict.fromkeys(said), *(besides[h] for h in besides if h in heads)]


def machine(facts: Mapping[str, Any]) -> str:
    """Return what the sweep ran on, in a line."""
    packages = facts["packages"]
    return (
        f"{facts['accelerator'] or facts['processor']}, {facts['cores']} cores,"
        f" Python {facts['python']}, torch {packages['torch']}, timm {packages['timm']}"
    )


def dataset(name: str, facts: Mapping[str, Any]) -> str:
    """Return a dataset's name, counts and digest, in a line."""
    said = facts.get("counts")
    known = said.items() if isinstance(said, dict) else ()
    counts = ", ".join(f"{n:,} {split}" for split, n in known if isinstance(n, int))
    return f"{name}: {counts}; digest {str(facts.get('digest'))[:12]}"
