"""A sentence that somebody else wrote of the same models, answered by what was measured."""

from __future__ import annotations

from dataclasses import dataclass

SUPPORTED, CONTRADICTED = "supported", "contradicted"
UNDECIDED, UNTESTED = "not decided", "not tested by this sweep"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of another report, and what was measured of it."""

    text: str
    verdict: str
    """`supported`, `contradicted`, `not decided` or `not tested by this sweep`."""
    why: str
    """The numbers."""
