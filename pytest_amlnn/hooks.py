"""Hooks that a conftest.py may implement to tell the plugin of its datasets."""

from __future__ import annotations

import pytest

from pytest_amlnn.case import Case
from pytest_amlnn.options import Options


def pytest_amlnn_check(options: Options) -> None:
    """Check the data that the options name; raise DataError where they cannot be used.

    Called once benchmarks are about to run, in each process that may run one; the error
    ends pytest with its message and exit status 4::

        def pytest_amlnn_check(options):
            place = options.data.get("tiles")
            if place and not Path(place).exists():
                raise DataError(f"--amlnn-data tiles={place}: no such file")
    """


@pytest.hookspec(firstresult=True)
def pytest_amlnn_unavailable(case: Case, options: Options) -> str | None:
    """Return why a case cannot run on this machine, with the command that mends it.

    None lets it run. Called at collection for every case, in every process, so it must
    be quick and answer alike everywhere; a conftest.py is asked for what lies below it::

        def pytest_amlnn_unavailable(case, options):
            if case.training.data.name == "tiles" and not TILES.exists():
                return "tiles are not on this machine; `make tiles` gets them"
    """
