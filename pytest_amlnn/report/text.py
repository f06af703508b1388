"""A document as text: Markdown for report.md, and lines for the terminal."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tabulate import tabulate

from pytest_amlnn.escapes import for_markdown, for_terminal, line_for_markdown
from pytest_amlnn.gates.verdict import UNDECIDED
from pytest_amlnn.report.sweep import Sweep, document, tables, unkept
from pytest_amlnn.report.values import Cell, Document, Table

Section = tuple[str, list[str], dict[str, Any]]
"""A title, lines, and how pytest marks the title."""

LONGEST_NUMBER = 24
"""In characters; a longer one is shown with an exponent, as is one that rounds to 0."""
NOT_ZERO = re.compile("[1-9]")


def text_of(cell: Cell) -> str:
    """Return a cell as plain text: `75.0 [69.2, 80.1] better`; a dash for an unknown number."""
    if cell.spread is None:
        return cell.words
    spread = cell.spread
    mean, low, high = (number(n, cell) for n in (spread.mean, spread.low, spread.high))
    shown = mean or "-"
    if cell.interval and mean and low and high:
        shown = f"{mean} [{low}, {high}]"
    return f"{shown} {cell.words}".strip()


def number(value: float | None, cell: Cell) -> str:
    """Return a number as its cell shows it; nothing where it is not known, or not finite."""
    scaled = math.nan if value is None else value * cell.scale
    if not math.isfinite(scaled):
        return ""
    shown = cell.format.format(scaled)
    vanished = scaled > 0 and not NOT_ZERO.search(shown)
    return f"{scaled:.3g}" if vanished or len(shown) > LONGEST_NUMBER else shown


def grid(table: Table, style: str, escape: Callable[[str], str]) -> str:
    """Return a table in a style of tabulate, every text escaped for its reader."""
    rows = [[escape(text_of(cell)) for cell in row] for row in table.rows]
    return str(
        tabulate(
            rows,
            headers=[escape(head) for head in table.heads],
            tablefmt=style,
            disable_numparse=True,
        )
    )


# the whole report


def markdown(sweep: Sweep) -> str:
    """Return the whole report as Markdown."""
    return outline(
        document(sweep), line_for_markdown, lambda table: grid(table, "github", for_markdown)
    )


def plain(sweep: Sweep, width: int, encoding: str = "utf-8") -> str:
    """Return the whole report for a terminal, or for a log."""
    return outline(
        document(sweep),
        partial(for_terminal, encoding=encoding),
        lambda table: "\n".join(fit_width(table, width, encoding)),
    )


def outline(
    found: Document, line: Callable[[str], str], table_text: Callable[[Table], str]
) -> str:
    """Return a document with its headings and lists, lines and tables as their reader needs."""
    machine = [line(found.machine)] if found.machine else []
    datasets = [f"- {line(dataset)}" for dataset in found.datasets]
    parts = ["\n".join([f"# {line(found.title)}", "", *machine, *datasets])]
    parts += [f"## {line(table.title)}\n\n{table_text(table)}" for table in found.tables]
    for notice in found.notices:
        lines = "\n".join(f"- {line(text)}" for text in notice.lines)
        parts.append(f"## {notice.title}\n\n{lines}")
    return "\n\n".join([*parts, line(" ".join(found.notes))]) + "\n"


# terminal


def terminal(sweep: Sweep, out: Path, width: int, encoding: str = "utf-8") -> list[Section]:
    """Return the comparison as sections for a terminal, and where the whole report is."""
    shown = partial(for_terminal, encoding=encoding)
    found: list[Section] = [
        (shown(table.title), fit_width(table, width, encoding), {}) for table in tables(sweep)
    ]
    if sweep.missing:
        lines = [shown(f"{case['id']}: {case['reason']}") for case in sweep.missing]
        resume = f"resume with: --amlnn-resume --amlnn-out {shlex.quote(str(out))}"
        found.append(("missing", [*lines, shown(resume)], {"red": True}))
    for title, lines, marks in gate_sections(sweep):
        found.append((title, [shown(line) for line in lines], marks))
    found.append(("", ["\n" + shown(f"report: {out / 'report.md'}")], {}))
    return found


def gate_sections(sweep: Sweep) -> list[Section]:
    """Return what the gate says besides the failures that pytest shows."""
    late = [line for id in sweep.late for line in sweep.verdicts[id].message.splitlines()]
    left = unkept(sweep, UNDECIDED)
    sections: list[Section] = []
    if late:
        why = (
            "no test failed for it: it does not ask for the fixture `gate`, or is red now that"
            " all cases have ended (docs/gates.md)"
        )
        sections.append(("limits not kept", [*late, why], {"red": True}))
    if left:
        sections.append(("not decided", left, {"yellow": True}))
    return sections


def fit_width(table: Table, width: int, encoding: str = "utf-8") -> list[str]:
    """Return a table in so many columns of characters, and which of its columns are left out.

    Those that are not essential go from the right, until the rest fits or none is left.
    """
    shown = partial(for_terminal, encoding=encoding)
    whole = grid(table, "simple", shown)
    rules = whole.split("\n", 2)[1].split("  ")  # a line of dashes below each head
    room = {head: len(rule) + 2 for head, rule in zip(table.heads, rules, strict=True)}
    left_out: list[str] = []
    for head in reversed([head for head in table.heads if head not in table.essential]):
        if sum(room.values()) - 2 <= width:
            break
        del room[head]
        left_out.insert(0, head)
    if not left_out:
        return [whole]
    lines = [grid(table.only([*room]), "simple", shown)]
    return [*lines, shown(f"also in report.md: {', '.join(left_out)}")]
