"""`amlnn compare A B`: every case of one sweep against that of another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_amlnn.gates.against import judge_against
from pytest_amlnn.gates.baseline import BaselineError, profile_of, read, read_baseline
from pytest_amlnn.gates.bounds import Levels, levels
from pytest_amlnn.gates.limits import Limit
from pytest_amlnn.gates.measured import Measured
from pytest_amlnn.gates.verdict import (
    KEPT,
    NOT_COMPARABLE,
    RED,
    REGRESSED,
    UNDECIDED,
    Judgement,
)
from pytest_amlnn.metrics import Metric
from pytest_amlnn.report.values import Cell, Table

DECIDED, WORSE, USAGE, OPEN = 0, 1, 2, 3
"""Exit statuses; the last one with `--strict` alone."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What a comparison of two sweeps says."""

    judgements: tuple[Judgement, ...]
    only_before: tuple[str, ...]
    only_now: tuple[str, ...]

    def status(self, *, strict: bool) -> int:
        """Return the exit status that a gate on this has."""
        verdicts = {judgement.verdict for judgement in self.judgements}
        if verdicts & {*RED}:
            return WORSE
        open_ = verdicts & {*UNDECIDED} or self.only_before
        return OPEN if strict and open_ else DECIDED


def compare(before: Path, now: Path) -> Compared:
    """Compare two sweeps, case by case; raises BaselineError where either cannot be read."""
    sides = read_baseline(before), read(now)
    profiles = [profile_of(place) for place in (before, now)]
    if profiles[0] != profiles[1]:
        raise BaselineError(
            f"{before} is of the profile {profiles[0]}, and {now} of {profiles[1]}: what they"
            " trained cannot be compared"
        )
    if not {*sides[0]} & {*sides[1]}:
        raise BaselineError(f"{before} and {now} have no case in common")
    return compared(*sides, str(before))


def compared(
    theirs: Mapping[str, Measured], ours: Mapping[str, Measured], where: str, share: float = 1.0
) -> Compared:
    """Return the judgements on all cases that both sides have.

    They have a share of the family's chance of a false alarm.
    """
    both = sorted({*theirs} & {*ours})
    mine = levels(len(both) / share)
    return Compared(
        judgements=tuple(
            judge_pair(ours[id], theirs[id], where=where, judged=mine) for id in both
        ),
        only_before=tuple(sorted({*theirs} - {*ours})),
        only_now=tuple(sorted({*ours} - {*theirs})),
    )


def judge_pair(ours: Measured, theirs: Measured, *, where: str, judged: Levels) -> Judgement:
    """Judge one case; one of which a run did not finish is worse."""
    metric = Metric(**theirs.metric)
    limit = Limit(case=ours.id, metric=metric.name, where=where)
    if ours.trouble:
        return Judgement(limit=limit, value=None, verdict=REGRESSED, why=(ours.trouble,))
    if ours.metric.get("name") != metric.name:
        words = f"it was judged by {metric.name}, and is by {ours.metric.get('name')}"
        return Judgement(limit=limit, value=None, verdict=NOT_COMPARABLE, why=(words,))
    return judge_against(ours, theirs, metric, judged, where=where)


# text


def text_of(found: Compared, names: tuple[str, str], width: int, encoding: str) -> str:
    """Return a comparison as lines for a terminal, or for a log."""
    from pytest_amlnn.report.text import fit_width

    lines = [f"{names[1]} against {names[0]}", ""]
    lines += [*fit_width(table(found), width, encoding), ""]
    lines += [str(one) for one in found.judgements if one.verdict not in KEPT or one.odd]
    lines += [f"only in {names[0]}: {id}" for id in found.only_before]
    lines += [f"only in {names[1]}: {id}" for id in found.only_now]
    counts = Counter(one.verdict for one in found.judgements)
    return "\n".join([*lines, ", ".join(f"{n} {verdict}" for verdict, n in counts.items())])


def table(found: Compared) -> Table:
    """Return a row for each case."""
    heads = ("case", "metric", "before", "now", "difference", "margin", "verdict")
    return table_of(heads, [row(one) for one in found.judgements], {"difference"})


def table_of(heads: Sequence[str], rows: Iterable[Sequence[str]], keep: set[str]) -> Table:
    """Return rows of words as a table."""
    return Table(
        title="",
        heads=tuple(heads),
        rows=tuple(tuple(Cell(words=text) for text in line) for line in rows),
        essential=frozenset({"case", "verdict", *keep}),
    )


def row(judgement: Judgement) -> Sequence[str]:
    """Return what stands in the row of a case."""
    value, reference = judgement.value, judgement.reference
    difference = ""
    if value is not None and reference is not None:
        difference = f"{value - reference:+.4f}"
        if judgement.low is not None and judgement.high is not None:
            difference += f" [{judgement.low:+.4f}, {judgement.high:+.4f}]"
    return (
        judgement.limit.case,
        judgement.limit.metric,
        "" if reference is None else f"{reference:.4f}",
        "" if value is None else f"{value:.4f}",
        difference,
        "" if judgement.margin is None else f"{judgement.margin:.3f}",
        judgement.verdict,
    )
