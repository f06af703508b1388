"""Render docs/example-report.html: `python tests/example_report.py`.

Its record, tests/data/example.tar.xz, is the run directory that `pytest benchmarks` left on two
cores of an AMD EPYC; a new one is packed by `tar cJf` of plan.json, environment.json and runs.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
from pathlib import Path

from pytest_amlnn.report import page
from pytest_amlnn.report.sweep import read

RECORD = Path(__file__).parent / "data" / "example.tar.xz"
EXAMPLE = Path(__file__).parents[1] / "docs" / "example-report.html"


def unpacked(folder: Path) -> Path:
    """Unpack the record into a folder."""
    with tarfile.open(RECORD) as archive:
        archive.extractall(folder, filter="data")
    return folder


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        EXAMPLE.write_text(page.html(read(unpacked(Path(folder)))), encoding="utf-8")
    sys.stdout.write(f"{EXAMPLE}\n")
