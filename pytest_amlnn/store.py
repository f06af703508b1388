"""The run directory: the only truth, from which every report follows.

    plan.json                   what was collected, with options and skip reasons (`plans.py`)
    environment.json            versions, machine, datasets
    runs/<case key>/<seed>.json one run that ended; beside it `<seed>.safetensors`
                                with what the net said of each test example
    checkpoints/<case key>/<seed>/
                                a run under way, and the record that is left if it dies
    searches/<case key>.json    what was tried for a number that is searched (`trials.py`)
    heartbeats/                 how far each worker is (`heartbeats.py`)

Every file is written whole: a reader sees the old one or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_amlnn import disk, result
from pytest_amlnn.disk import DiskError, below, remove_parts, write
from pytest_amlnn.disk import StoreError as StoreError
from pytest_amlnn.escapes import for_json, visible
from pytest_amlnn.identity import changes_in_words
from pytest_amlnn.result import SCHEMA, Run

if TYPE_CHECKING:
    import numpy as np

ENVIRONMENT, BEGUN = "environment.json", "begun.json"
LOCKS, HEARTBEATS, SEARCHES = ".locks", "heartbeats", "searches"
RETRIED = ("crashed", "oom")
"""Statuses that the machine is to blame for, not the training."""
LONGEST_KEY, LONGEST_REASON = 200, 10_000
"""In characters; file systems take names of 255 bytes."""
MOST_RUNS = 100_000  # that are read of a run directory


def key(case_id: str) -> str:
    """Return the case id made safe as a file name.

    A digest of the id tells apart what is cut, or differs in other characters than brackets.
    """
    id = as_stored(case_id)
    safe = plain_key(id)
    if 0 < len(safe) <= LONGEST_KEY and safe == re.sub(r"\[(.+)\]$", r"_\1", id):
        return safe
    digest = hashlib.sha256(id.encode()).hexdigest()[:12]
    return f"{safe[: LONGEST_KEY - 13]}-{digest}".lstrip("-_.")


def plain_key(case_id: str) -> str:
    """Return the key that earlier schemas gave every case, however long or alike."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", case_id).strip("_.")


# files

LONE = re.compile("[\ud800-\udfff]")
"""Half of a surrogate pair: how Python holds a byte that is no text."""


def as_json(plain: object) -> str:
    """Return plain data as JSON; bytes that are no text stand there as `\\udcff` does here.

    Raises ValueError for a number that JSON cannot hold.
    """
    text = json.dumps(plain, indent=1, allow_nan=False, ensure_ascii=False)
    return for_json(LONE.sub(lambda found: f"\\{visible(found[0])}", text))


def as_stored(plain: Any) -> Any:
    """Return plain data as they are read back once they were stored."""
    return json.loads(as_json(plain))


def write_json(path: Path, plain: object) -> None:
    """Write plain data; a number that JSON cannot hold raises ValueError."""
    write(path, as_json(plain).encode() + b"\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote; StoreError where it is not there or damaged."""
    from pytest_amlnn import records  # not before something is read: it takes a while

    return records.read_json(path)


def refuse_unless_same(file: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse a stored file unless it is of the training at hand.

    Both are identities as plain data, with the file's `schema`. Raises StoreError.
    """
    if then["schema"] != now["schema"]:
        raise StoreError(f"{file} {other_schema(then['schema'], file.parent)}")
    if changed := changes_in_words(as_stored(then), as_stored(now)):
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
    """Return where a run that ended is described; DiskError where a link leads there."""
    return below(folder, "runs", key(id)) / f"{seed}.json"


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
        run = replace(run, answers=hashlib.sha256(content).hexdigest())
    write_json(file, result.to_plain(replace(run, reason=run.reason[:LONGEST_REASON])))


def load_runs(folder: Path) -> list[Run]:
    """Read all runs that ended, in order of case and seed; StoreError where one is damaged."""
    runs, unreadable = read_runs(folder)
    if unreadable:
        raise StoreError(unreadable[0])
    return runs


def read_runs(folder: Path) -> tuple[list[Run], list[str]]:
    """Read all runs that ended, in order of case and seed, and say which cannot be read."""
    runs, unreadable = list[Run](), list[str]()
    files = run_files(folder, unreadable)
    for file in islice(files, MOST_RUNS):
        try:
            runs.append(load_run(file))
        except (StoreError, DiskError) as error:
            unreadable.append(str(error))
    if next(files, None):
        unreadable.append(f"{folder / 'runs'} holds more than {MOST_RUNS:,} records")
    return sorted(runs, key=lambda run: (run.id, run.seed)), sorted(unreadable)


def run_files(folder: Path, unreadable: list[str]) -> Iterator[Path]:
    """Yield the records of runs that ended, and add to a list what is none in their place."""
    place = folder / "runs"
    for case in names_in(folder, "runs", unreadable) if os.path.lexists(place) else []:
        names = names_in(place, case, unreadable)
        for name in [name for name in names if re.fullmatch(r"[^.].*\.json", name, re.DOTALL)]:
            if re.fullmatch(r"\d{1,10}\.json", name, re.ASCII):
                yield place / case / name
            else:
                unreadable.append(visible(f"{place / case / name} is not named by a seed"))


def names_in(folder: Path, name: str, unreadable: list[str]) -> list[str]:
    """Return what lies in a folder that no link leads to; add to a list what is none."""
    try:
        return sorted(path.name for path in below(folder, name).iterdir())
    except DiskError as error:
        unreadable.append(str(error))
    except OSError as error:
        unreadable.append(visible(f"{folder / name} cannot be read: {error.strerror}"))
    return []


def load_run(file: Path) -> Run:
    """Read one run, that ended or began; StoreError where it is damaged or of another place.

    Whatever reads it may write and remove where its id and seed say: they are those of the
    file's name and folder.
    """
    from pytest_amlnn import records  # not before something is read: it takes a while

    named = file.parent if file.name == BEGUN else file.with_suffix("")
    below(named.parents[2], *named.parts[-3:-1])
    try:
        run = records.read_run(file)
        if named.name != str(run.seed):
            raise StoreError(f"{file} is of another seed: {run.seed}")
        if named.parent.name not in (key(run.id), plain_key(run.id)):
            raise StoreError(f"{file} is of another case: {run.id[:200]}")
    except StoreError as error:
        raise StoreError(f"{error}; remove it to have it trained afresh") from error
    return run


def forget_crashed(folder: Path) -> None:
    """Delete crashed and out-of-memory records so that those runs are repeated."""
    for run in read_runs(folder)[0]:
        if run.status in RETRIED:  # how often it was tried stands beside its checkpoints
            run_file(folder, run.id, run.seed).unlink()


# runs under way


@contextmanager
def locked(folder: Path, id: str) -> Iterator[None]:
    """Lock a case, so that no two processes compute its runs at the same time."""
    with disk.lock(below(folder, LOCKS) / key(id)):
        yield


def place(folder: Path, id: str, seed: int) -> Path:
    """Return where a run under way has its checkpoints; DiskError where a link leads there."""
    return below(folder, "checkpoints", key(id), str(seed))


def begin(folder: Path, run: Run) -> Run:
    """Note that a run begins, once more perhaps, and return it with its attempts counted.

    It is contended if any attempt was. What a killed process left half-written is removed.
    Raises StoreError for what could be written and not be read: a metric's format, say.
    """
    from pytest_amlnn import records  # not before something is trained: it takes a while

    file = place(folder, run.id, run.seed) / BEGUN
    for parent in (file.parent, run_file(folder, run.id, run.seed).parent):
        remove_parts(parent)
    if file.exists():
        before = load_run(file)
        contended = run.contended or before.contended
        run = replace(run, attempts=1 + before.attempts, contended=contended)
    plain, what = as_stored(result.to_plain(run)), f"{file} cannot be written"
    records.refuse_unbounded(plain, what)  # now: after the training is too late
    records.refuse_unless_run(plain, what)
    write_json(file, plain)
    return run


def forget(folder: Path, id: str, seed: int) -> None:
    """Remove the checkpoints of a run that will not go on; call it while its case is locked."""
    checkpoints = place(folder, id, seed)
    shutil.rmtree(checkpoints, ignore_errors=True)
    with suppress(OSError):  # other runs of the case have some
        checkpoints.parent.rmdir()


def tidy(folder: Path) -> None:
    """Remove heartbeats, and the folder of checkpoints if nothing is under way."""
    shutil.rmtree(folder / HEARTBEATS, ignore_errors=True)  # no link is followed
    with suppress(OSError):
        (folder / "checkpoints").rmdir()


def give_up(folder: Path, id: str, reason: str) -> None:
    """Store the runs of a case that began and did not end as crashed."""
    with locked(folder, id):
        for file in below(folder, "checkpoints", key(id)).glob(f"*/{BEGUN}"):
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
        known = load_environment(folder).get("datasets", {})
        write_json(path, {"schema": SCHEMA, **facts, "datasets": {**known, **datasets}})


def load_environment(folder: Path) -> dict[str, Any]:
    """Read the machine's facts; empty where no run got so far."""
    from pytest_amlnn import records  # not before something is read: it takes a while

    path = folder / ENVIRONMENT
    return records.read_environment(path) if os.path.lexists(path) else {}
