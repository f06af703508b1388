"""report.html: one file that asks nobody for anything, and can be read without its script."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import TYPE_CHECKING, Any

from pytest_amlnn.escapes import visible
from pytest_amlnn.gates.verdict import KEPT, RED, UNDECIDED
from pytest_amlnn.report.advice import title_of
from pytest_amlnn.report.drawing import Figure, Models, own_style
from pytest_amlnn.report.facts import Facts
from pytest_amlnn.report.figures import effects, history, sections
from pytest_amlnn.report.groups import facts_of
from pytest_amlnn.report.history import History
from pytest_amlnn.report.sentences import Sentence
from pytest_amlnn.report.sweep import Sweep
from pytest_amlnn.report.tables import document
from pytest_amlnn.report.text import text_of
from pytest_amlnn.report.values import Cell, Document, Table
from pytest_amlnn.report.wrong import wrong_pictures

if TYPE_CHECKING:
    from jinja2 import Environment

POLICY = (
    "default-src 'none'; style-src {style}; script-src {script}; img-src data:;"
    " base-uri 'none'; form-action 'none'"
)


def html(sweep: Sweep) -> str:
    """Return the whole report as a page."""
    cases = sweep.findings.cases
    models = Models(names=tuple(dict.fromkeys(case.model for case in cases)))
    with own_style():
        drawn = sections(cases, models)
        forests = [*effects.figures(sweep.findings.worths, models)]
    whole, advice = document(sweep), sweep.findings.advice
    pictures = [figure for section in drawn for figure in section.figures]
    return rendered(
        "report.html.j2",
        [*pictures, *forests],
        document=whole,
        models=[{"name": name, "colour": models.colour(name)} for name in models.names],
        tables=[plain_table(table) for table in whole.tables],
        details={table.title: plain_table(table) for table in whole.details},
        paragraphs=paragraphs(sweep.findings.sentences),
        claims=sweep.findings.claims,
        advice=advice,
        advice_title=title_of(advice),
        improvements=plain_table(whole.improvements) if whole.improvements else None,
        forests=[*enumerate(map(plain_figure, forests), len(pictures))],
        sections=[
            {"title": section.title, "figures": [plain_figure(f) for f in section.figures]}
            for section in drawn
        ],
        wrong=wrong_pictures(sweep),
        environment=environment_rows(sweep),
        commands=[command_of(case, sweep) for case in (*cases, *changed_cases(sweep))],
    )


def history_html(found: Sequence[History], whole: Document, sweeps: int) -> str:
    """Return how the cases of several sweeps went over time as a page."""
    with own_style():
        drawn = [*history.figures(found, sweeps)]
    return rendered(
        "history.html.j2",
        drawn,
        document=whole,
        stepped=any(one.steps for one in found),
        tables=[plain_table(table) for table in whole.tables],
        figures=[plain_figure(figure) for figure in drawn],
    )


def rendered(template: str, drawn: Sequence[Figure], **values: Any) -> str:
    """Return a page with style, script, and what can be pointed at in its figures."""
    from markupsafe import Markup

    style, script = text("report.css"), text("report.js")
    return str(
        templates()
        .get_template(template)
        .render(
            policy=POLICY.format(style=hash_of(style), script=hash_of(script)),
            style=Markup(style),
            script=Markup(script),
            marks=Markup(marks_of(drawn)),
            **values,
        )
    )


@cache
def templates() -> Environment:
    """Return what compiles the templates of this folder, every text escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(__package__, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=as_shown,
    )


def as_shown(value: Any) -> Any:
    """Return what is put into the page, with what is invisible in a name made visible."""
    return visible(value) if type(value) is str else value


def text(name: str) -> str:
    """Return a file of this folder."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def hash_of(content: str) -> str:
    """Return what a content security policy names an inline element by."""
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


# what the template shows


def plain_table(table: Table) -> dict[str, Any]:
    """Return a table: of each cell its text, and the number that it is sorted by."""
    place = table.heads.index("model") if "model" in table.heads else None
    rows = [
        {
            "model": text_of(row[place]) if place is not None else "",
            "cells": [
                {"text": text_of(cell), "number": number_of(cell), "kind": kind_of(head, cell)}
                for head, cell in zip(table.heads, row, strict=True)
            ],
        }
        for row in table.rows
    ]
    return {"title": table.title, "heads": table.heads, "rows": rows, "note": table.note}


def number_of(cell: Cell) -> float | None:
    """Return the number that a cell is sorted by; None where it is words."""
    return cell.order if cell.spread is None else cell.spread.mean


MARKS = {
    **dict.fromkeys(KEPT, "good"),
    **dict.fromkeys(RED, "bad"),
    **dict.fromkeys(UNDECIDED, "open"),
}


LONG = 40
"""Characters from which words are broken into lines."""


def kind_of(head: str, cell: Cell) -> str:
    """Return how a cell is shown: as a number, as long words, or in the colour of a verdict."""
    if cell.spread is not None:
        return "number"
    if cell.mark:
        return cell.mark
    if head == "status":
        return "bad" if cell.words else ""
    if head == "gate":
        return MARKS.get(cell.words, "")
    return "long" if len(cell.words) > LONG else ""


def plain_figure(figure: Figure) -> dict[str, Any]:
    """Return a figure, whose SVG stands in the page as it is."""
    from markupsafe import Markup

    return {
        "title": figure.title,
        "words": figure.words,
        "caption": figure.caption,
        "svg": Markup(figure.svg),
    }


def marks_of(figures: Sequence[Figure]) -> str:
    """Return what can be pointed at in each figure, as JSON that no tag can end."""
    plain = [asdict(figure.marks) for figure in figures]
    return json.dumps(plain, separators=(",", ":")).replace("<", "\\u003c")


def paragraphs(sentences: Sequence[Sentence]) -> list[dict[str, Any]]:
    """Return sentences on the same cases as paragraphs, those that chance may make last.

    What a rule says of several single cases is one paragraph, with the others folded into it.
    """
    found: list[dict[str, Any]] = []
    firsts: dict[str, dict[str, Any]] = {}
    for cases, group in groupby(sentences, key=lambda sentence: sentence.cases):
        mine = [*group]
        paragraph = {
            "rules": [sentence.rule for sentence in mine],
            "sentences": [sentence.text for sentence in mine],
            "evidence": [line for sentence in mine for line in sentence.evidence],
            "alike": [],
            "open": any(sentence.rule == "indistinct" for sentence in mine),
        }
        first = firsts.get(mine[0].rule) if len(cases) == len(mine) == 1 else None
        if first is not None:
            first["alike"].append(paragraph)
            continue
        if len(cases) == 1:
            firsts[mine[0].rule] = paragraph
        found.append(paragraph)
    return sorted(found, key=lambda paragraph: bool(paragraph["open"]))


def environment_rows(sweep: Sweep) -> list[tuple[str, str]]:
    """Return what the sweep ran on and with, a name and a value a row."""
    known = sweep.environment
    plain = {
        name: value
        for name, value in known.items()
        if isinstance(value, str | int | float) and name != "schema"
    }
    packages = known.get("packages")
    versions = packages if isinstance(packages, dict) else {}
    commit = sweep.plan.get("commit")
    rows = [*plain.items(), *versions.items()]
    if isinstance(commit, dict):
        rows += [(f"commit {name}", value) for name, value in commit.items()]
    return [(str(name), str(value)) for name, value in rows]


def changed_cases(sweep: Sweep) -> tuple[Facts, ...]:
    """Return the facts of improvements, which are in no figure or table of cases."""
    return facts_of([result for result in sweep.results if result.improvement], sweep.folder)


def command_of(case: Facts, sweep: Sweep) -> dict[str, str]:
    """Return the command that reproduces a case."""
    options = sweep.plan["options"]
    nodes = {c["id"]: c["nodeid"] for c in sweep.plan["cases"]}
    asked = {c["nodeid"] for c in sweep.plan["cases"] if c.get("base")}
    node, seeds = nodes.get(case.id, case.id), case.result.seeds
    words = ["pytest", node, f"--amlnn-profile={options['profile']}"]
    words += ["-m", "improvement"] if node in asked else []  # else it is left out
    repeats = sum(seed == seeds[0] + place for place, seed in enumerate(seeds))
    words += [f"--amlnn-seed={seeds[0]}", f"--amlnn-repeats={repeats}"]
    dataset, places = case.result.training["dataset"], options.get("data")
    if isinstance(places, dict) and dataset in places:
        words.append(f"--amlnn-data={dataset}={places[dataset]}")
    device = case.result.runs[0].environment.get("device")
    if device:
        words.append(f"--amlnn-device={device}")
    return {"name": case.name, "model": case.model, "command": shlex.join(words)}
