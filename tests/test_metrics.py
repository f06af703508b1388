"""Metrics and columns, as every task has to name them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_amlnn import CLASSIFICATION, FORECAST, Metric, Paired, Task
from pytest_amlnn.metrics import COMMON

RECORD = Path(__file__).parents[1] / "docs" / "record.md"
TASKS = pytest.mark.parametrize("task", [CLASSIFICATION, FORECAST], ids=lambda task: task.name)


def known(task: Task) -> dict[str, Metric]:
    """Give all metrics of a task's runs, by name."""
    return {metric.name: metric for metric in (*task.metrics, *COMMON)}


@TASKS
def test_no_metric_is_named_twice(task):
    """A name in a file of limits means one metric, and a head in a table one column."""
    heads = [column.head for column in (*task.columns, *COMMON) if column.head]

    assert len(known(task)) == len(task.metrics) + len(COMMON)
    assert len({*heads}) == len(heads)


@TASKS
def test_columns_compare_metrics_that_there_are(task):
    """Both sides of a column are metrics of the task, and one of them has a better side."""
    paired = [column for column in task.columns if isinstance(column, Paired)]

    assert paired
    for column in paired:
        assert {column.metric, column.other} <= known(task).keys()
        assert known(task)[column.metric].better == known(task)[column.other].better
        assert known(task)[column.metric].better != "neither"


@TASKS
def test_every_column_has_a_head_and_a_format(task):
    """What stands in a table has a heading, and shows a number as a number."""
    for column in task.columns:
        assert column.head
        assert any(c.isdigit() for c in column.format.format(12.5)), column.head


@TASKS
def test_sentences_are_sentences(task):
    """What explains a column can stand beside the others, below the tables."""
    said = [c.sentence for c in (*task.columns, *COMMON) if c.sentence]

    assert said
    assert [s for s in said if not (s[0].isupper() and s.endswith("."))] == []


@TASKS
def test_every_metric_is_documented(task):
    """docs/record.md tells of each number in summary.json what it is."""
    text = RECORD.read_text(encoding="utf-8")

    assert [name for name in known(task) if f"`{name}`" not in text] == []


def test_memory_and_times_are_the_machines():
    """What another run beside it changes, and no number that training gives."""
    mine = [metric.name for metric in COMMON if metric.of_machine]

    assert mine == [
        "train_seconds",
        "wall_seconds",
        "seconds_per_step",
        "samples_per_second",
        "peak_memory_bytes",
    ]
    assert not [m.name for m in (*CLASSIFICATION.metrics, *FORECAST.metrics) if m.of_machine]
