"""A document as text: Markdown for report.md, and lines for the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tabulate import tabulate

from pytest_amlnn.report.sweep import Sweep, document, tables
from pytest_amlnn.report.values import Cell, Document, Table

Section = tuple[str, list[str], dict[str, Any]]
"""A title, lines, and how pytest marks the title."""


def text_of(cell: Cell) -> str:
    """Return a cell as plain text: `75.0 [69.2, 80.1] better`; a dash for an unknown number."""
    if cell.spread is None:
        return cell.words
    spread = cell.spread
    mean, low, high = (
        None if n is None else cell.format.format(n * cell.scale)
        for n in (spread.mean, spread.low, spread.high)
    )
    number = mean or "-"
    if cell.interval and low is not None:
        number = f"{mean} [{low}, {high}]"
    return f"{number} {cell.words}".strip()


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


# Markdown


def markdown(sweep: Sweep) -> str:
    """Return the whole report as Markdown."""
    found: Document = document(sweep)
    parts = ["\n".join([f"# {for_markdown(found.title)}", "", *heading(found)])]
    parts += [
        f"## {for_markdown(table.title)}\n\n{grid(table, 'github', for_markdown)}"
        for table in found.tables
    ]
    for notice in found.notices:
        lines = "\n".join(f"- {for_markdown(line)}" for line in notice.lines)
        parts.append(f"## {notice.title}\n\n{lines}")
    notes = " ".join(map(for_markdown, found.notes))
    return "\n\n".join([*parts, notes]) + "\n"


def heading(found: Document) -> list[str]:
    """Return machine and datasets as lines of Markdown."""
    machine = [for_markdown(found.machine)] if found.machine else []
    return [*machine, *(f"- {for_markdown(line)}" for line in found.datasets)]


def for_markdown(text: str) -> str:
    """Return text that breaks no table and is no HTML, whatever its author put into it."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


# terminal


def terminal(sweep: Sweep, out: Path, width: int) -> list[Section]:
    """Return the comparison as sections for a terminal, and where the whole report is."""
    found: list[Section] = [
        (for_terminal(table.title), fit_width(table, width), {}) for table in tables(sweep)
    ]
    if sweep.missing:
        lines = [for_terminal(f"{case['id']}: {case['reason']}") for case in sweep.missing]
        resume = f"resume with: --amlnn-resume --amlnn-out {out}"
        found.append(("missing", [*lines, resume], {"red": True}))
    found.append(("", [f"\nreport: {out / 'report.md'}"], {}))
    return found


def fit_width(table: Table, width: int) -> list[str]:
    """Return a table in so many columns of characters, and which of its columns are left out.

    Those that are not essential go from the right, until the rest fits or none is left.
    """
    left_out: list[str] = []
    for head in reversed([head for head in table.heads if head not in table.essential]):
        if max(map(len, grid(table, "simple", for_terminal).splitlines())) <= width:
            break
        table = table.without(head)
        left_out.insert(0, head)
    lines = [grid(table, "simple", for_terminal)]
    return [*lines, f"also in report.md: {', '.join(left_out)}"] if left_out else lines


def for_terminal(text: str) -> str:
    """Return text in which control characters are visible, so that none moves the cursor."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
