"""Runs and run directories written by hand, for what is computed from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from small_cases import line_case, small_case

from pytest_amlnn import Epoch, Limit, Run, case, data, fields, plans, store
from pytest_amlnn.identity import case_to_plain
from pytest_amlnn.result import task_to_plain

ENVIRONMENT = {
    "python": "3.11.7",
    "platform": "Linux",
    "packages": {"torch": "2.11.0", "timm": "1.0.26"},
    "processor": "A processor",
    "cores": 2,
    "device": "cpu",
    "accelerator": None,
    "threads": 1,
    "profile": "quick",
    "engine": "inline",
}
DATASETS = {
    "squares": {
        "name": "squares",
        "digest": "0123456789abcdef",
        "counts": {"train": 60, "validation": 30, "test": 240},
    }
}
METRICS: dict[str, dict[str, float | None]] = {
    "classification": {
        "test_accuracy": 0.75,
        "test_top5": 0.95,
        "test_loss": 0.5,
        "train_accuracy": 0.8,
        "val_accuracy": 0.7,
    },
    "forecast": {
        "test_mse": 1.5,
        "test_mae": 1.0,
        "test_mase": 0.9,
        "oracle_mse": 1.2,
        "last_value_mse": 3.0,
        "seasonal_naive_mse": 2.5,
        "autoregression_mse": 1.4,
        "efficiency": 0.8,
    },
}
COSTS: dict[str, float | None] = {
    "train_seconds": 2.0,
    "wall_seconds": 3.0,
    "seconds_per_step": 0.01,
    "samples_per_second": 3000.0,
    "epochs": 1,
    "parameters": 579,
    "flops_per_sample": 1152,
    "peak_memory_bytes": None,
}


CASE_FIELDS = {"model", "start", "family", "dataset", "size", "reference", "label", "variant"}


def small_epoch(**changes: object) -> Epoch:
    """Return an epoch; `changes` replace its fields."""
    fields: dict[str, object] = {
        "train": {"loss": 1.0, "accuracy": 0.8},
        "validation": {"loss": 1.1, "accuracy": 0.7},
        "learning_rate": 0.05,
        "gradient_norm": 2.0,
        "steps": 2,
        "seconds": {"train": 2.0, "evaluate": 0.5},
    }
    return Epoch(**{**fields, **changes})


@contextmanager
def unchecked() -> Iterator[None]:
    """Let cases and sources hold whatever they are given."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (case, data, fields):
            patch.setattr(module, "check_field", lambda *_: None)
        yield


def small_run(
    id: str = "test_small[linear]",
    seed: int = 0,
    *,
    task: str = "classification",
    metrics: Mapping[str, float | None] | None = None,
    **changes: object,
) -> Run:
    """Return a run; `metrics` replace some of its own, `changes` fields of it or its case."""
    label = id.partition("[")[2].removesuffix("]")
    of_case = {name: changes.pop(name) for name in [*changes] if name in CASE_FIELDS}
    make = line_case if task == "forecast" else small_case
    with unchecked():  # records of others hold names that no case may have
        made = make(label, **of_case)
    pictures = task == "classification"
    counts = {"train": 60, "validation": 30, "test": 240}
    said = {"name": made.training.data.name, "digest": "0" * 64, "counts": counts}
    record: dict[str, object] = {
        "id": id,
        "seed": seed,
        "case": case_to_plain(made),
        "task": task_to_plain(made.training.task),
        "status": "finished",
        "reason": "the budget of 1 epochs is used up",
        "epochs": (small_epoch(),),
        "best_epoch": 1,
        "metrics": {**METRICS[task], **COSTS, **(metrics or {})},
        "parts": {"prepare": 0.5, "train": 2.0, "evaluate": 0.5},
        "baselines": {"chance": 1 / 3} if pictures else {},
        "data": said | ({"classes": ["a", "b", "c"]} if pictures else {}),
        "init": "random",
        "precision": "float32",
        "environment": {"threads": 1},
        "calibration_seconds": 0.01,
        "contended": False,
    }
    return Run(**{**record, **changes})


def planned(id: str, skip: str | None = None, seeds: Iterable[int] = (0,)) -> dict[str, object]:
    """Return what the plan says of one case."""
    node = f"benchmarks/test_small.py::{id}"
    return {"id": id, "nodeid": node, "skip": skip, "seeds": [*seeds]}


def plan_of(
    cases: Iterable[Mapping[str, object]] = (),
    limits: Iterable[Limit] = (),
    profile: str = "quick",
) -> dict[str, object]:
    """Return a plan."""
    cases = [*cases]
    return {
        "options": {"profile": profile, "data": None, "device": "cpu", "seed": 0},
        "limits": [asdict(limit) for limit in limits],
        "gates": None,
        "costs": {case["nodeid"]: 1.0 for case in cases},
        "commit": {"id": "0" * 40, "dirty": False},
        "cases": cases,
    }


def sweep(
    folder: Path,
    runs: Iterable[Run],
    *,
    limits: Iterable[Limit] = (),
    skipped: Mapping[str, str] | None = None,
    missing: Iterable[str] = (),
    seeds: Iterable[int] = (0,),
    environment: Mapping[str, object] | None = ENVIRONMENT,
) -> Path:
    """Write a run directory; `skipped` holds reasons by case id."""
    runs = list(runs)
    ran = [run.id for run in runs]
    plan = plan_of(
        [planned(id, seeds=seeds) for id in dict.fromkeys([*ran, *missing])]
        + [planned(id, skip) for id, skip in (skipped or {}).items()],
        limits,
    )
    plans.begin(folder, plan, token="small", resume=True)
    for run in runs:
        store.save_run(folder, run, {}, [])
    if environment is not None:
        store.save_environment(folder, environment, DATASETS)
    return folder


def everything(folder: Path) -> list[str]:
    """Give the names of all that lies in a folder, however deep."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
