"""Records that were written before schema 2, read as if they were of today.

They can be reported; a training is not resumed from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_amlnn.result import task_to_plain
from pytest_amlnn.tasks.classification import CLASSIFICATION
from pytest_amlnn.tasks.forecast import FORECAST

TASKS = {task.name: task for task in (CLASSIFICATION, FORECAST)}
LISTING = ("size", "label", "family", "profile", "repeats", "reference")


def upgrade(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run of schema 1 in today's form; raises KeyError where a field is missing."""
    case = plain["case"]
    steps = "steps" if str(case["label"]).endswith("-steps") else ""
    training = {name: value for name, value in case.items() if name not in LISTING}
    training["start"] = training.pop("init")
    classes = plain["data"].get("classes")
    return {
        **plain,
        "case": {
            **{name: case[name] for name in LISTING},
            "variant": steps,
            "group": f"{case['family']} {case['dataset']} {case['size']}",
            "training": training,
        },
        "task": task_to_plain(TASKS[case["task"]]),
        "epochs": [without_nothing(epoch) for epoch in plain["epochs"]],
        "baselines": {"chance": 1 / len(classes)} if classes else {},
    }


def without_nothing(epoch: Mapping[str, Any]) -> dict[str, Any]:
    """Return an epoch without the accuracies that a forecast does not have."""
    return {
        name: value
        for name, value in epoch.items()
        if value is not None or not name.endswith("_accuracy")
    }
