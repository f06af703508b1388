"""amlnn: reports and datasets, without a pytest run."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from shutil import get_terminal_size
from typing import TextIO

from pytest_amlnn.disk import DiskError
from pytest_amlnn.errors import UserError
from pytest_amlnn.escapes import lines_for_terminal

FETCHERS = "pytest_amlnn.fetch"
"""Entry point group: each a function of names and an optional URL that returns the places."""


WIDEST = 10_000
"""Columns of characters, where no terminal limits them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 1 after saying on stderr what went wrong."""
    parsed = parser().parse_args(arguments)
    try:
        trouble: str = parsed.command(parsed)
    except UserError as error:
        trouble = str(error)
    if trouble:
        with suppress(DiskError):  # there is nowhere else to say it
            say(f"amlnn: {trouble}", sys.stderr)
    return 1 if trouble else 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(prog="amlnn", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    reporting = commands.add_parser("report", help="render the reports of a run directory anew")
    reporting.add_argument("folder", type=Path, metavar="DIR")
    reporting.set_defaults(command=render)
    fetching = commands.add_parser("fetch", help="download data or weights into a cache")
    fetching.add_argument("name", choices=sorted(entry_points(group=FETCHERS).names))
    fetching.add_argument("names", nargs="*", metavar="MODEL", help="of weights: whose")
    fetching.add_argument("--url", help="fetch it from there instead")
    fetching.add_argument(
        "--verify", action="store_true", help="read every byte of what is there, too"
    )
    fetching.set_defaults(command=fetch)
    return top


def render(parsed: argparse.Namespace) -> str:
    """Write the reports into the run directory, print the readable one; say what is missing."""
    from pytest_amlnn import report
    from pytest_amlnn.report.text import plain

    sweep = report.write(parsed.folder)
    if sys.stdout is not None:
        width = get_terminal_size().columns if sys.stdout.isatty() else WIDEST
        say(plain(sweep, width, sys.stdout.encoding or "utf-8"), sys.stdout)
    troubles = (
        f"{len(sweep.missing)} cases are not complete" if sweep.missing else "",
        f"not every record can be read: {sweep.unreadable[0]}" if sweep.unreadable else "",
    )
    return "; ".join(filter(None, troubles))


def fetch(parsed: argparse.Namespace) -> str:
    """Download, and print where it is."""
    (fetcher,) = entry_points(group=FETCHERS, name=parsed.name)
    options = {"verify": True} if parsed.verify else {}
    for place in fetcher.load()(*parsed.names, url=parsed.url, **options):
        say(str(place), sys.stdout)
    return ""


def say(text: str, stream: TextIO | None) -> None:
    """Print lines of text, whatever they hold; what the stream cannot encode is an escape.

    Who closed the stream wants no text. Raises DiskError where there is no room for it.
    """
    if stream is None:
        return
    try:
        print(lines_for_terminal(text, stream.encoding or "utf-8"), file=stream, flush=True)
    except OSError as error:
        # what is left of it would be an error again when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if not isinstance(error, BrokenPipeError):
            raise DiskError(f"{stream.name} cannot be written to: {error.strerror}") from error
