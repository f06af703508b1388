"""`amlnn ab BASE [HEAD]`: two commits, trained in turns on one machine, and judged as pairs."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pytest_amlnn import disk, store
from pytest_amlnn.gates.commits import (
    SideError,
    checked_out,
    commit_of,
    environment_of,
    top_folder,
)

SIDES = ("base", "head")
TURNS = "turns.json"
MOST = 2**20
"""Bytes of it."""
PAIRS = 10
"""Seeds that each case is trained with on both sides unless --amlnn-repeats says."""
OF_BOTH = ("--amlnn-data", "--amlnn-weights")
"""Options whose files are the same for both sides, wherever they lie."""
ENDED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
"""Exit statuses of a pytest that ran its tests: what failed stands in the records."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is trained on both sides; kept in the folder, so that it can be resumed."""

    base: str
    head: str
    """Commits, by their full names."""
    arguments: tuple[str, ...]
    """Of pytest, without those that say which seeds."""
    seed: int
    pairs: int
    done: tuple[str, ...] = field(default=(), compare=False)
    """Turns that have ended, as `base-3`."""

    @property
    def turns(self) -> list[tuple[str, int]]:
        """Sides and seeds in their order: A B B A, so that a drift of the machine cancels."""
        found = []
        for number in range(self.pairs):
            sides = SIDES if number % 2 == 0 else SIDES[::-1]
            found += [(side, self.seed + number) for side in sides]
        return found


# what is compared


def plan_of(base: str, head: str, arguments: Sequence[str]) -> Plan:
    """Return what is to be trained; raises SideError for what is no commit."""
    ours = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    ours.add_argument("--amlnn-seed", type=int, default=0)
    ours.add_argument("--amlnn-repeats", type=int, default=PAIRS)
    known, rest = ours.parse_known_args([a for a in arguments if a != "--"])
    taken = [a for a in rest if a.startswith(("--amlnn-out", "--amlnn-resume"))]
    if taken:
        raise SideError(f"{taken[0]}: each side has its own run directory below --out")
    if known.amlnn_repeats < 1:
        raise SideError("--amlnn-repeats needs a whole number from 1 up")
    commits = commit_of(base), commit_of(head)
    top = str(top_folder())
    fixed = [
        argument
        for before, argument in pairwise(["", *rest])
        if (argument == top or f"{top}{os.sep}" in argument)
        and not (before in OF_BOTH or argument.startswith(OF_BOTH))
    ]
    if fixed:
        raise SideError(
            f"{fixed[0]}: names a place in the working tree, which is on neither side: name it"
            " from where you start, without the folders above"
        )
    return Plan(
        base=commits[0],
        head=commits[1],
        arguments=tuple(rest),
        seed=known.amlnn_seed,
        pairs=known.amlnn_repeats,
    )


# training in turns


@contextmanager
def ended_like_an_interrupt() -> Iterator[None]:
    """Have SIGTERM end a comparison as Ctrl-C does: with nothing left behind."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def train(plan: Plan, out: Path, *, resume: bool) -> None:
    """Train both sides in turns, each into its run directory below `out`.

    Raises SideError where a side cannot be trained, StoreError for a folder of another
    comparison, KeyboardInterrupt once what runs has ended.
    """
    plan = resumed(plan, out, resume=resume)
    save(plan, out)
    left = [turn for turn in plan.turns if name_of(turn) not in plan.done]
    if not left:
        return
    top = top_folder()
    below = Path.cwd().relative_to(top) if Path.cwd().is_relative_to(top) else Path()
    with checked_out({side: getattr(plan, side) for side in SIDES}) as trees:
        environments = {side: environment_of(tree, top) for side, tree in trees.items()}
        for number, (side, seed) in enumerate(left):
            print(
                f"turn {len(plan.done) + number + 1} of {len(plan.turns)}: {side}"
                f" {getattr(plan, side)[:12]}, seed {seed}",
                flush=True,
            )
            run(plan, trees[side] / below, environments[side], out / side, seed)
            done = (*plan.done, *(name_of(turn) for turn in left[: number + 1]))
            save(Plan(**{**asdict(plan), "done": done}), out)


def name_of(turn: tuple[str, int]) -> str:
    """Return the name of a turn."""
    return f"{turn[0]}-{turn[1]}"


def resumed(plan: Plan, out: Path, *, resume: bool) -> Plan:
    """Return the plan with the turns that have ended, if a comparison is resumed."""
    file = out / TURNS
    if not file.exists():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise SideError(f"--out {out} holds something else: name a new folder")
        if resume:
            raise SideError(f"--resume: {out} holds no comparison to go on with")
        return plan
    if not resume:
        raise SideError(f"--out {out} holds a comparison: resume it with --resume")
    try:
        plain: dict[str, Any] = json.loads(disk.read(file, MOST))
        lists = {name: tuple(plain[name]) for name in ("arguments", "done")}
        earlier = Plan(**{**plain, **lists})
    except (ValueError, TypeError, KeyError, disk.DiskError) as error:
        raise SideError(f"{file} cannot be read: {error}") from error
    if earlier != plan:
        raise SideError(
            f"--out {out} holds a comparison of {earlier.base[:12]} and {earlier.head[:12]}"
            f" with pytest {' '.join(earlier.arguments)}, seeds {earlier.seed} and on, in"
            f" {earlier.pairs} pairs: resume it with these"
        )
    return earlier


def save(plan: Plan, out: Path) -> None:
    """Keep what is trained, and which turns have ended."""
    store.write_json(out / TURNS, asdict(plan))


def run(plan: Plan, folder: Path, environment: Mapping[str, str], out: Path, seed: int) -> None:
    """Run pytest for one seed on one side."""
    if not folder.is_dir():
        raise SideError(f"{folder.name} is not in both commits: start from another folder")
    options = [f"--amlnn-out={out.absolute()}", "--amlnn-resume", "--amlnn-gate=off"]
    options += [f"--amlnn-seed={seed}", "--amlnn-repeats=1"]
    options += [f"--junitxml={outcomes_of(out.parent, out.name, seed).absolute()}"]
    command = [sys.executable, "-m", "pytest", "-q", *plan.arguments, *options]
    log = out.with_name(f"{out.name}.log")
    out.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=stream, stderr=subprocess.STDOUT
        )
        try:
            status = process.wait()
        except KeyboardInterrupt:  # the terminal told it, too; it writes its report
            end(process)
            raise
    if status not in ENDED:
        said = log.read_text(errors="replace").strip().splitlines()[-15:]
        raise SideError(
            f"pytest ended with status {status} on the side {out.name} ({log}):\n"
            + "\n".join(said)
        )


def outcomes_of(out: Path, side: str, seed: int) -> Path:
    """Return where a turn's tests and their outcomes are listed."""
    return out / "turns" / f"{side}-{seed}.xml"


def end(process: subprocess.Popen[bytes]) -> None:
    """End a pytest that runs, and wait for it."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(1)  # a terminal's Ctrl-C is for all
        return
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)
        return
    process.kill()
    process.wait()


def default_out() -> Path:
    """Return the folder of a comparison where none is named."""
    from datetime import UTC, datetime

    return Path(".amlnn") / f"ab-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}"


def newest() -> Path | None:
    """Return the newest comparison, to resume."""
    return max((file.parent for file in Path(".amlnn").glob(f"ab-*/{TURNS}")), default=None)
