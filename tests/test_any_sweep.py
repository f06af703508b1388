"""Whatever passes the checks of records is explained, compared and answered, in numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import METRICS, small_run

from pytest_amlnn import Epoch, Run
from pytest_amlnn.disk import StoreError
from pytest_amlnn.improvements import Worth
from pytest_amlnn.records import refuse_unless_run
from pytest_amlnn.report.drawing import Models, own_style
from pytest_amlnn.report.figures import effects
from pytest_amlnn.report.findings import find
from pytest_amlnn.report.improvements import plain as plain_worth
from pytest_amlnn.report.improvements import table_of
from pytest_amlnn.report.text import text_of
from pytest_amlnn.result import epoch_to_plain, from_plain, gather, to_plain

NO_NUMBER = re.compile(r"(?<![\w-])(nan|None|inf)(?![\w-])")
EXTREMES = st.sampled_from([0.0, 1.0, -1.0, 1e300, -1e300, 5e-324])
SHARES = st.none() | st.floats(0, 1) | st.sampled_from([0.0, 1.0])
NUMBERS = st.none() | st.floats(0, 9) | st.floats(-1e300, 1e300) | EXTREMES
POSITIVE = st.none() | st.floats(0, 9) | st.floats(0, 1e300) | st.sampled_from([0.0, 1e300])
EPOCHS = st.builds(
    Epoch,
    train=st.fixed_dictionaries({"loss": NUMBERS}, optional={"accuracy": SHARES}),
    validation=st.fixed_dictionaries({"loss": NUMBERS}, optional={"accuracy": SHARES}),
    gradient_norm=POSITIVE,
    learning_rate=POSITIVE,
    steps=st.integers(0, 2**53 - 1) | st.integers(0, 9),
    seconds=st.just({"train": 1.0, "evaluate": 1.0}),
)
SHARED = ("test_accuracy", "test_top5", "train_accuracy", "val_accuracy", "start_accuracy")
LOSSES = (*METRICS["forecast"], "test_loss", "train_seconds", "flops_per_sample")
METRIC = st.dictionaries(st.sampled_from(SHARED), SHARES, max_size=3)
OTHERS = st.dictionaries(st.sampled_from(LOSSES), POSITIVE, max_size=3)
RECIPES = [
    {},
    {},
    {"epochs": 2},
    {"transforms": None},
    {"transforms": {"crop": None}},
    {"a": {}},
]
DATA = [{}, {"counts": {"test": 0}}, {"counts": {"test": -1}}, {"counts": []}, {"classes": 1}]
RUNS = st.fixed_dictionaries(
    {
        "metrics": st.builds(lambda *parts: {**parts[0], **parts[1]}, METRIC, OTHERS),
        "epochs": st.lists(EPOCHS, max_size=4).map(tuple),
        "best_epoch": st.none() | st.integers(1, 4),
        "status": st.sampled_from(["finished"] * 30 + ["diverged", "implausible", "crashed"]),
        "baselines": st.dictionaries(st.just("chance"), SHARES),
    }
)
CASES = st.fixed_dictionaries(
    {
        "task": st.sampled_from(["classification", "forecast"]),
        "size": st.sampled_from([60, 60, 200, 0]),
        "model": st.sampled_from(["vgg11", "vgg19", "birnn", "gru", "net"]),
        "contended": st.booleans(),
        "data": st.sampled_from(DATA),
        "recipe": st.sampled_from(RECIPES),
        "level": st.floats(0, 0.9),
        "improves": st.none() | st.integers(0, 4),
        "runs": st.lists(RUNS, min_size=1, max_size=4),
    }
)


@cache
def plain_run(task: str, size: int, model: str) -> dict[str, Any]:
    """Return the record of some run, as plain data."""
    return to_plain(small_run(task=task, size=size, model=model))


def records(number: int, case: dict[str, Any]) -> Iterator[Run]:
    """Yield the runs of a case as they are read back, but for those that the checks refuse."""
    for seed, said in enumerate(case["runs"]):
        plain = deepcopy(plain_run(case["task"], case["size"], case["model"]))
        plain |= {"id": f"test_small[{number}]", "seed": seed, "reason": "why"}
        plain |= {name: said[name] for name in ("status", "baselines")}
        plain["epochs"] = [epoch_to_plain(epoch) for epoch in said["epochs"]]
        plain["best_epoch"] = min(said["best_epoch"] or 9, len(said["epochs"])) or None
        level = dict.fromkeys(("test_accuracy", "efficiency"), case["level"] + seed / 1000)
        plain["metrics"] |= {**level, **said["metrics"]}
        plain["case"]["label"] = str(number)
        plain["case"]["training"]["recipe"] |= case["recipe"]
        plain["data"] |= case["data"]
        plain["contended"] = case["contended"]
        if case["improves"] is not None:  # another case, one that there is not, or itself
            base = f"test_small[{case['improves']}]"
            plain["case"]["improvement"] = {"name": "it", "base": base, "advice": "Try it"}
        with suppress(StoreError):
            refuse_unless_run(plain, "made up")
            yield from_plain(plain)


def words_of(worths: Sequence[Worth]) -> Iterator[str]:
    """Yield what table and figure show of improvements, once JSON has them."""
    json.dumps([*map(plain_worth, worths)], allow_nan=False)
    if table := table_of(worths):
        yield table.note
        yield from (text_of(cell) for row in table.rows for cell in row)
    with own_style():
        yield from (figure.words for figure in effects.figures(worths, Models(names=("net",))))


@given(st.lists(CASES, min_size=1, max_size=4))
@settings(max_examples=200)
def test_any_sweep_is_explained(cases):
    """No record that the checks let through stops a report, or shows what is no number."""
    runs = [run for number, case in enumerate(cases) for run in records(number, case)]
    found = find(gather(runs), {}, Path("nowhere"), missing=0)
    lines = [line for one in found.sentences for line in (one.text, *one.evidence)]
    lines += [*found.answer, *(claim.why for claim in found.claims)]
    lines += [line for one in found.advice for line in (*one.measured, one.follows)]
    lines += words_of(found.worths)

    assert [line for line in lines if NO_NUMBER.search(line)] == []
    assert [one for one in found.sentences if not one.evidence] == []
    measured = [one for one in found.sentences if one.rule != "not_alike"]  # it shows settings
    assert [one for one in measured if not re.search(r"\d", str(one.evidence))] == []
