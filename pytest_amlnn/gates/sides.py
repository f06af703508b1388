"""What `amlnn ab` says of two commits: accuracies by pairs, tests that broke, times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

from pytest_amlnn import plans, store
from pytest_amlnn.gates.commits import SideError
from pytest_amlnn.gates.compare import Compared, compared, table_of, text_of
from pytest_amlnn.gates.limits import Limit
from pytest_amlnn.gates.measured import Measured, measured
from pytest_amlnn.gates.side_by_side import SIDES, Plan, outcomes_of
from pytest_amlnn.gates.times import Ratio, ratios
from pytest_amlnn.gates.verdict import NOT_COMPARABLE, RED, REGRESSED, Judgement
from pytest_amlnn.report.values import Table
from pytest_amlnn.result import FINISHED, Run, finite, gather

Runs = Mapping[tuple[str, int], Run]
"""By case and seed."""
Failed = Mapping[tuple[str, int], str]
"""What a test failed with, by its name and seed."""


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Two commits, compared."""

    compared: Compared
    times: tuple[Ratio, ...]
    notes: tuple[str, ...]
    """Runs of the base that are in no pair, and why."""


def compare_sides(out: Path, plan: Plan) -> Sides:
    """Compare both sides, pair by pair; raises SideError where the base has nothing to show."""
    base, head = records(out)
    known = {key: run for key, run in base.items() if run.status == FINISHED}
    if not known:
        log = out / f"{SIDES[0]}.log"
        said = log.read_text(errors="replace").strip().splitlines()[-15:]
        raise SideError(
            f"no case was trained on the side of the base ({log}):\n" + "\n".join(said)
        )
    before, now = (failed_tests(out, plan, side) for side in SIDES)
    theirs = {result.id: measured(result, out / SIDES[0]) for result in gather(known.values())}
    ours = {
        result.id: with_trouble(
            measured(result, out / SIDES[1]),
            [seed for id, seed in known if id == result.id and (id, seed) not in head],
            now,
        )
        for result in gather(run for key, run in head.items() if key in known)
    }
    found = compared(theirs, ours, "base", share=0.5)
    worse = {name: words for (name, seed), words in now.items() if (name, seed) not in before}
    alone = {id for id, _ in head if id not in theirs}
    return Sides(
        compared=replace(
            found,
            judgements=(*found.judgements, *broken(found, worse, out)),
            only_before=(),
            only_now=tuple(sorted(alone)),
        ),
        times=tuple(ratios(base, head)),
        notes=tuple(left_out(base, head, before)),
    )


def records(out: Path) -> tuple[Runs, Runs]:
    """Return the runs of both sides, by case and seed."""
    found = []
    for side in SIDES:
        runs, unreadable = store.read_runs(out / side)
        if unreadable:
            raise SideError(f"{out / side}: not every record can be read: {unreadable[0]}")
        found.append({(run.id, run.seed): run for run in runs})
    return found[0], found[1]


def with_trouble(found: Measured, left: Sequence[int], failed: Failed) -> Measured:
    """Return what a case measured; seeds that it has no run of are trouble."""
    if not left:
        return found
    words = f"no run ended with seed {', '.join(map(str, left))}"
    said = failed.get((found.id, left[0]), "")
    return replace(found, trouble="; ".join(filter(None, (found.trouble, words, said))))


def left_out(base: Runs, head: Runs, failed: Failed) -> Iterator[str]:
    """Say which runs of the head have no partner, and why; a case that is new has none."""
    cases = {id for id, _ in (*base, *failed)}
    for id, seed in sorted(head):
        run = base.get((id, seed))
        if run is None:
            why = f"has no run: {failed.get((id, seed), 'see its log')}"
        else:
            why = "" if run.status == FINISHED else f"{run.status}: {run.reason}"
        if why and id in cases:
            yield f"{id}, seed {seed}: left out: the base {why}"


# tests


def failed_tests(out: Path, plan: Plan, side: str) -> Failed:
    """Return the tests that failed on a side, and the first line of why."""
    seeds = range(plan.seed, plan.seed + plan.pairs)
    return {
        (name, seed): words
        for seed in seeds
        for name, words in failures(outcomes_of(out, side, seed)).items()
    }


def failures(file: Path) -> dict[str, str]:
    """Return the tests that failed by pytest's JUnit file, and the first line of why."""
    if not file.exists():
        return {}
    try:
        cases = [*ElementTree.parse(file).iter("testcase")]
    except ElementTree.ParseError as error:
        raise SideError(f"{file} cannot be read: {error}") from error
    return {
        str(case.get("name")): (bad.get("message") or "").strip().partition("\n")[0]
        for case in cases
        for bad in case
        if bad.tag in ("failure", "error")
    }


def broken(found: Compared, failed: Mapping[str, str], out: Path) -> list[Judgement]:
    """Return judgements on what is worse though no pair says so: tests that fail on the head,
    cases that it did not train."""
    red = {j.limit.case for j in found.judgements if j.verdict in RED}
    skipped = {
        case["id"]: case["skip"] for case in plans.load(out / SIDES[1])["cases"] if case["skip"]
    }
    made = [
        judgement(id, REGRESSED, f"its test fails on the side of the head: {words}")
        for id, words in failed.items()
        if id not in red
    ]
    for id in found.only_before:
        if id in failed:
            continue
        if id in skipped:
            made.append(judgement(id, NOT_COMPARABLE, f"the head skips it: {skipped[id]}"))
        else:
            made.append(judgement(id, REGRESSED, "the head has no such case, or no run of it"))
    return made


def judgement(id: str, verdict: str, words: str) -> Judgement:
    """Return a judgement that rests on no value."""
    limit = Limit(case=id, metric="", where="base")
    return Judgement(limit=limit, value=None, verdict=verdict, why=(words,))


# text


def text_of_sides(found: Sides, plan: Plan, width: int, encoding: str) -> str:
    """Return what two commits reached, and how long a step of each takes."""
    from pytest_amlnn.report.text import fit_width

    names = (f"base {plan.base[:12]}", f"head {plan.head[:12]}")
    head = "seconds a step, head over base, 95 % interval of the geometric mean"
    return "\n".join(
        [
            text_of(found.compared, names, width, encoding),
            *found.notes,
            "",
            head,
            "",
            *fit_width(table_of_times(found.times), width, encoding),
        ]
    )


def table_of_times(timed: Sequence[Ratio]) -> Table:
    """Return a row for each case and clock."""
    rows = [
        (
            ratio.id,
            ratio.by,
            f"{ratio.mean:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]",
            str(ratio.pairs),
            ratio.verdict,
        )
        for ratio in timed
    ]
    return table_of(("case", "clock", "ratio", "pairs", "verdict"), rows, {"ratio"})


def save(found: Sides, plan: Plan, out: Path) -> None:
    """Write a comparison of two commits as comparison.json, for other programs."""
    names = ("value", "reference", "margin", "low", "high", "verdict", "needs_seeds", "why")
    cases = [
        {
            "id": one.limit.case,
            "metric": one.limit.metric,
            **{name: getattr(one, name) for name in names},
        }
        for one in found.compared.judgements
    ]
    plain = {
        "schema": 1,
        "base": plan.base,
        "head": plan.head,
        "cases": cases,
        "only_in_head": found.compared.only_now,
        "notes": found.notes,
        "seconds_of_step": [asdict(ratio) for ratio in found.times],
    }
    store.write_json(out / "comparison.json", finite(plain))
