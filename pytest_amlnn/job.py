"""What an engine is given: the runs of a case, as a value that can be sent to any process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_amlnn.case import Case
from pytest_amlnn.data import Data, DataError, Source, Weights


@dataclass(frozen=True, kw_only=True)
class Job:
    """Which runs to compute, of what, and where to store them."""

    case: Case
    id: str
    seeds: tuple[int, ...]
    data: Data
    """A `Source`; or a function in a test, and then the job stays in this process."""
    out: Path
    """The run directory."""
    device: str
    """As --amlnn-device says."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What environment.json says besides machine and datasets."""
    weights: Weights | None = None
    contended: bool = False
    """Another run shares the machine."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Refuse to be sent where its data cannot go; raises DataError."""
        if not isinstance(self.data, Source) or self.data.open is None:
            raise DataError(
                f"{self.id}: its data are given as a function, which stays in this process;"
                " give the case a Source that names an importable function"
            )
        return rebuilt, (dict(vars(self)),)


def rebuilt(fields: Mapping[str, Any]) -> Job:
    """Return the job with these fields."""
    return Job(**fields)
