"""The run directory: the only truth, from which every report follows.

    plan.json                   what was collected, with options and skip reasons
    environment.json            versions, machine, datasets
    runs/<case key>/<seed>.json one run that ended; beside it `<seed>.safetensors`
                                with what the net said of each test example

Every file is written whole: a reader sees the old one or the new one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from pytest_amlnn import result
from pytest_amlnn.disk import write
from pytest_amlnn.result import SCHEMA, Run

if TYPE_CHECKING:
    import numpy as np

PLAN, ENVIRONMENT = "plan.json", "environment.json"


class StoreError(Exception):
    """A run directory that cannot be used; the message names it and says what to do."""


def key(case_id: str) -> str:
    """Return the case id made safe as a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", case_id).strip("_.")


def write_json(path: Path, plain: object) -> None:
    """Write plain data; a number that JSON cannot hold raises ValueError."""
    text = json.dumps(plain, indent=1, allow_nan=False, ensure_ascii=False)
    write(path, text.encode() + b"\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote; StoreError where it is not there or damaged."""
    try:
        plain = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing: {path.parent} is no run directory") from error
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    if not isinstance(plain, dict) or plain.get("schema") != SCHEMA:
        raise StoreError(f"{path} was written by another version of pytest-amlnn")
    return plain


def claim(folder: Path) -> None:
    """Check that a new sweep can be written to a folder, and leave it as it was.

    Raises StoreError where the folder holds another sweep or cannot be written to.
    """
    if (folder / PLAN).exists():
        raise StoreError(
            f"--amlnn-out {folder} holds another sweep; name a new folder, or remove it"
        )
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    probe = folder / f".probe.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StoreError(
            f"--amlnn-out {folder} cannot be written to: {error.strerror}; name another folder"
        ) from error
    finally:
        for path in missing:
            with suppress(OSError):  # never made, or in use by somebody else by now
                path.rmdir()


def save_plan(folder: Path, plan: Mapping[str, Any]) -> None:
    """Write what is going to be run, before any of it is."""
    write_json(folder / PLAN, {"schema": SCHEMA, **plan})


def load_plan(folder: Path) -> dict[str, Any]:
    """Read the plan; StoreError where there is none."""
    return read_json(folder / PLAN)


def save_run(
    folder: Path, run: Run, examples: Mapping[str, np.ndarray], names: Sequence[str]
) -> None:
    """Write a run that ended, and what it said of each test example.

    The JSON comes last: where it stands, all of the run does.
    """
    import numpy as np
    from safetensors.numpy import save

    place = folder / "runs" / key(run.id)
    if examples:
        # safetensors writes an array's memory as it lies, strides or not
        whole = {name: np.ascontiguousarray(array) for name, array in examples.items()}
        content = save(whole, metadata={"names": json.dumps([*names])})
        write(place / f"{run.seed}.safetensors", content)
    write_json(place / f"{run.seed}.json", result.to_plain(run))


def load_runs(folder: Path) -> list[Run]:
    """Read all runs that ended, in order of case and seed."""
    files = sorted(folder.glob("runs/*/*.json"))
    return sorted(map(load_run, files), key=lambda run: (run.id, run.seed))


def load_run(file: Path) -> Run:
    """Read one run; StoreError where it is damaged or of another version."""
    plain = read_json(file)
    try:
        return result.from_plain(plain)
    except (TypeError, KeyError) as error:
        raise StoreError(f"{file} is no run of this version: {error}") from error


def save_environment(
    folder: Path, facts: Mapping[str, Any], datasets: Mapping[str, Any]
) -> None:
    """Write the machine's facts, and add datasets to those already known.

    Processes of one sweep may open different datasets at the same time.
    """
    path = folder / ENVIRONMENT
    with FileLock(folder / ".environment.lock"):
        known = read_json(path)["datasets"] if path.exists() else {}
        write_json(path, {"schema": SCHEMA, **facts, "datasets": {**known, **datasets}})


def load_environment(folder: Path) -> dict[str, Any]:
    """Read the machine's facts; empty where no run got so far."""
    path = folder / ENVIRONMENT
    return read_json(path) if path.exists() else {}
