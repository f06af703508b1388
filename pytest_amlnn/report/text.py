"""A document as text: Markdown for report.md, and lines for the terminal."""

from __future__ import annotations

import math
import re
import shlex
import textwrap
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tabulate import tabulate

from pytest_amlnn.escapes import for_markdown, for_terminal, line_for_markdown
from pytest_amlnn.gates.verdict import RED, UNDECIDED
from pytest_amlnn.improvements import Worth
from pytest_amlnn.report import improvements
from pytest_amlnn.report.advice import Advice, title_of
from pytest_amlnn.report.claims import Claim
from pytest_amlnn.report.forest import forest
from pytest_amlnn.report.sentences import Sentence
from pytest_amlnn.report.sweep import Sweep
from pytest_amlnn.report.tables import document, tables, unkept
from pytest_amlnn.report.values import Cell, Document, Table
from pytest_amlnn.report.worth import LEGEND
from pytest_amlnn.result import STATUSES

Line = tuple[str, dict[str, bool]]
"""A text, and how pytest's terminal writer marks it."""
Section = tuple[str, list[Line], dict[str, Any]]
"""A title, lines, and how the title is marked."""

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
    vanished = scaled != 0 and not NOT_ZERO.search(shown)
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

LARGEST_COMMENT = 65_536
"""Characters of a comment on GitHub."""


def markdown(sweep: Sweep) -> str:
    """Return the whole report as Markdown, as much of it as a comment on GitHub may have.

    Evidence goes first, then what chance may make, then details; what is left is cut at a line.
    """
    found, said = document(sweep), sweep.findings
    kept = [one for one in said.sentences if one.rule != "indistinct"]
    for sentences, evidence, details in (
        (said.sentences, True, True),
        (said.sentences, False, True),
        (kept, False, True),
        (kept, False, False),
    ):
        text = outline(found, line_for_markdown, in_markdown)
        text += drawn(said.worths) if details else ""
        text += advised(said.advice)
        text += "\n" + in_sentences(sentences, said.claims, evidence=evidence)
        text += "\n".join(map(section_of, found.details if details else ()))
        if len(text) <= LARGEST_COMMENT:
            return text
    rest = "\n\nThe rest is in report.html.\n"
    return text[: LARGEST_COMMENT - len(rest)].rpartition("\n")[0] + rest


def in_markdown(table: Table) -> str:
    """Return a table as Markdown."""
    return grid(table, "github", for_markdown)


def section_of(table: Table) -> str:
    """Return a table under its title, with how it is to be read."""
    line = line_for_markdown
    note = f"\n{line(table.note)}\n" if table.note else ""
    return f"\n## {line(table.title)}\n\n{in_markdown(table)}\n{note}"


def drawn(worths: Sequence[Worth]) -> str:
    """Return a forest plot of changes as a block of characters in Markdown."""
    lines = "\n".join(f"    {line}".rstrip() for line in forest(worths))
    head = f"\n## Effect of each change\n\n{LEGEND}; bars are the bounds.\n\n"
    return f"{head}{lines}\n" if lines.strip() else ""


def advised(found: Sequence[Advice]) -> str:
    """Return what was advised, and what was measured of it, in Markdown."""
    line = line_for_markdown
    parts = [(one.text, one.follows, *one.measured) for one in found]
    lines = [f"- {line(' '.join(filter(None, part)))}" for part in parts]
    return f"\n## {title_of(found)}\n\n" + "\n".join(lines) + "\n" if lines else ""


def in_sentences(
    sentences: Sequence[Sentence], claims: Sequence[Claim], *, evidence: bool
) -> str:
    """Return explanations and claims as lists in Markdown."""
    line = line_for_markdown
    why = [
        "\n".join(
            [f"- {line(one.text)}", *(f"  - {line(e)}" for e in one.evidence if evidence)]
        )
        for one in sentences
    ]
    answers = [f"- {line(c.text)} {c.verdict.capitalize()}: {line(c.why)}." for c in claims]
    parts = (("Why", why), ("What the original report claimed", answers))
    found = (f"## {title}\n\n" + "\n".join(lines) + "\n" for title, lines in parts if lines)
    return "\n".join(found)


def plain(sweep: Sweep, width: int, encoding: str = "utf-8") -> str:
    """Return tables, notices and the answer for a terminal, or for a log."""
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
    answer = [line(sentence) for sentence in found.answer]
    parts = ["\n\n".join([f"# {line(found.title)}", *answer])]
    parts += ["\n".join([*machine, *datasets])] if machine or datasets else []
    parts += [f"## {line(table.title)}\n\n{table_text(table)}" for table in found.tables]
    if changes := found.improvements:
        parts.append(f"## {changes.title}\n\n{table_text(changes)}\n\n{line(changes.note)}")
    for notice in found.notices:
        lines = "\n".join(f"- {line(text)}" for text in notice.lines)
        parts.append(f"## {notice.title}\n\n{lines}")
    return "\n\n".join([*parts, line(" ".join(found.notes))]) + "\n"


# terminal

WIDEST = 100
"""Columns of characters that a table takes at most: more are hard to follow along a row."""
COLOURS: dict[str, dict[str, bool]] = {
    **{verdict: {"red": True} for verdict in RED},
    **{verdict: {"yellow": True} for verdict in UNDECIDED},
    **{status: {"red": True} for status in (*STATUSES[1:], "missing")},
}
"""Of rows in which such a word stands in a cell of its own."""
MARKED = {"good": {"green": True}, "bad": {"red": True}, "open": {"yellow": True}}
"""Of rows that have a verdict so marked."""


def terminal(sweep: Sweep, out: Path, width: int, encoding: str = "utf-8") -> list[Section]:
    """Return the comparison as sections for a terminal, the answer, and where the report is."""
    shown = partial(for_terminal, encoding=encoding)
    width = min(width, WIDEST)
    said = sweep.findings
    shown_tables = [*tables(sweep), *filter(None, [improvements.table_of(said.worths)])]
    found: list[Section] = [
        (shown(table.title), coloured(table, width, encoding), {}) for table in shown_tables
    ]
    if sweep.missing:
        lines = [shown(f"{case['id']}: {case['reason']}") for case in sweep.missing]
        resume = f"resume with: --amlnn-resume --amlnn-out {shlex.quote(str(out))}"
        found.append(("missing", uncoloured([*lines, shown(resume)]), {"red": True}))
    for title, lines, marks in gate_sections(sweep):
        found.append((title, uncoloured(map(shown, lines)), marks))
    answer = [line for text in said.answer for line in wrapped(shown(text), width)]
    found.append(("answer", [(line, {"bold": True}) for line in answer], {}))
    if said.advice:
        short = [f"{a.text} {a.follows or ' '.join(a.measured)}" for a in said.advice]
        lines = [line for text in short for line in wrapped(shown(text), width)]
        found.append((title_of(said.advice), uncoloured(lines), {}))
    place = shown(f"report: {out / 'report.html'} and report.md")
    found.append(("", uncoloured(["", place]), {}))
    return found


def uncoloured(lines: Iterable[str]) -> list[Line]:
    """Return lines as they are."""
    return [(line, {}) for line in lines]


def gate_sections(sweep: Sweep) -> list[tuple[str, list[str], dict[str, Any]]]:
    """Return what the gate says besides the failures that pytest shows."""
    late = [line for id in sweep.late for line in sweep.verdicts[id].message.splitlines()]
    left = unkept(sweep, UNDECIDED)
    sections: list[tuple[str, list[str], dict[str, Any]]] = []
    if late:
        why = (
            "no test failed for it: it does not ask for the fixture `gate`, is the base of an"
            " improvement, or is red now that all cases have ended (docs/gates.md)"
        )
        sections.append(("limits not kept", [*late, why], {"red": True}))
    if left:
        sections.append(("not decided", left, {"yellow": True}))
    return sections


def fit_width(
    table: Table, width: int, encoding: str = "utf-8", *, whole_in: str = "the report"
) -> list[str]:
    """Return a table in so many columns of characters, and which columns are left out.

    `whole_in` is where all of them are.
    """
    return [line for line, _ in coloured(table, width, encoding, whole_in=whole_in)]


def coloured(
    table: Table, width: int, encoding: str = "utf-8", *, whole_in: str = "the report"
) -> list[Line]:
    """Return what `fit_width` does, each line with its colours."""
    shown = partial(for_terminal, encoding=encoding)
    kept = narrowed(table, width, shown)
    head, rule, *rows = grid(kept, "simple", shown).split("\n")
    found = uncoloured([head, rule])
    found += [(line, colour(row)) for line, row in zip(rows, kept.rows, strict=True)]
    left_out = [name for name in table.heads if name not in kept.heads]
    rest = f"also in {whole_in}: {', '.join(left_out)}"
    return [*found, *uncoloured(wrapped(shown(rest), width) if left_out else [])]


def narrowed(table: Table, width: int, shown: Callable[[str], str]) -> Table:
    """Return the table without the columns that a width has no room for.

    Those that are not essential go from the right, until the rest fits or none is left.
    """
    rules = grid(table, "simple", shown).split("\n", 2)[1].split("  ")  # dashes below each head
    room = {head: len(rule) + 2 for head, rule in zip(table.heads, rules, strict=True)}
    for head in reversed([head for head in table.heads if head not in table.essential]):
        if sum(room.values()) - 2 <= width:
            break
        del room[head]
    return table if len(room) == len(table.heads) else table.only([*room])


def colour(row: Sequence[Cell]) -> dict[str, bool]:
    """Return how a row is marked: by its verdict, or by its status."""
    marked = next((MARKED[cell.mark] for cell in row if cell.mark), {})
    return next((COLOURS[cell.words] for cell in row if cell.words in COLOURS), marked)


def wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines of so many columns, broken between words."""
    return textwrap.wrap(text, max(width, 20), break_long_words=False, break_on_hyphens=False)
