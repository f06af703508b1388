"""`amlnn list`: which sweeps there are."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_amlnn import plans, store
from pytest_amlnn.errors import UserError
from pytest_amlnn.gates import records
from pytest_amlnn.gates.verdict import KEPT, RED
from pytest_amlnn.report import SUMMARY_SCHEMA, measured_of
from pytest_amlnn.report.sweep import read
from pytest_amlnn.report.text import fit_width
from pytest_amlnn.report.values import Cell, Table
from pytest_amlnn.result import FINISHED, STATUSES, finite
from pytest_amlnn.store import key

SUMMARY = "summary.json"
OF_SWEEP = (plans.PLAN, SUMMARY, "environment.json", "runs")
"""What a folder has one of if it is a run directory, though perhaps a damaged one."""
KNOWN = (*STATUSES, "missing")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """What a run directory holds, in a row."""

    folder: str
    begun: str | None = None
    """UTC; by the date of the plan's file where neither plan nor name says."""
    dated: bool = False
    """Whether it is such a date."""
    profile: str = ""
    planned: int = 0
    """Cases that were collected, those that could not run included."""
    done: int = 0
    """Cases whose planned runs have all finished."""
    seeds: tuple[int, int] = (0, 0)
    """The fewest and the most that a case has."""
    statuses: Mapping[str, int]
    """Cases by status, but for those that are done."""
    green: int = 0
    red: int = 0
    undecided: int = 0
    commit: str = ""
    bytes: int = 0
    source: str = ""
    """Whether it was read from summary.json, which is as new as the runs, or from these."""
    wrong: str = ""
    """Why it cannot be read."""


def found_in(named: Path | None) -> list[Listed]:
    """Return the sweeps in a folder and in `.amlnn` below the current one, newest first.

    Raises UserError where the named one is no folder.
    """
    if named is not None and not named.is_dir():
        raise UserError(f"{named}: there is no such folder")
    seen: dict[Path, Path] = {}
    for folder in run_directories(Path(".amlnn"), named):
        seen.setdefault(folder.resolve(), folder)
    rows = [listed(folder) for folder in seen.values()]
    return sorted(rows, key=lambda row: (row.begun or "", row.folder), reverse=True)


def run_directories(default: Path, named: Path | None) -> Iterator[Path]:
    """Yield run directories: those below the default, and the named one or those below it."""
    yield from children(default)
    if named is not None:
        yield from [named] if is_sweep(named) else children(named)


def children(folder: Path) -> Iterator[Path]:
    """Yield the run directories that lie in a folder, none that a link leads to."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
    except OSError:  # of what nobody named
        return
    yield from (folder / name for name in names if is_sweep(folder / name))


def is_sweep(folder: Path) -> bool:
    """Return whether a folder has anything that a run directory has, or cannot be looked at."""
    try:
        with os.scandir(folder) as entries:
            return any(entry.name in OF_SWEEP for entry in entries)
    except OSError:
        return True


# rows


def listed(folder: Path) -> Listed:
    """Return what a run directory holds; one that cannot be read says why."""
    size, runs, latest = files_in(folder)
    try:
        plan = plans.load(folder)
        plain, source = summary_of(folder, runs, latest)
    except (UserError, OSError) as error:
        said = str(error)
        return Listed(folder=str(folder), statuses={}, bytes=size, wrong=said)
    begun, dated = plans.begun(folder, plan), False
    if begun is None:
        begun, dated = date_of(folder / plans.PLAN), True
    return Listed(
        folder=str(folder),
        begun=begun.isoformat(timespec="seconds") if begun else None,
        dated=dated,
        profile=str(plan["options"]["profile"]),
        planned=len(plan["cases"]),
        commit=plans.commit_of(plan),
        bytes=size,
        source=source,
        **counted(plan, plain),
    )


def counted(plan: Mapping[str, Any], plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return how many cases and seeds there are, and what the gate said of them."""
    status = {case["id"]: case["status"] for case in plain["cases"]}
    for case in plan["cases"]:
        status.setdefault(case["id"], "skipped" if case["skip"] else "missing")
    counts = Counter(status.values())
    verdicts = Counter(filter(None, map(verdict_of, plain["cases"])))
    green, red = (sum(verdicts[name] for name in names) for names in (KEPT, RED))
    seeds = [len(case["seeds"]) for case in plain["cases"]] or [0]
    return {
        "done": counts.pop(FINISHED, 0),
        "statuses": dict(sorted(counts.items())),
        "seeds": (min(seeds), max(seeds)),
        "green": green,
        "red": red,
        "undecided": verdicts.total() - green - red,
    }


def verdict_of(case: Mapping[str, Any]) -> str:
    """Return what the gate said of a case of a summary; nothing where it did not."""
    gate = case.get("gate")
    return str(gate.get("verdict") or "") if isinstance(gate, Mapping) else ""


def summary_of(
    folder: Path, runs: set[tuple[str, int]], latest: float
) -> tuple[dict[str, Any], str]:
    """Return the summary of a sweep: the stored one if it is of these runs, else a new one."""
    file = folder / SUMMARY
    try:
        if file.stat(follow_symlinks=False).st_mtime >= latest:
            plain = records.read_summary(file)
            held = {
                (key(case["id"]), seed) for case in plain["cases"] for seed in case["seeds"]
            }
            known = all(case["status"] in KNOWN for case in plain["cases"])
            if plain["schema"] == SUMMARY_SCHEMA and held == runs and known:
                return plain, "summary"
    except (UserError, OSError):  # the runs are the truth
        pass
    return measured_of(read(folder)), "runs"


def files_in(folder: Path) -> tuple[int, set[tuple[str, int]], float]:
    """Return the bytes of all files, which runs ended, and when the last file of these changed.

    Nothing is opened, and no link is followed.
    """
    size, runs, latest = 0, set[tuple[str, int]](), 0.0
    places: list[tuple[Path, tuple[str, ...]]] = [(folder, ())]
    while places:
        place, parts = places.pop()
        for entry in entries_of(place):
            try:
                found = entry.stat(follow_symlinks=False)
                inside = entry.is_dir(follow_symlinks=False)
            except OSError:
                continue
            if inside:
                places.append((Path(entry.path), (*parts, entry.name)))
                continue
            size += found.st_size
            name, ended = (
                entry.name.removesuffix(".json"),
                len(parts) == 2 and parts[0] == "runs",
            )
            if ended and name != entry.name and name.isdecimal():
                runs.add((parts[1], int(name)))
            if ended or entry.name == plans.PLAN:
                latest = max(latest, found.st_mtime)
    return size, runs, latest


def entries_of(folder: Path) -> list[os.DirEntry[str]]:
    """Return what lies in a folder; nothing where it cannot be looked at."""
    try:
        with os.scandir(folder) as entries:
            return [*entries]
    except OSError:
        return []


def date_of(file: Path) -> datetime | None:
    """Return when a file was last written; None where that cannot be told."""
    try:
        return datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except (OSError, OverflowError, ValueError):
        return None


# text


NONE = (
    "there is no sweep in .amlnn, nor in a folder that was named; `pytest benchmarks` makes"
    " one, and --amlnn-out says where"
)
BY_DATE = "* by the date of plan.json: neither plan nor name says when it was begun"


def as_json(rows: Sequence[Listed], width: int, encoding: str) -> str:
    """Return rows for other programs."""
    return store.as_json(finite([asdict(row) for row in rows]))


def text_of(rows: Sequence[Listed], width: int, encoding: str) -> str:
    """Return rows for a terminal, and why some cannot be read."""
    if not rows:
        return NONE
    lines = fit_width(table(rows), width, encoding, whole_in="amlnn list --json")
    notes = [BY_DATE] if any(row.dated for row in rows) else []
    return "\n".join(
        [*lines, *notes, *(f"{row.folder}: {row.wrong}" for row in rows if row.wrong)]
    )


HEADS = (
    *("sweep", "cases", "not finished", "red / green", "profile", "begun (UTC)", "commit"),
    *("seeds", "size", "undecided", "read from"),
)
"""Of the columns; those that matter least stand on the right."""


def table(rows: Sequence[Listed]) -> Table:
    """Return a row for each sweep; columns that would be empty are left out."""
    cells = [cells_of(row) for row in rows]
    heads = tuple(head for head in HEADS if any(line.get(head) for line in cells))
    return Table(
        title="",
        heads=heads,
        rows=tuple(tuple(Cell(words=line.get(head, "")) for head in heads) for line in cells),
        essential=frozenset({"sweep", "cases", "not finished"}),
    )


def cells_of(row: Listed) -> dict[str, str]:
    """Return the words of a row by column."""
    size = f"{row.bytes / 1e6:.1f} MB"
    if row.wrong:
        return {"sweep": row.folder, "not finished": "cannot be read", "size": size}
    fewest, most = row.seeds
    begun = (row.begun or "")[:16].replace("T", " ")
    judged = row.red + row.green + row.undecided
    others = [f"{count} {status}" for status, count in row.statuses.items()]
    return {
        "sweep": row.folder,
        "cases": f"{row.done}/{row.planned}",
        "not finished": ", ".join(others),
        "red / green": f"{row.red} / {row.green}" if judged else "",
        "profile": row.profile,
        "begun (UTC)": f"{begun} *" if row.dated else begun,
        "commit": row.commit,
        "seeds": str(most) if fewest == most else f"{fewest}-{most}",
        "size": size,
        "undecided": str(row.undecided or ""),
        "read from": row.source,
    }
