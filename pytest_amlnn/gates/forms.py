"""The forms of what results are compared with: baseline.json and summary.json."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from pytest_amlnn.record_forms import Name, Number, Seed, Text


class Trace(Struct, forbid_unknown_fields=True):
    """What tells whether two runs have the same bits."""

    epochs: list[Name]
    end: Name
    identity: Name


class Measured(Struct, forbid_unknown_fields=True):
    """What a case reached in a baseline."""

    id: Text
    task: Name
    init: Name
    dataset: Name
    seeds: Annotated[list[Seed], Meta(min_length=1)]
    values: dict[Name, list[Number | None]]
    metric: dict[str, Any]
    trouble: Text
    digests: list[Name | None]
    machines: list[Name]
    contended: bool
    training: dict[str, Any] | None
    traces: list[Trace]
    right: Annotated[Text, Meta(pattern="^([0-9]{1,9}:([0-9a-f]{2})*)?$")]


class Baseline(Struct):
    """baseline.json."""

    schema: int
    cases: dict[Text, Measured]


class SummaryMetric(Struct):
    """A metric of a case in summary.json."""

    runs: list[Number | None]


class SummaryCase(Struct):
    """A case in summary.json."""

    id: Text
    task: Name
    init: Name
    dataset: Name
    status: Name
    seeds: Annotated[list[Seed], Meta(min_length=1)]
    metrics: dict[Name, SummaryMetric]
    contended: bool
    judged_by: dict[str, Any] | None = None
    digests: list[Name | None] | None = None


class Summary(Struct):
    """summary.json, of schema 1 or 2."""

    schema: int
    profile: Name
    environment: dict[str, Any]
    cases: list[SummaryCase]
