"""What a metric is: its name, its better side, its unit, how it is shown and what it means.

A task names its own metrics (`pytest_amlnn.tasks`); those that every run has stand here. Values
alone, so that a run's record can hold them and a report needs no code of the task.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pytest_amlnn.fields import NAME, Bound, check_fields


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number that a run is measured by."""

    name: str
    """In summary.json, in files of limits, and as pytest-benchmark's extra info."""
    better: Literal["higher", "lower", "neither"]
    unit: str = ""
    share: bool = False
    """Lies in 0..1; shown in per cent."""
    of_examples: bool = False
    """A share of the test examples: one run's value has Wilson's interval over them."""
    of_machine: bool = False
    """Depends on the machine, too: not judged where the run was contended."""
    positive: bool = False
    """Cannot lie below 0, and neither can its interval."""
    head: str = ""
    """Heading of its column in the comparison; without one it has no column there."""
    format: str = "{:.4g}"
    """Shows the value, of a share in per cent."""
    interval: bool = False
    """Show the interval in the column, too."""
    essential: bool = False
    """Keep the column where a terminal is too narrow for all."""
    optional: bool = False
    """Not every finished run has it: a row without it is blank, not a dash."""
    sentence: str = ""
    """What it means, for the notes below the tables."""
    matters: float | None = None
    """The change that matters; none named: a point of a share, a fiftieth of anything else."""

    @property
    def of_clock(self) -> bool:
        """Whether it depends on what else the machine does: all of it but memory."""
        return self.of_machine and self.unit != "bytes"

    def __post_init__(self) -> None:
        """Refuse what no report can show."""
        check_fields(self, f"metric {self.name}", BOUNDS)


def change_that_matters(metric: Metric, reference: float) -> float:
    """Return the smallest drop of a metric that anybody would act on."""
    if metric.matters is not None:
        return metric.matters
    return 0.01 if metric.share else abs(reference) * (0.1 if metric.of_machine else 0.02)


def whole_value(metric: Metric, reference: float) -> float:
    """Return the drop that leaves nothing of a metric: no margin is as large."""
    return abs(reference) if metric.share or metric.positive else math.inf


@dataclass(frozen=True, kw_only=True)
class Paired:
    """A column that compares two metrics of the same run, seed by seed.

    Their ratio is above 1, and their difference above 0, where `metric` is the better one.
    """

    metric: str
    other: str
    by: Literal["difference", "ratio"]
    head: str
    format: str = "{:.3f}"
    share: bool = False
    """Both are shares: their difference is shown in points of 100."""
    ranked: bool = False
    """Say `better`, `worse` or `not distinguishable`, as the interval tells."""
    essential: bool = False
    """Keep the column where a terminal is too narrow for all."""
    optional: bool = False
    """Blank where a run lacks either."""
    sentence: str = ""

    def __post_init__(self) -> None:
        """Refuse what no report can show."""
        check_fields(self, f"column {self.head}", BOUNDS)


def shows_numbers(text: str) -> bool:
    """Return whether a format shows one number."""
    try:
        return text.format(1.5) != text
    except Exception:  # str.format has many
        return False


BOUNDS: dict[str, Bound] = {
    **dict.fromkeys(("name", "metric", "other"), NAME),
    "format": ("a format of one number, as {:.3f}", shows_numbers),
}


Column = Metric | Paired

COMMON = (
    Metric(name="epochs", better="neither", head="epochs", format="{:.3g}"),
    Metric(
        name="train_seconds",
        better="lower",
        unit="s",
        of_machine=True,
        positive=True,
        head="train s",
        format="{:.1f}",
        interval=True,
        sentence="Training seconds count forward, backward and optimizer steps, with the making"
        " of their batches.",
    ),
    Metric(name="wall_seconds", better="lower", unit="s", of_machine=True, positive=True),
    Metric(name="seconds_per_step", better="lower", unit="s", of_machine=True, positive=True),
    Metric(
        name="samples_per_second",
        better="higher",
        unit="1/s",
        of_machine=True,
        positive=True,
        head="samples/s",
        format="{:,.0f}",
    ),
    Metric(name="steps_per_epoch", better="neither", positive=True),
    Metric(
        name="parameters", better="neither", positive=True, head="parameters", format="{:,.0f}"
    ),
    Metric(name="flops_per_sample", better="lower", unit="operations", positive=True),
    Metric(
        name="peak_memory_bytes", better="lower", unit="bytes", of_machine=True, positive=True
    ),
)
"""Of every run, whatever its task."""
