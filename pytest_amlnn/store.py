"""The run directory: the only truth, from which every report follows.

    plan.json                   what was collected, with options and skip reasons (`plans.py`)
    environment.json            versions, machine, datasets
    runs/<case key>/<seed>.json one run that ended; beside it `<seed>.safetensors`
                                with what the net said of each test example
    checkpoints/<case key>/<seed>/
                                a run under way: `begun.json`, the record that is left if the
                                process dies, and its checkpoints

Every file is written whole: a reader sees the old one or the new one.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_amlnn import result
from pytest_amlnn.disk import write
from pytest_amlnn.escapes import for_json
from pytest_amlnn.identity import differences
from pytest_amlnn.result import SCHEMA, Run

if TYPE_CHECKING:
    import numpy as np

ENVIRONMENT, BEGUN = "environment.json", "begun.json"
LOCKS = ".locks"
RETRIED = ("crashed", "oom")
"""Statuses that the machine is to blame for, not the training."""
READABLE = (1, SCHEMA)


class StoreError(Exception):
    """A run directory that cannot be used; the message names it and says what to do."""


def key(case_id: str) -> str:
    """Return the case id made safe as a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", case_id).strip("_.")


def write_json(path: Path, plain: object) -> None:
    """Write plain data; a number that JSON cannot hold raises ValueError."""
    text = for_json(json.dumps(plain, indent=1, allow_nan=False, ensure_ascii=False))
    write(path, text.encode() + b"\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote; StoreError where it is not there or damaged."""
    try:
        plain = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing: {path.parent} is no run directory") from error
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    if not isinstance(plain, dict) or plain.get("schema") not in READABLE:
        raise StoreError(f"{path} was written by another version of pytest-amlnn")
    return plain


def refuse_unless_same(file: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse a stored file unless it is of the training at hand.

    Both are identities as plain data, with the file's `schema`. Raises StoreError, with all
    that differs.
    """
    if then["schema"] != now["schema"]:
        raise StoreError(f"{file} {other_schema(then['schema'], file.parent)}")
    changed = "; ".join(differences(then, now))
    if changed:
        raise StoreError(
            f"{file} is of another training: {changed}. Remove {file.parent} to train the"
            " case afresh, name another --amlnn-out, or resume with all of this as it was"
        )


def other_schema(schema: object, place: Path) -> str:
    """Say that a sweep of another version of the record cannot be resumed."""
    return (
        f"is a record of schema {schema}, and this version of pytest-amlnn writes {SCHEMA}: it"
        f" can be reported, not resumed. Resume it with the version that began it, remove"
        f" {place}, or name another --amlnn-out"
    )


def run_file(folder: Path, id: str, seed: int) -> Path:
    """Return where a run that ended is described."""
    return folder / "runs" / key(id) / f"{seed}.json"


def save_run(
    folder: Path, run: Run, answers: Mapping[str, np.ndarray], names: Sequence[str]
) -> None:
    """Write a run that ended, and what it said of each test example.

    The JSON comes last: where it stands, all of the run does.
    """
    import numpy as np
    from safetensors.numpy import save

    file = run_file(folder, run.id, run.seed)
    if answers:
        # safetensors writes an array's memory as it lies, strides or not
        whole = {name: np.ascontiguousarray(array) for name, array in answers.items()}
        content = save(whole, metadata={"names": json.dumps([*names])})
        write(file.with_suffix(".safetensors"), content)
    write_json(file, result.to_plain(run))


def load_runs(folder: Path) -> list[Run]:
    """Read all runs that ended, in order of case and seed."""
    files = sorted(folder.glob("runs/*/[0-9]*.json"))
    return sorted(map(load_run, files), key=lambda run: (run.id, run.seed))


def load_run(file: Path) -> Run:
    """Read one run; StoreError where it is damaged or of another version."""
    try:
        plain = read_json(file)
        if plain["schema"] == 1:
            from pytest_amlnn.schema_1 import upgrade  # seldom needed

            plain = upgrade(plain)
        return result.from_plain(plain)
    except (StoreError, AttributeError, KeyError, TypeError) as error:
        raise StoreError(f"{error} ({file}: remove it to have it trained afresh)") from error


def load_answers(folder: Path, id: str, seed: int) -> tuple[list[str], dict[str, np.ndarray]]:
    """Read what a net said of each test example: their names, and arrays by name, row by row.

    Raises StoreError where the run has no answers, as one that diverged, or they are damaged.
    """
    from safetensors import SafetensorError, safe_open

    file = run_file(folder, id, seed).with_suffix(".safetensors")
    try:
        with safe_open(file, "numpy") as opened:
            names = json.loads(opened.metadata()["names"])
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            return names, arrays
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise StoreError(f"{file} cannot be read: {error}") from error


def forget_crashed(folder: Path) -> None:
    """Delete crashed and out-of-memory records so that those runs are repeated."""
    for run in load_runs(folder):
        if run.status in RETRIED:  # how often it was tried stands beside its checkpoints
            run_file(folder, run.id, run.seed).unlink()


# runs under way


@contextmanager
def locked(folder: Path, id: str) -> Iterator[None]:
    """Lock a case, so that no two processes compute its runs at the same time."""
    from filelock import FileLock  # not before it is needed: it takes a while

    place = folder / LOCKS
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / key(id)):
        yield


def place(folder: Path, id: str, seed: int) -> Path:
    """Return where a run under way has its checkpoints."""
    return folder / "checkpoints" / key(id) / str(seed)


def begin(folder: Path, run: Run) -> Run:
    """Note that a run begins, once more perhaps, and return it with its attempts counted.

    It is contended if any attempt was. What a killed process left half-written is removed.
    """
    file = place(folder, run.id, run.seed) / BEGUN
    for parent in (file.parent, run_file(folder, run.id, run.seed).parent):
        for part in parent.glob(".*"):
            part.unlink()
    if file.exists():
        before = load_run(file)
        contended = run.contended or before.contended
        run = replace(run, attempts=1 + before.attempts, contended=contended)
    write_json(file, result.to_plain(run))
    return run


def forget(folder: Path, id: str, seed: int) -> None:
    """Remove the checkpoints of a run that will not go on; call it while its case is locked."""
    checkpoints = place(folder, id, seed)
    shutil.rmtree(checkpoints, ignore_errors=True)
    with suppress(OSError):  # other runs of the case have some
        checkpoints.parent.rmdir()


def tidy(folder: Path) -> None:
    """Remove the folder of checkpoints if nothing is under way."""
    with suppress(OSError):
        (folder / "checkpoints").rmdir()


def give_up(folder: Path, id: str, reason: str) -> None:
    """Store the runs of a case that began and did not end as crashed."""
    with locked(folder, id):
        for file in (folder / "checkpoints" / key(id)).glob(f"*/{BEGUN}"):
            run = load_run(file)
            if not run_file(folder, id, run.seed).exists():
                save_run(folder, replace(run, reason=reason), {}, [])


def save_environment(
    folder: Path, facts: Mapping[str, Any], datasets: Mapping[str, Any]
) -> None:
    """Write the machine's facts, and add datasets to those already known.

    Processes of one sweep may open different datasets at the same time.
    """
    path = folder / ENVIRONMENT
    with locked(folder, ENVIRONMENT):
        known = read_json(path)["datasets"] if path.exists() else {}
        write_json(path, {"schema": SCHEMA, **facts, "datasets": {**known, **datasets}})


def load_environment(folder: Path) -> dict[str, Any]:
    """Read the machine's facts; empty where no run got so far."""
    return read_json(folder / ENVIRONMENT) if (folder / ENVIRONMENT).exists() else {}
