"""A sweep that others are compared with: its run directory, or its summary.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pytest_amlnn import answers, plans, store
from pytest_amlnn.errors import UserError
from pytest_amlnn.gates.measured import (
    Measured,
    from_plain,
    measured,
    to_plain,
)
from pytest_amlnn.options import is_there
from pytest_amlnn.result import FINISHED, SCHEMA, gather

BASELINE = "baseline.json"


class BaselineError(UserError):
    """A sweep that nothing can be compared with; the message says which, and why."""


def read_baseline(place: Path) -> dict[str, Measured]:
    """Return what a sweep reached, by case.

    Raises BaselineError for what holds nothing that can be compared with.
    """
    found = read(place)
    if all(one.trouble for one in found.values()):
        raise BaselineError(f"{place}: no case of it has finished")
    return found


def read(place: Path) -> dict[str, Measured]:
    """Return what a sweep measured, by case; `place` is its run directory or summary.json.

    Raises BaselineError for what is neither, or damaged.
    """
    if not is_there(place):
        raise BaselineError(f"{place}: there is no such run directory or summary.json")
    try:
        return of_summary(place) if place.is_file() else of_folder(place)
    except store.StoreError as error:
        said = str(error)
        raise BaselineError(said if str(place) in said else f"{place}: {said}") from error


def profile_of(place: Path) -> str:
    """Return the profile of a sweep."""
    if place.is_file():
        from pytest_amlnn.gates import records  # not before something is read: it takes a while

        return str(records.read_summary(place)["profile"])
    return str(plans.load(place)["options"]["profile"])


def of_folder(folder: Path) -> dict[str, Measured]:
    """Return what a run directory holds, whose answers must be whole."""
    plan = plans.load(folder)
    runs, unreadable = store.read_runs(folder)
    if unreadable:
        raise BaselineError(f"{folder}: not every record can be read: {unreadable[0]}")
    for run in runs:
        wrong = answers.damaged_answers(folder, run)
        if wrong:
            raise BaselineError(f"{wrong}: train {run.id} there anew")
    results = gather(runs)
    left = plans.lacking(plan, {result.id: result.seeds for result in results})
    return {
        result.id: replace(found, trouble=found.trouble or lacks(left.get(result.id)))
        for result in results
        if (found := measured(result, folder))
    }


def lacks(seeds: Sequence[int] | None) -> str:
    """Say which seeds that were planned have no run."""
    return f"no run ended with seed {', '.join(map(str, seeds))}" if seeds else ""


def of_summary(file: Path) -> dict[str, Measured]:
    """Return what a summary.json of schema 1 or 2 says."""
    from pytest_amlnn.gates import records  # not before something is read: it takes a while

    plain = records.read_summary(file)
    found = {}
    for case in plain["cases"]:
        found[case["id"]] = Measured(
            id=case["id"],
            task=case["task"],
            init=case["init"],
            dataset=case["dataset"],
            seeds=tuple(case["seeds"]),
            values={name: tuple(m["runs"]) for name, m in case["metrics"].items()},
            metric=metric_of_summary(case, file),
            trouble="" if case["status"] == FINISHED else case["status"],
            digests=tuple(case.get("digests") or ()),
            contended=case["contended"],
        )
    return found


def metric_of_summary(case: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Return what a case of a summary is judged by, which schema 1 says of our tasks alone."""
    from pytest_amlnn.tasks.classification import TEST_ACCURACY
    from pytest_amlnn.tasks.forecast import EFFICIENCY

    ours = {"classification": TEST_ACCURACY, "forecast": EFFICIENCY}
    if case.get("judged_by"):
        return {"name": "", "better": "higher", **case["judged_by"]}
    if case["task"] not in ours:
        raise BaselineError(
            f"{file}: of schema 1, which does not say what a {case['task']} case is judged by:"
            " name its run directory instead"
        )
    return asdict(ours[case["task"]])


def save(folder: Path, found: Mapping[str, Measured]) -> None:
    """Keep what results are compared with in their run directory, so that it tells all."""
    cases = {id: to_plain(one) for id, one in found.items()}
    store.write_json(folder / BASELINE, {"schema": SCHEMA, "cases": cases})


def load(folder: Path) -> dict[str, Measured]:
    """Return what `save` kept; nothing where results were compared with nothing."""
    if not (folder / BASELINE).exists():
        return {}
    from pytest_amlnn.gates import records  # not before something is read: it takes a while

    plain = records.read_baseline(folder / BASELINE)
    return {id: from_plain(one) for id, one in plain["cases"].items()}
