"""What the plugin knows while pytest runs: one object in pytest's stash."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_amlnn.gate import Limit
from pytest_amlnn.options import Options


@dataclass(kw_only=True)
class Session:
    """One pytest run, or one worker's part of it."""

    options: Options
    limits: tuple[Limit, ...]
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By test function, the case of each id that it has in this profile."""
    nodes: dict[str, list[str]] = field(default_factory=dict)
    """By case key, the items that bear it; a run directory can hold only one."""
    trouble: str = ""
    """Why there is no report."""
    signals: list[int] | None = None
    """Those that ended pytest; a list once handlers are set."""
    crashes: Counter[str] | None = None
    """By node id, how many workers died with it; counted once a parallel sweep is planned."""
    sweep: Any = None
    """What was reported, a `report.Sweep`; None where nothing was."""


KEY = pytest.StashKey[Session]()


def session_of(config: pytest.Config) -> Session:
    """Return what is known of this pytest run; there once it is configured."""
    return config.stash[KEY]
