"""Show how far the workers of pytest-xdist are, and how long the whole sweep takes."""

from __future__ import annotations

import threading
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any

from pytest_amlnn import plans
from pytest_amlnn.errors import UserError
from pytest_amlnn.footer import Footer, PlainLines
from pytest_amlnn.heartbeats import Heartbeat, read_heartbeats
from pytest_amlnn.progress import can_rewrite
from pytest_amlnn.session import Session
from pytest_amlnn.store import as_stored
from pytest_amlnn.time_left import Pace, Planned, clock, planned_runs, seconds_left

SECONDS_OF_SILENCE = 30.0
"""After which a worker that trains is said to be silent; a step of a large net takes a few."""
SECONDS_BETWEEN_RUNS = 5.0
"""That a worker may take from one training to the next."""


@dataclass(kw_only=True)
class Overview:
    """What is known of the workers and of the sweep, as lines of text."""

    out: Path
    sweep: str
    """Tells it from others in this run directory."""
    nodeids: Collection[str]
    """The items that are run."""
    ended: Collection[str]
    """Those that are over."""
    gone: set[str] = field(default_factory=set)
    """Workers that ended."""
    runs: list[Planned] = field(default_factory=list)
    """Of the plan, as it was when it was read last."""
    stamp: int = 0
    """Of the plan's file, then."""
    stored: set[Planned] = field(default_factory=set)
    """Runs that were found to have ended."""

    def lines(self, width: int | None) -> list[str]:
        """Return a line for each worker that trains, and one for the sweep."""
        now, beats = time(), read_heartbeats(self.out, self.sweep)
        here = [beat for beat in beats if beat.worker not in self.gone]
        here.sort(key=lambda beat: (len(beat.worker), beat.worker))
        told = [line for beat in here if (line := worker_line(beat, now, width))]
        ended = sum((beat.ended for beat in beats), Pace())
        return [*told, self.sweep_line(here, ended, now)] if told else []

    def sweep_line(self, here: list[Heartbeat], ended: Pace, now: float) -> str:
        """Say how many runs have ended, and how long the others take."""
        self.read_plan()
        self.stored |= {run for run in self.runs if self.is_over(run)}
        open_runs = [run for run in self.runs if run not in self.stored]
        busy = [each for beat in here if (each := beat.standing) and not each.waiting]
        between = [b for b in here if not b.standing and now - b.written < SECONDS_BETWEEN_RUNS]
        left = {
            (each.id, seed): each.seconds_left
            for each in busy
            for seed in each.seeds
            if each.seconds_left is not None
        }
        seconds = seconds_left(
            [each.seconds_left for each in busy if each.seconds_left is not None],
            [run.cost for run in open_runs if (run.id, run.seed) not in left],
            ended,
            at_once=len(busy) + len(between),
        )
        count = f"{len(self.stored)} of {len(self.runs)} runs ended"
        time_left = "time left unknown" if seconds is None else f"{clock(seconds)} left"
        return f"sweep: {count}, {time_left}"

    def read_plan(self) -> None:
        """Read the plan, if it changed: what a case is may be known only as its test runs."""
        stamp = (self.out / plans.PLAN).stat().st_mtime_ns
        if stamp != self.stamp:
            self.runs = planned_runs(plans.load(self.out), self.nodeids)
            self.stamp = stamp

    def is_over(self, run: Planned) -> bool:
        """Return whether a run has ended, or will not come any more."""
        return run in self.stored or run.nodeid in self.ended or run.is_stored(self.out)


def worker_line(beat: Heartbeat, now: float, width: int | None) -> str:
    """Say how far a worker is; nothing where it does not train."""
    if beat.standing is None:
        return ""
    age = now - beat.written
    silent = age >= SECONDS_OF_SILENCE and not beat.standing.waiting
    more = [f"no word for {age:.0f} s"] if silent else []
    room = None if width is None else width - len(beat.worker) - 1
    return f"{beat.worker} {beat.standing.line(*more, width=room)}"


class Watch:
    """Shows it in a thread, while pytest-xdist waits for its workers."""

    def __init__(self, overview: Overview, terminal: Any) -> None:
        self.overview = overview
        self.display = Footer(terminal) if can_rewrite(terminal) else PlainLines(terminal)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, name="amlnn-watch", daemon=True)
        self.thread.start()

    def run(self) -> None:
        """Show it now and then; where it cannot be shown, nothing is lost."""
        while not self.over.wait(self.display.seconds):
            with suppress(OSError, ValueError, UserError):
                self.display.show(self.overview.lines)

    def end(self) -> None:
        """Leave the terminal to pytest."""
        self.over.set()
        self.thread.join()
        self.display.close()


def watch(session: Session, nodeids: Collection[str], terminal: Any) -> Watch:
    """Begin to show how far the workers are that run these items."""
    overview = Overview(
        out=session.options.out,
        sweep=session.token,
        nodeids={*as_stored([*nodeids])},
        ended=session.ended,
    )
    return Watch(overview, terminal)
