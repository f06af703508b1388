"""amlnn: reports and datasets, without a pytest run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

from pytest_amlnn.data import DataError
from pytest_amlnn.download import DownloadError
from pytest_amlnn.store import StoreError

FETCHERS = "pytest_amlnn.fetch"
"""Entry point group: each a function of an optional URL that returns where the data are."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 1 after saying on stderr what went wrong."""
    parsed = parser().parse_args(arguments)
    try:
        print(parsed.command(parsed))
    except (DataError, DownloadError, StoreError) as error:
        print(f"amlnn: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(prog="amlnn", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    reporting = commands.add_parser("report", help="render the reports of a run directory anew")
    reporting.add_argument("folder", type=Path, metavar="DIR")
    reporting.set_defaults(command=render)
    fetching = commands.add_parser("fetch", help="download a dataset into the user's cache")
    fetching.add_argument("name", choices=sorted(entry_points(group=FETCHERS).names))
    fetching.add_argument("--url", help="fetch it from there instead")
    fetching.set_defaults(command=fetch)
    return top


def render(parsed: argparse.Namespace) -> str:
    """Write the reports into the run directory, and return the readable one."""
    from pytest_amlnn import report
    from pytest_amlnn.report.markdown import text

    return text(report.write(parsed.folder))


def fetch(parsed: argparse.Namespace) -> str:
    """Download a dataset; return where it is."""
    (fetcher,) = entry_points(group=FETCHERS, name=parsed.name)
    return str(fetcher.load()(parsed.url))
