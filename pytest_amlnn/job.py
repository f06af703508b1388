"""What an engine is given: the runs of a case, as a value that can be sent to any process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_amlnn.case import Case
from pytest_amlnn.data import Data, DataError, Source, Weights

if TYPE_CHECKING:
    from pytest_amlnn.options import Options


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
    wait: bool = True
    """Whether to wait for cores or a GPU that another training has; else it is contended."""

    def __getstate__(self) -> dict[str, Any]:
        """Refuse to be sent where its data cannot go; raises DataError."""
        if not isinstance(self.data, Source) or self.data.open is None:
            raise DataError(
                f"{self.id}: its data are given as a function, which stays in this process;"
                " give the case a Source that names an importable function"
            )
        return vars(self)


def job_of(
    case: Case, data: Data | None, weights: Weights | None, name: str, options: Options
) -> Job:
    """Return what an engine is given: by default the case's own data, where they lie here."""
    own = case.training.data
    return Job(
        case=case,
        id=name,
        seeds=tuple(options.seeds_of(case.repeats)),
        data=own.at(options.data.get(own.name)) if data is None else data,
        out=options.out,
        device=options.device,
        facts={"profile": options.profile, "engine": "inline"},
        weights=weights,
        contended=int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1,
        wait=options.wait,
    )
