"""The plan of a sweep: what was collected, written before any of it is run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

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


def claim(folder: Path, *, resume: bool = False) -> None:
    """Check that a sweep can be written to a folder, and leave it as it was.

    Raises StoreError where the folder holds another sweep, unless that is resumed, or
    cannot be written to.
    """
    if (folder / PLAN).exists() and (schema := load(folder)["schema"]) != SCHEMA:
        raise StoreError(f"--amlnn-out {folder} {other_schema(schema, folder)}")
    if (folder / PLAN).exists() and not resume:
        raise StoreError(
            f"--amlnn-out {folder} holds another sweep; resume it by --amlnn-resume, name a new"
            " folder, or remove it"
        )
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StoreError(
            f"--amlnn-out {folder} cannot be written to: {error.strerror}; name another folder"
        ) from error
    finally:
        for path in missing:
            with suppress(OSError):  # never made, or in use by somebody else by now
                path.rmdir()


def newest(folder: Path) -> Path | None:
    """Return the newest sweep below a folder, by its name; None where there is none."""
    return max((plan.parent for plan in folder.glob(f"*/{PLAN}")), default=None)


def save(folder: Path, plan: Mapping[str, Any]) -> None:
    """Write what is going to be run, before any of it is.

    What an earlier plan of this folder holds besides, cases and seeds, stays: a sweep that
    is resumed in part is not complete, nor is one whose data are not found any more.
    """
    plan = as_stored(plan)
    with locked(folder, PLAN):
        earlier = load(folder)["cases"] if (folder / PLAN).exists() else []
        cases = {case["id"]: case for case in earlier}
        for case in plan["cases"]:
            before = cases.get(case["id"], case)
            seeds, skip = {*case["seeds"], *before["seeds"]}, before["skip"] and case["skip"]
            cases[case["id"]] = {**case, "seeds": sorted(seeds), "skip": skip}
        write_json(folder / PLAN, {"schema": SCHEMA, **plan, "cases": [*cases.values()]})


def mark_skipped(folder: Path, id: str, reason: str) -> None:
    """Note in the plan that a case was not run, and why."""
    with locked(folder, PLAN):
        plan = load(folder)
        for case in plan["cases"]:
            if case["id"] == as_stored(id):
                case["skip"] = reason[:LONGEST_REASON]
        write_json(folder / PLAN, plan)


def load(folder: Path) -> dict[str, Any]:
    """Read the plan; StoreError where there is none."""
    from pytest_amlnn import records  # not before something is read: it takes a while

    return records.read_plan(folder / PLAN)
