"""amlnn: reports and datasets, without a pytest run."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from shutil import get_terminal_size
from typing import Any, TextIO

from pytest_amlnn.disk import DiskError
from pytest_amlnn.errors import UserError
from pytest_amlnn.escapes import lines_for_terminal

FETCHERS = "pytest_amlnn.fetch"
"""Entry point group: each a function of names and an optional URL that returns the places."""


SWEEP = "run directory or summary.json"
INTERRUPTED = 130
"""Exit status, as a shell gives it after Ctrl-C."""
HISTORY = Path(".amlnn/history")
WIDEST = 10_000
"""Columns of characters, where no terminal limits them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; what went wrong is said on stderr."""
    given = [*(sys.argv[1:] if arguments is None else arguments)]
    cut = given.index("--") if "--" in given else len(given)
    parsed = parser().parse_args(given[:cut])
    parsed.rest = given[cut + 1 :]
    if parsed.rest and parsed.command is not ab:
        parser().error(f"nothing may follow --: {' '.join(parsed.rest)}")
    try:
        status, trouble = parsed.command(parsed)
    except UserError as error:
        status, trouble = parsed.failed, str(error)
    except KeyboardInterrupt:
        status, trouble = INTERRUPTED, "interrupted"
    if trouble:
        with suppress(DiskError):  # there is nowhere else to say it
            say(f"amlnn: {trouble}", sys.stderr)
    return int(status)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(prog="amlnn", description=__doc__)
    top.set_defaults(failed=1)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    add_reports(commands)
    comparing = commands.add_parser(
        "compare",
        help="judge sweep B by sweep A: exit 1 where it is worse, or better than chance allows",
    )
    comparing.add_argument("before", type=Path, metavar="A", help=SWEEP)
    comparing.add_argument("now", type=Path, metavar="B", help=SWEEP)
    comparing.add_argument("--strict", action="store_true", help="exit 3 where it is undecided")
    comparing.set_defaults(command=compare, failed=2)
    calibrating = commands.add_parser(
        "calibrate", help="write limits from the runs of sweeps with many seeds"
    )
    calibrating.add_argument("folders", type=Path, nargs="+", metavar="DIR")
    calibrating.add_argument(
        "--out", type=Path, metavar="FILE", help="file of limits to update"
    )
    calibrating.add_argument(
        "--metric", action="append", default=[], help="besides the first one of each task"
    )
    calibrating.set_defaults(command=calibrate)
    pairing = commands.add_parser(
        "ab",
        help="train two commits in turns on this machine, and judge accuracy and time as pairs",
        usage="amlnn ab BASE [HEAD] [--out DIR] [--resume] [--strict] -- PYTEST ARGUMENTS",
    )
    pairing.add_argument("base", metavar="BASE", help="a commit")
    pairing.add_argument("head", metavar="HEAD", nargs="?", default="HEAD", help="another")
    pairing.add_argument("--out", type=Path, metavar="DIR", help="folder of both sides")
    pairing.add_argument("--resume", action="store_true", help="go on after an interrupt")
    pairing.add_argument("--strict", action="store_true", help="exit 3 where it is undecided")
    pairing.set_defaults(command=ab, failed=2)
    fetching = commands.add_parser("fetch", help="download data or weights into a cache")
    fetching.add_argument("name", choices=sorted(entry_points(group=FETCHERS).names))
    fetching.add_argument("names", nargs="*", metavar="MODEL", help="of weights: whose")
    fetching.add_argument("--url", help="fetch it from there instead")
    fetching.add_argument(
        "--verify", action="store_true", help="read every byte of what is there, too"
    )
    fetching.set_defaults(command=fetch)
    return top


def add_reports(commands: Any) -> None:
    """Add the commands that tell of sweeps that are there."""
    reporting = commands.add_parser(
        "report",
        help="render the reports of a run directory anew; of several: how cases went over time",
    )
    reporting.add_argument("folders", type=Path, nargs="+", metavar="DIR")
    reporting.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"folder of what several sweeps give, by default {HISTORY}",
    )
    reporting.set_defaults(command=render)
    listing = commands.add_parser("list", help="say what sweeps there are")
    listing.add_argument(
        "folder",
        type=Path,
        nargs="?",
        metavar="DIR",
        help="look there, too, not only in .amlnn",
    )
    listing.add_argument("--json", action="store_true", help="print them for other programs")
    listing.set_defaults(command=list_sweeps)


def render(parsed: argparse.Namespace) -> tuple[int, str]:
    """Write the reports into the run directory, print the readable one; say what is missing."""
    from pytest_amlnn import report
    from pytest_amlnn.report.text import plain

    if len(parsed.folders) > 1:
        return render_history(parsed.folders, parsed.out or HISTORY)
    if parsed.out:
        return 1, "--out is for several run directories; one has its reports in it"
    sweep = report.write(parsed.folders[0])
    if sys.stdout is not None:
        text = plain(sweep, columns(), encoding_of(sys.stdout))
        say(f"{text}\nreport: {parsed.folders[0] / 'report.html'} and report.md", sys.stdout)
    troubles = (
        f"{len(sweep.missing)} cases are not complete" if sweep.missing else "",
        f"not every record can be read: {sweep.unreadable[0]}" if sweep.unreadable else "",
    )
    trouble = "; ".join(filter(None, troubles))
    return int(bool(trouble)), trouble


def render_history(folders: Sequence[Path], out: Path) -> tuple[int, str]:
    """Write how the cases of several sweeps went over time, print it, and say where it is."""
    from pytest_amlnn.report import history_tables, moments

    read = moments.read_all(folders)
    file, text = history_tables.write(read, out, columns(), encoding_of(sys.stdout))
    say(f"{text}\nwritten to {file} and history.md", sys.stdout)
    unread = [moment.name for moment in read if moment.sweep.unreadable]
    return int(bool(unread)), f"not every record can be read: {unread[0]}" if unread else ""


def list_sweeps(parsed: argparse.Namespace) -> tuple[int, str]:
    """Print which sweeps there are, or how to make one."""
    from pytest_amlnn.report import listing

    found = listing.found_in(parsed.folder)
    as_text = listing.as_json if parsed.json else listing.text_of
    say(as_text(found, columns(), encoding_of(sys.stdout)), sys.stdout)
    return 0, ""


def compare(parsed: argparse.Namespace) -> tuple[int, str]:
    """Print how each case of B stands against that of A."""
    from pytest_amlnn.gates import compare as comparing

    found = comparing.compare(parsed.before, parsed.now)
    names = (str(parsed.before), str(parsed.now))
    say(comparing.text_of(found, names, columns(), encoding_of(sys.stdout)), sys.stdout)
    return found.status(strict=parsed.strict), ""


def calibrate(parsed: argparse.Namespace) -> tuple[int, str]:
    """Write limits into a file, or print them; say on stderr what they are."""
    from pytest_amlnn.gates import calibrate as calibrating
    from pytest_amlnn.gates import limits_file

    profile, found = calibrating.calibrate(parsed.folders, parsed.metric)
    if parsed.out is None:
        say(limits_file.text_of(profile, found), sys.stdout)
        said = [line for one in found for line in one.words]
    else:
        said = limits_file.write(parsed.out, profile, found)
    say("\n".join(said), sys.stderr)
    return 0, ""


def ab(parsed: argparse.Namespace) -> tuple[int, str]:
    """Train two commits in turns, and print how they stand against each other."""
    from pytest_amlnn.gates import commits, compare, sides, times
    from pytest_amlnn.gates import side_by_side as turns
    from pytest_amlnn.report import ci

    out = parsed.out or (turns.newest() if parsed.resume else None) or turns.default_out()
    plan = turns.plan_of(parsed.base, parsed.head, parsed.rest)
    say("\n".join(f"note: {note}" for note in commits.notes(plan.base, plan.head)), sys.stderr)
    try:
        with turns.ended_like_an_interrupt():
            turns.train(plan, out, resume=parsed.resume)
    except KeyboardInterrupt:
        place = shlex.quote(str(out))
        return INTERRUPTED, f"interrupted; go on with --resume --out {place}, before the --"
    found = sides.compare_sides(out, plan)
    text = sides.text_of_sides(found, plan, columns(), encoding_of(sys.stdout))
    say(text, sys.stdout)
    say(ci.append_summary(f"````text\n{text}\n````"), sys.stderr)
    sides.save(found, plan, out)
    status = found.compared.status(strict=parsed.strict)
    if times.slower(found.times):
        return compare.WORSE, ""
    open_ = parsed.strict and (times.undecided(found.times) or found.notes)
    return (compare.OPEN if open_ and status == compare.DECIDED else status), ""


def columns() -> int:
    """Return how many columns of characters there are to print in."""
    at_terminal = sys.stdout is not None and sys.stdout.isatty()
    return get_terminal_size().columns if at_terminal else WIDEST


def encoding_of(stream: TextIO | None) -> str:
    """Return the encoding of a stream."""
    return (stream.encoding if stream else None) or "utf-8"


def fetch(parsed: argparse.Namespace) -> tuple[int, str]:
    """Download, and print where it is."""
    (fetcher,) = entry_points(group=FETCHERS, name=parsed.name)
    options = {"verify": True} if parsed.verify else {}
    for place in fetcher.load()(*parsed.names, url=parsed.url, **options):
        say(str(place), sys.stdout)
    return 0, ""


def say(text: str, stream: TextIO | None) -> None:
    """Print lines of text, whatever they hold; what the stream cannot encode is an escape.

    Who closed the stream wants no text. Raises DiskError where there is no room for it.
    """
    if stream is None or not text:
        return
    try:
        print(lines_for_terminal(text, stream.encoding or "utf-8"), file=stream, flush=True)
    except OSError as error:
        # what is left of it would be an error again when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if not isinstance(error, BrokenPipeError):
            raise DiskError(f"{stream.name} cannot be written to: {error.strerror}") from error
