"""The forms of what a run directory holds: fields, types and bounds, as msgspec checks them.

Fields that stand in no form may be there as well, unless it forbids them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from pytest_amlnn.result import STATUSES

LONGEST_TEXT = 2**16
LARGEST_NUMBER = 1e300
"""Leaves room for sums and per cent."""

Name = Annotated[str, Meta(max_length=1000)]
Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]
Number = Annotated[float, Meta(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)]
Moderate = Annotated[float, Meta(ge=-1e100, le=1e100)]
"""Of what is squared."""
Positive = Annotated[float, Meta(ge=0, le=LARGEST_NUMBER)]
Count = Annotated[int, Meta(ge=0, lt=2**53)]
Times = Annotated[int, Meta(ge=1, lt=2**31)]
Seed = Annotated[int, Meta(ge=0, lt=2**32)]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Limit(Struct, forbid_unknown_fields=True):
    """Bounds on a metric of a case."""

    case: Text
    metric: Name
    at_least: Number | None = None
    at_most: Number | None = None
    exactly: Number | None = None
    reference: Moderate | None = None
    margin: Moderate | None = None
    told_by: Times | None = None
    sd: Moderate | None = None
    sd_machines: Moderate | None = None
    n: Times | None = None
    range: tuple[Number, Number] | None = None
    where: Text = ""


class Calibration(Struct, forbid_unknown_fields=True):
    """The runs that the limits of a case come from."""

    task: Name
    init: Name
    dataset: Name
    digests: dict[Name, Name]
    machines: Annotated[list[Name], Meta(max_length=100)]
    seeds: list[list[Seed]]
    runs: dict[Name, list[list[Moderate]]]
    constants: dict[Name, Moderate]
    training: dict[str, Any]


class PlannedCase(Struct):
    """A case that was collected."""

    id: Text
    nodeid: Text
    skip: Text | None
    seeds: list[Seed]
    repeats: Times | None = None
    base: Text | None = None


class PlannedOptions(Struct):
    """What the command line said."""

    profile: Name
    data: dict[str, Text] | None = None
    device: Name = ""
    seed: Seed = 0
    repeats: Times | None = None
    gate: Name = ""
    strict: bool = False
    baseline: Text | None = None
    max_repeats: Times | None = None


class Commit(Struct):
    """What pytest-benchmark says of the repository."""

    id: Text | None = None
    time: Text | None = None
    author_time: Text | None = None
    dirty: bool | None = None
    project: Text | None = None
    branch: Text | None = None


class Plan(Struct):
    """plan.json."""

    schema: int
    options: PlannedOptions
    limits: list[Limit]
    cases: list[PlannedCase]
    commit: Commit
    costs: dict[str, Positive] = {}
    calibrations: dict[Text, Calibration] = {}
    begun: Name | None = None


class Packages(Struct):
    """Versions of what every report names."""

    torch: Name | None
    timm: Name | None


class Machine(Struct, kw_only=True):
    """What is said of a machine, as far as it is."""

    platform: Name = ""
    device: Name = ""
    threads: Count | None = None
    cuda: Name | None = None
    cpu_capability: Name | None = None


class Environment(Machine, kw_only=True):
    """environment.json."""

    schema: int
    python: Name
    packages: Packages
    processor: Name
    cores: Count | None
    accelerator: Name | None
    datasets: dict[Name, dict[str, Any]]
    profile: Name = ""
    engine: Name = ""


class RunEnvironment(Machine, kw_only=True):
    """What is compared of the machine when a run is resumed."""

    packages: dict[str, Name | None] = {}
    python: Name = ""
    processor: Name = ""
    cores: Count | None = None
    accelerator: Name | None = None


class Training(Struct):
    """What a report says of what was trained."""

    model: Name
    start: Name
    task: Name
    dataset: Name


class Improvement(Struct):
    """What a case changes, and of which one."""

    name: Name
    base: Text
    advice: Text = ""
    search: dict[str, Any] | None = None


class Case(Struct):
    """How a training is listed."""

    size: Count
    label: Text
    family: Name
    profile: Name
    variant: Name
    group: Text
    repeats: Count
    reference: dict[Name, Number]
    training: Training
    improvement: Improvement | None = None


Described = Annotated[list[dict[str, Any]], Meta(max_length=200)]
"""By a task. Each costs a cell in each row of a report."""


class Task(Struct, forbid_unknown_fields=True):
    """Metrics and columns, each checked by itself."""

    metrics: Described
    columns: Described


class Steps(Struct):
    """What every record says of an epoch's steps."""

    learning_rate: Positive | None
    gradient_norm: Positive | None
    steps: Count


class Epoch(Steps):
    """One epoch; all other fields are `Scores`."""

    seconds: dict[Name, Positive]


Scores = dict[Name, Number | None]
Part = Literal["prepare", "build", "compile", "train", "evaluate", "checkpoint"]


class EpochSeconds(Struct):
    """Of a training that goes on: the rest of its time is counted from these."""

    train: Positive
    evaluate: Positive


class CheckpointEpoch(Steps):
    """An epoch to go on from: none is saved whose loss is no finite number."""

    seconds: EpochSeconds
    train_loss: Number
    val_loss: Number


class Checkpoint(Struct, forbid_unknown_fields=True):
    """What a checkpoint holds besides tensors; its epochs are those of a run."""

    schema: int
    identity: dict[str, Any]
    epochs: Annotated[list[CheckpointEpoch], Meta(min_length=1)]
    parts: dict[Part, Positive]
    peak_memory_bytes: Count | None
    start: Scores


class Search(Struct, forbid_unknown_fields=True):
    """How a number of a recipe is found; `search.Search` has the bounds."""

    method: Name
    low: Number
    high: Number
    field: Name
    trials: Times
    seed: Seed
    repeats: Times


class Trial(Struct, forbid_unknown_fields=True):
    """What was tried for it."""

    value: Positive | None
    loss: Number | None
    status: Literal[STATUSES]  # type: ignore[valid-type]
    seeds: Annotated[list[Seed], Meta(min_length=1)]
    seconds: Positive
    curve: list[tuple[Positive, Number]]


class SearchRecord(Struct, forbid_unknown_fields=True):
    """searches/<case>.json."""

    schema: int
    id: Text
    search: Search
    identity: dict[str, Any]
    trials: list[Trial]
    found: Positive | None


class RunRecord(Struct, forbid_unknown_fields=True):
    """runs/<case>/<seed>.json and begun.json; its fields are those of `Run`."""

    id: Text
    seed: Seed
    case: Case
    task: Task
    status: Literal[STATUSES]  # type: ignore[valid-type]
    reason: Text
    epochs: list[Epoch]
    best_epoch: Times | None
    metrics: Scores
    parts: dict[Name, Positive]
    data: dict[str, Any]
    init: Name
    precision: Name
    environment: RunEnvironment
    calibration_seconds: Positive | None
    contended: bool
    schema: int
    answers: Digest | None = None
    baselines: Scores = {}
    weights: dict[str, Text | None] = {}
    together: Times = 1
    attempts: Times = 1
