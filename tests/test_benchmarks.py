"""The benchmarks of this repository, run as their users run them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import amlnn_models
from amlnn_datasets import shapes
from pytest_amlnn import discover
from pytest_amlnn.case import select
from pytest_amlnn.gates import limits
from pytest_amlnn.statistics import wilson

ROOT = Path(__file__).parent.parent
LIMITS = {
    (limit.case, limit.metric): limit
    for limit in limits.load(ROOT / "benchmarks" / "gates.toml", "quick").limits
}
QUICK = [
    case
    for family in ("cnn", "rnn")
    for case in select(discover(amlnn_models), family=family, profile="quick", named=())[0]
]
"""What is collected where no data are named."""


@pytest.fixture
def pytest_run(zygote, tmp_path) -> Callable[..., tuple[int, str]]:
    """Run pytest on this repository's benchmarks in a process of its own."""

    def run(*arguments: str) -> tuple[int, str]:
        given = ("benchmarks", "-p", "no:cacheprovider", *arguments)
        return zygote.pytest(*given, folder=ROOT, output=tmp_path / "output.txt")

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (("-k", "cnn"), 16),
        (("-k", "rnn"), 16),
        (("--amlnn-profile=seed", "-k", "resnetv2_50 and random and 10k"), 1),
        (("--amlnn-profile=lab", "-k", "cnn and random"), 8),
        (("--amlnn-profile=full", "-k", "cnn and random"), 32),
        (("--amlnn-profile=full", "-k", "cnn and imagenet"), 32),
        (("--amlnn-profile=full", "-k", "rnn"), 288),
    ],
)
def test_families_and_cases_are_selected_by_name(pytest_run, arguments, count):
    """-k picks a family or one case, in every profile."""
    _, shown = pytest_run("--collect-only", "-q", *arguments)

    assert len([line for line in shown.splitlines() if "::test_" in line]) == count


@pytest.mark.slow
def test_pictures_are_skipped_with_the_command_that_gets_them(pytest_run):
    """Without Tiny ImageNet, the seed profile's nets are skipped and say how to get it."""
    status, shown = pytest_run("--amlnn-profile=seed", "-k", "cnn and vgg11")

    assert status == 0
    assert "amlnn fetch tiny-imagenet" in shown


@pytest.mark.parametrize("case", QUICK, ids=str)
def test_every_case_has_a_limit(case):
    """`pytest benchmarks` is a gate on every case, on its accuracy or its efficiency."""
    metric = "test_accuracy" if case.family == "cnn" else "efficiency"

    assert (f"test_{case.family}[{case}]", metric) in LIMITS


@pytest.mark.parametrize("case", [c for c in QUICK if c.family == "cnn"], ids=str)
def test_net_at_chance_is_not_green(case):
    """At both sizes each net's limit lies above chance, beyond its interval."""
    classes = int(case.training.data.arguments["classes"])
    _, high = wilson(1 / classes, classes * shapes.TEST_PER_CLASS)

    assert LIMITS[f"test_cnn[{case}]", "test_accuracy"].at_least > high


@pytest.mark.slow
def test_logistic_regression_stays_below_a_small_net():
    """Pixels do not tell the classes linearly: the limit of resnetv2_18 is out of reach."""
    splits = shapes.splits(size=600, classes=10, validation=10)

    def pixels(split: object) -> torch.Tensor:
        small = split.inputs.reshape(-1, 32, 2, 32, 2, 3).mean((2, 4))
        return torch.from_numpy(small.reshape(len(small), -1) / 127.5 - 1).float()

    torch.manual_seed(0)
    net = torch.nn.Linear(32 * 32 * 3, 10)
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=100)
    inputs, labels = pixels(splits.train), torch.from_numpy(splits.train.targets)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        penalty = 0.01 * net.weight.square().sum()
        total = torch.nn.functional.cross_entropy(net(inputs), labels) + penalty
        total.backward()
        return total

    optimizer.step(loss)
    predicted = net(pixels(splits.test)).argmax(1).numpy()
    _, high = wilson(float(np.mean(predicted == splits.test.targets)), len(predicted))

    assert high < LIMITS["test_cnn[resnetv2_18-random-shapes-600]", "test_accuracy"].at_least


@pytest.mark.slow
def test_suite_is_green_as_it_is(pytest_run, tmp_path):
    """One case of each family keeps its limits, and the report is complete."""
    status, shown = pytest_run(
        "-k", "resnetv2_18 and 600 or lstm-3000", f"--amlnn-out={tmp_path / 'out'}"
    )
    plain = json.loads((tmp_path / "out" / "summary.json").read_text())

    assert status == 0, shown
    assert {case["gate"]["verdict"] for case in plain["cases"]} == {"passed"}
    assert len(plain["cases"]) == 2


@pytest.mark.slow
def test_broken_recipes_turn_the_suite_red(pytest_run, tmp_path):
    """With learning rates of 0, cases of both families fail with case and numbers."""
    status, shown = pytest_run(
        "-p",
        "broken_recipes",
        "-k",
        "resnetv2_18-random-shapes-600 or lstm-1000",
        f"--amlnn-out={tmp_path / 'out'}",
    )

    assert status == 1
    assert "test_cnn[resnetv2_18-random-shapes-600]: regressed: test_accuracy is" in shown
    assert "test_rnn[lstm-1000]: regressed: efficiency is" in shown


@pytest.mark.slow
def test_quick_profile_trains_on_the_real_archive(pytest_run, real_archive, tmp_path):
    """With --amlnn-data the ids, the record and the pictures are Tiny ImageNet's."""
    status, shown = pytest_run(
        "-k",
        "efficientnet_lite0 and 200",
        f"--amlnn-data={real_archive}",
        f"--amlnn-out={tmp_path / 'out'}",
    )
    plain = json.loads((tmp_path / "out" / "summary.json").read_text())
    (case,) = plain["cases"]

    assert status == 0, shown
    assert case["id"] == "test_cnn[efficientnet_lite0-random-200]"
    assert case["dataset"] == "tiny-imagenet"
    assert plain["environment"]["datasets"]["tiny-imagenet"]["counts"]["test"] > 0
    assert "shapes" not in json.dumps(plain)
