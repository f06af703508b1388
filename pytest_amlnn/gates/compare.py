"""`amlnn compare A B`: every case of one sweep against that of another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pytest_amlnn import store
from pytest_amlnn.gates.against import judge_against
from pytest_amlnn.gates.baseline import BaselineError, profile_of, read, read_baseline
from pytest_amlnn.gates.bounds import Levels, levels
from pytest_amlnn.gates.limits import Limit
from pytest_amlnn.gates.measured import Measured
from pytest_amlnn.gates.side_by_side import Plan
from pytest_amlnn.gates.times import Ratio
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
from pytest_amlnn.result import finite

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

    def with_lost(self) -> Compared:
        """Return the same, where a case that only the first side has is worse: it broke."""
        lost = tuple(
            Judgement(
                limit=Limit(case=id, metric="", where="base"),
                value=None,
                verdict=REGRESSED,
                why=("it has no run on the side of the head: its test failed",),
            )
            for id in self.only_before
        )
        return replace(self, judgements=(*self.judgements, *lost), only_before=())


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


def compare_sides(base: Path, head: Path) -> Compared:
    """Compare the two sides of `amlnn ab`: what the head did not train is worse."""
    return compared(read_baseline(base), read(head), "base").with_lost()


def compared(
    theirs: Mapping[str, Measured], ours: Mapping[str, Measured], where: str
) -> Compared:
    """Return the judgements on all cases that both sides have."""
    both = sorted({*theirs} & {*ours})
    mine = levels(len(both))
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


def text_of_sides(
    found: Compared, timed: Sequence[Ratio], plan: Plan, width: int, encoding: str
) -> str:
    """Return what two commits reached, and how long a step of each takes."""
    from pytest_amlnn.report.text import fit_width

    names = (f"base {plan.base[:12]}", f"head {plan.head[:12]}")
    head = "seconds a step, head over base, 95 % interval of the geometric mean"
    return "\n".join(
        [
            text_of(found, names, width, encoding),
            "",
            head,
            "",
            *fit_width(table_of_times(timed), width, encoding),
        ]
    )


def save(found: Compared, timed: Sequence[Ratio], plan: Plan, out: Path) -> None:
    """Write a comparison of two commits as comparison.json, for other programs."""
    names = ("value", "reference", "margin", "low", "high", "verdict", "needs_seeds", "why")
    cases = [
        {
            "id": one.limit.case,
            "metric": one.limit.metric,
            **{name: getattr(one, name) for name in names},
        }
        for one in found.judgements
    ]
    plain = {
        "schema": 1,
        "base": plan.base,
        "head": plan.head,
        "cases": cases,
        "only_in_base": found.only_before,
        "only_in_head": found.only_now,
        "seconds_of_step": [asdict(ratio) for ratio in timed],
    }
    store.write_json(out / "comparison.json", finite(plain))


def table(found: Compared) -> Table:
    """Return a row for each case."""
    heads = ("case", "metric", "before", "now", "difference", "margin", "verdict")
    return table_of(heads, [row(one) for one in found.judgements], {"difference"})


def table_of_times(timed: Sequence[Ratio]) -> Table:
    """Return a row for each case that was timed."""
    rows = [
        (
            ratio.id,
            f"{ratio.mean:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]",
            str(ratio.pairs),
            ratio.verdict,
        )
        for ratio in timed
    ]
    return table_of(("case", "ratio", "pairs", "verdict"), rows, {"ratio"})


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
