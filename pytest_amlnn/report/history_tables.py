"""A history as a document of tables and sentences, for the terminal and Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from pytest_amlnn import disk
from pytest_amlnn.escapes import for_markdown, for_terminal, line_for_markdown
from pytest_amlnn.gates.bounds import FAMILY
from pytest_amlnn.report.change_points import LIKENESS
from pytest_amlnn.report.history import History, Point, Step, histories
from pytest_amlnn.report.moments import HistoryError, Moment
from pytest_amlnn.report.text import fit_width, grid, outline
from pytest_amlnn.report.values import Cell, Document, Notice, Table

FILE = "history.md"
MOST_COLUMNS = 6
"""Sweeps that have a column each; of more, the first and last value and the range are shown."""
MOST_NAMED = 4
"""Cases that are named one by one where many share a reason."""
BLOCKS, LETTERS = "▁▂▃▄▅▆▇█", "_.-~=+*#"
"""Levels of a line of text that shows how values go; the second ones are in every encoding."""
LONGEST_LINE = 16
"""In characters: of more sweeps the newest."""
NOTES = (
    "A step is a change of level, found by a test that finds one in"
    f" {FAMILY:.0%} of such reports or fewer where nothing changed, all cases and metrics"
    " together (docs/history.md). In what is learned the runs are what varies. In times it is"
    " the sweeps, so these need more of them; their neighbours are taken to have a correlation"
    f" of {LIKENESS:g} at most.",
)
UNORDERED = "The sweeps are in the order given: not all of them say when they were begun."


def document(
    found: Sequence[History], moments: Sequence[Moment], levels: str = BLOCKS
) -> Document:
    """Return histories as a document; `levels` are the characters of its lines of text."""
    stepped = [sentence(one, step) for one in found for step in one.steps]
    none = f"none in {len(found)} histories: {len({one.case for one in found})} cases"
    notices = (
        ("Steps", stepped or [none]),
        ("No step could be found", untold(found)),
        ("Not comparable with the newest sweep (*)", apart(found)),
        ("Records that cannot be read", unreadable(moments)),
        ("Sweeps", [described(i, moment) for i, moment in enumerate(moments, 1)]),
    )
    ordered = all(moment.begun is not None for moment in moments)
    return Document(
        title=f"History of {len(moments)} sweeps",
        answer=(answer(found),),
        machine=f"From {moments[0].label} to {moments[-1].label}",
        datasets=(),
        tables=tuple(tables(found, len(moments), levels)),
        notices=tuple(Notice(title=t, lines=tuple(lines)) for t, lines in notices if lines),
        notes=(*NOTES, *([] if ordered else [UNORDERED])),
    )


def answer(found: Sequence[History]) -> str:
    """Say how many cases stepped, in a sentence."""
    cases = {one.case for one in found}
    stepped = [one.case for one in found if one.steps]
    if stepped:
        return (
            f"{len({*stepped})} of {len(cases)} cases stepped to another level:"
            f" {listed([*dict.fromkeys(stepped)])}."
        )
    told = sum(not one.untold for one in found)
    return f"No case stepped: {told} of {len(found)} histories have sweeps enough to tell."


def write(moments: Sequence[Moment], out: Path, width: int, encoding: str) -> tuple[Path, str]:
    """Write history.md and history.html into a folder; return where, and text for a terminal.

    Raises HistoryError where no two sweeps have a case in common.
    """
    from pytest_amlnn.report.page import history_html

    found = histories(moments)
    if not found:
        raise HistoryError("no two of these sweeps have a case of one profile in common")
    whole = document(found, moments)
    disk.write(out / FILE, markdown(whole).encode())
    page = out / "history.html"
    disk.write(page, history_html(found, whole, len(moments)).encode())
    fits = BLOCKS.encode(encoding, "replace").decode(encoding) == BLOCKS
    shown = whole if fits else document(found, moments, LETTERS)
    return page, terminal(shown, width, encoding)


def markdown(found: Document) -> str:
    """Return a history as Markdown."""
    return outline(found, line_for_markdown, lambda table: grid(table, "github", for_markdown))


def terminal(found: Document, width: int, encoding: str) -> str:
    """Return a history for a terminal, or for a log."""
    return outline(
        found,
        partial(for_terminal, encoding=encoding),
        lambda table: "\n".join(fit_width(table, width, encoding, whole_in=FILE)),
    )


# tables


def tables(found: Sequence[History], sweeps: int, levels: str) -> list[Table]:
    """Return a table for each family and profile, with a row for each history."""
    kinds: dict[tuple[str, str], list[History]] = {}
    for one in found:
        kinds.setdefault((one.family, one.profile), []).append(one)
    return [
        table(f"{family}, profile {profile}", mine, sweeps, levels)
        for (family, profile), mine in kinds.items()
    ]


def table(title: str, found: Sequence[History], sweeps: int, levels: str) -> Table:
    """Return histories as rows: a column a sweep where there are few, else a summary."""
    few = sweeps <= MOST_COLUMNS
    middle = (
        tuple(str(number) for number in range(1, sweeps + 1))
        if few
        else ("first", "last", "min", "max", "trend", "sweeps")
    )
    rows = [
        (
            Cell(words=one.case),
            Cell(words=one.metric.name),
            *(each_sweep(one, sweeps) if few else summary(one, levels)),
            Cell(
                words=", ".join(
                    f"{word(s)} at {one.points[s.place].moment + 1}" for s in one.steps
                )
            ),
        )
        for one in found
    ]
    return Table(
        title=title,
        heads=("case", "metric", *middle, "steps"),
        rows=tuple(rows),
        essential=frozenset({"case", "metric", "steps"}),
    )


def each_sweep(one: History, sweeps: int) -> list[Cell]:
    """Return a cell for each sweep, blank where it lacks the case."""
    points = {point.moment: point for point in one.points}
    return [
        mean_cell(one, points[place]) if place in points else Cell() for place in range(sweeps)
    ]


def summary(one: History, levels: str) -> list[Cell]:
    """Return the first and last mean, the range, a line, and how many count."""
    known = [p for p in one.points if p.comparable and p.spread.mean is not None]
    if not known:
        return [Cell()] * 6
    means = [point.spread.mean or 0.0 for point in known]
    lowest, highest = known[means.index(min(means))], known[means.index(max(means))]
    return [
        *(mean_cell(one, point) for point in (known[0], known[-1], lowest, highest)),
        Cell(words=line(means[-LONGEST_LINE:], levels)),
        Cell(words=f"{len(known)} of {len(one.points)}"),
    ]


def mean_cell(one: History, point: Point) -> Cell:
    """Return the mean of a point, marked where it cannot be compared."""
    return Cell(
        spread=point.spread,
        format="{:.3g}" if one.metric.of_clock else one.metric.format,
        scale=100.0 if one.metric.share else 1.0,
        words="" if point.comparable else "*",
    )


def line(values: Sequence[float], levels: str) -> str:
    """Return a character for each value, from the lowest level to the highest."""
    least, most = min(values), max(values)
    if not least < most:
        return levels[0] * len(values)
    # halved: the difference of numbers near the largest may be none
    shares = [(value / 2 - least / 2) / (most / 2 - least / 2) for value in values]
    return "".join(levels[min(int(share * len(levels)), len(levels) - 1)] for share in shares)


# sentences


def word(step: Step) -> str:
    """Say which way a step goes."""
    return "up" if step.now > step.was else "down"


def sentence(one: History, step: Step) -> str:
    """Say what a step is: case, metric, levels, sweeps and chance."""
    rose = step.now > step.was
    good = one.metric.better == ("higher" if rose else "lower")
    judged = (
        "" if one.metric.better == "neither" else f", which is {'better' if good else 'worse'},"
    )
    small = "" if step.matters else "; less than a change that matters"
    said = f"; changed: {step.changed}" if step.changed else ""
    return (
        f"{one.case}: {one.metric.name} {'rose' if rose else 'fell'} from {step.was:.4g} to"
        f" {step.now:.4g}{judged} between sweep {one.points[step.last].label} and"
        f" {one.points[step.place].label}; chance {step.chance:.2g} for all cases"
        f" together{small}{said}"
    )


def untold(found: Sequence[History]) -> list[str]:
    """Say for which histories nothing can be told, and why."""
    return shared((one.untold, f"{one.case} {one.metric.name}") for one in found if one.untold)


def apart(found: Sequence[History]) -> list[str]:
    """Say which points cannot be compared, and why."""
    return shared(
        (f"{point.label}: {one.metric.name}: {point.why}", one.case)
        for one in found
        for point in one.points
        if not point.comparable
    )


def shared(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return each reason with those that have it."""
    having: dict[str, list[str]] = {}
    for reason, name in pairs:
        having.setdefault(reason, []).append(name)
    return [f"{reason}: {listed(names)}" for reason, names in having.items()]


def listed(names: Sequence[str]) -> str:
    """Return names in a line, the first ones of many."""
    rest = len(names) - MOST_NAMED
    return ", ".join([*names[:MOST_NAMED], *([f"and {rest} more"] if rest > 0 else [])])


def unreadable(moments: Sequence[Moment]) -> list[str]:
    """Say which records of which sweeps are left out."""
    return [f"{moment.name}: {text}" for moment in moments for text in moment.sweep.unreadable]


def described(number: int, moment: Moment) -> str:
    """Return a sweep with its number in the tables."""
    begun = f", {moment.begun:%Y-%m-%d %H:%M} UTC" if moment.begun else ""
    return f"{number}: {moment.label}{begun}"
