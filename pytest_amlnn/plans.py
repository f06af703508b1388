"""The plan of a sweep: what was collected, written before any of it is run."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_amlnn import store
from pytest_amlnn.disk import UNLOCKED, DiskError, reason_of, remedy_for
from pytest_amlnn.result import SCHEMA
from pytest_amlnn.store import (
    LONGEST_REASON,
    StoreError,
    as_stored,
    locked,
    other_schema,
    write_json,
)

PLAN = "plan.json"


def begin(folder: Path, plan: Mapping[str, Any], *, token: str, resume: bool) -> None:
    """Write what is going to be run, before any of it is.

    `token` tells this sweep from others: its processes add to one plan. With `resume` an
    earlier sweep in this folder is gone on with: its crashed and out-of-memory records are
    deleted, so that those runs are repeated. Raises StoreError where the folder holds another
    sweep or another profile's, or cannot be written to.
    """
    plan = as_stored({**plan, "sweep": token})
    try:
        refuse_other(folder, plan, resume=resume)  # before anything in there is touched
        with locked(folder, PLAN):
            earlier = refuse_other(folder, plan, resume=resume)
            if earlier and earlier.get("sweep") != token:
                store.forget_crashed(folder)
            save(folder, plan, earlier)
    except (OSError, DiskError) as error:
        system = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(system, OSError):  # it is in order, and what lies there is not
            raise
        remedy = UNLOCKED if UNLOCKED in str(error) else remedy_for(system)
        raise StoreError(
            f"--amlnn-out {folder} cannot be written to: {reason_of(system)}; {remedy}, or name"
            " another folder"
        ) from error


def refuse_other(
    folder: Path, plan: Mapping[str, Any], *, resume: bool
) -> dict[str, Any] | None:
    """Return the plan that a folder holds, if any; StoreError where it is of another sweep."""
    if not (folder / PLAN).exists():
        return None
    earlier = load(folder)
    if earlier.get("sweep") == plan["sweep"]:
        return earlier
    if earlier["schema"] != SCHEMA:
        raise StoreError(f"--amlnn-out {folder} {other_schema(earlier['schema'], folder)}")
    if not resume:
        raise StoreError(
            f"--amlnn-out {folder} holds another sweep; resume it by --amlnn-resume, name a new"
            " folder, or remove it"
        )
    then, now = earlier["options"]["profile"], plan["options"]["profile"]
    if then != now:
        raise StoreError(
            f"--amlnn-out {folder} holds a sweep of the profile {then}, not {now}: resume it"
            f" with --amlnn-profile {then}"
        )
    return earlier


def save(folder: Path, plan: Mapping[str, Any], earlier: Mapping[str, Any] | None) -> None:
    """Write a plan; call it while the plan is locked.

    What the earlier one holds besides, cases and seeds, stays: a sweep that is resumed in part
    is not complete, nor is one whose data are not found any more.
    """
    cases = {case["id"]: case for case in (earlier["cases"] if earlier else ())}
    costs = {**(earlier["costs"] if earlier else {}), **plan["costs"]}
    for case in plan["cases"]:
        before = cases.get(case["id"], case)
        seeds, skip = {*case["seeds"], *before["seeds"]}, before["skip"] and case["skip"]
        cases[case["id"]] = {**case, "seeds": sorted(seeds), "skip": skip}
    held = {**(earlier or {}).get("calibrations", {}), **plan.get("calibrations", {})}
    whole = {**plan, "cases": [*cases.values()], "costs": costs, "calibrations": held}
    if earlier:  # a sweep that is resumed was begun then
        whole["begun"] = earlier.get("begun")
    write_json(folder / PLAN, {"schema": SCHEMA, **whole})


def correct(folder: Path, entry: Mapping[str, Any], guessed: Iterable[int]) -> None:
    """Put a case into the plan that became known only as its test ran.

    Its seeds come in place of those that were guessed before; others that stand there stay.
    """
    entry = as_stored(entry)
    with locked(folder, PLAN):
        plan = load(folder)
        for case in plan["cases"]:
            if case["id"] == entry["id"]:
                case["seeds"] = sorted({*case["seeds"]} - {*guessed})
        save(folder, {**plan, "cases": [entry]}, plan)


def add_seeds(folder: Path, id: str, seeds: Iterable[int]) -> None:
    """Put further seeds of a case into the plan."""
    with locked(folder, PLAN):
        plan = load(folder)
        for case in plan["cases"]:
            if case["id"] == as_stored(id):
                case["seeds"] = sorted({*case["seeds"], *seeds})
        write_json(folder / PLAN, plan)


def mark_skipped(folder: Path, id: str, reason: str) -> None:
    """Note in the plan that a case was not run, and why."""
    with locked(folder, PLAN):
        plan = load(folder)
        for case in plan["cases"]:
            if case["id"] == as_stored(id):
                case["skip"] = reason[:LONGEST_REASON]
        write_json(folder / PLAN, plan)


def check_whole(folder: Path, planned: Iterable[str]) -> None:
    """Raise StoreError where the plan lacks cases that were planned: it was lost meanwhile."""
    held = {case["id"] for case in load(folder)["cases"]}
    lost = [id for id in as_stored([*planned]) if id not in held]
    if lost:
        raise StoreError(
            f"{folder / PLAN} is not the plan of this sweep any more: {lost[0]} is not in it;"
            " what else wrote there? Run it again with an --amlnn-out of its own"
        )


def load(folder: Path) -> dict[str, Any]:
    """Read the plan; StoreError where there is none."""
    from pytest_amlnn import records  # not before something is read: it takes a while

    return records.read_plan(folder / PLAN)


DEFAULT_NAME = re.compile(r"(\d{8}-\d{6})-\d+(-\d+)?", re.ASCII)
"""Of a run directory that nobody named: see `options.default_out`."""


def begun(folder: Path, plan: Mapping[str, Any]) -> datetime | None:
    """Return when a sweep was begun: by its plan, else by its name; None where neither says."""
    named = DEFAULT_NAME.fullmatch(folder.resolve().name)
    with suppress(ValueError, OverflowError):
        if said := plan.get("begun"):
            found = datetime.fromisoformat(said)
            return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
        if named:
            return datetime.strptime(f"{named[1]}+0000", "%Y%m%d-%H%M%S%z").astimezone(UTC)
    return None


def commit_of(plan: Mapping[str, Any]) -> str:
    """Return the first digits of the commit, `+` where files were changed; "" without one."""
    said = plan["commit"]
    known = str(said.get("id") or "")
    if not known or known == "unversioned":  # as pytest-benchmark calls a folder without git
        return ""
    return f"{known[:7]}{'+' * bool(said.get('dirty'))}"


def newest(folder: Path) -> Path | None:
    """Return the newest sweep below a folder, by its name; None where there is none."""
    return max((plan.parent for plan in folder.glob(f"*/{PLAN}")), default=None)


def lacking(
    plan: Mapping[str, Any], done: Mapping[str, Collection[int]]
) -> dict[str, list[int]]:
    """Return the seeds that were planned and have no run, by the ids of cases that lack any."""
    found = {
        case["id"]: [seed for seed in case["seeds"] if seed not in done.get(case["id"], ())]
        for case in plan["cases"]
    }
    return {id: seeds for id, seeds in found.items() if seeds}
