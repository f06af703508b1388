"""Tasks that others bring: each in one file, without a change to this package."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from forked_workers import fork_workers

from pytest_amlnn.answers import load_answers

OUTSIDE = Path(__file__).parent / "outside"
LONGEST = 80
"""Lines of a task with its data, net and case."""
BENCHMARK = '''
import pytest
from {name} import CASES


@pytest.mark.parametrize("case", CASES, ids=str)
def test_own(case, train, gate):
    """Training ends within the limits."""
    verdict = gate(train(case))

    assert verdict.passed, verdict.message
'''
TASKS = {
    "table_regression": ("test_r2", 0.7, "R²"),
    "token_sequences": ("test_accuracy", 0.9, "accuracy %"),
    "segmentation": ("test_pixels", 0.9, "pixels %"),
}
"""By file, its metric, what it reaches, and the head of its column."""


@pytest.fixture(params=TASKS)
def task(request, pytester) -> str:
    """A repository of somebody else with one of the tasks."""
    for file in OUTSIDE.glob("*.py"):
        shutil.copy(file, pytester.path)
    pytester.makepyfile(test_own=BENCHMARK.format(name=request.param))
    pytester.makeini("[pytest]\naddopts = -p no:cacheprovider\n")
    pytester.syspathinsert(pytester.path)
    return request.param


def summary(pytester: pytest.Pytester, out: str = "out") -> dict:
    return json.loads((pytester.path / out / "summary.json").read_text())


def limit(pytester: pytest.Pytester, metric: str, bound: float) -> str:
    """Write a file of limits, and return the option that names it."""
    (case,) = [*(pytester.path / "out" / "runs").glob("*")]
    id = case.name.replace("test_own_", "test_own[") + "]"
    text = f'[quick."{id}"]\n{metric} = {{ at_least = {bound} }}\n'
    (pytester.path / "gates.toml").write_text(text)
    return "--amlnn-gates=gates.toml"


def measured(plain: dict) -> dict:
    """Return what a machine has no say in."""
    (case,) = plain["cases"]
    return {
        name: metric["runs"]
        for name, metric in case["metrics"].items()
        if "second" not in name and "memory" not in name
    }


def test_task_from_outside_is_trained_and_reported(task, pytester):
    """It learns; table and summary show its own metric; its answers can be read back."""
    metric, reached, head = TASKS[task]
    result = pytester.runpytest_inprocess("--amlnn-out=out", "--amlnn-device=cpu")
    (case,) = summary(pytester)["cases"]
    names, answers = load_answers(pytester.path / "out", case["id"], 0)

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"*{head}*"])
    assert min(case["metrics"][metric]["runs"]) > reached
    assert {len(names)} == {len(array) for array in answers.values()}


@pytest.mark.slow
def test_limits_hold_on_a_metric_from_outside(task, pytester):
    """A limit on its own metric turns the case red, and is refused where it is misspelt."""
    metric, _, _ = TASKS[task]
    pytester.runpytest_inprocess("--amlnn-out=out")
    red = pytester.runpytest_inprocess("--amlnn-out=red", limit(pytester, metric, 0.9999999))
    wrong = pytester.runpytest_inprocess("--amlnn-out=no", limit(pytester, f"{metric}x", 0.5))

    red.assert_outcomes(failed=1)
    red.stdout.fnmatch_lines([f"*regressed: {metric} is *, needs at least *gates.toml:2*"])
    assert wrong.ret == pytest.ExitCode.USAGE_ERROR
    wrong.stderr.fnmatch_lines([f"*unknown metric '{metric}x'*did you mean '{metric}'*"])


@pytest.mark.slow
@pytest.mark.xdist
def test_task_from_outside_gives_the_same_bits_in_workers(task, pytester, monkeypatch):
    """With -n 2 the numbers are those of a plain run."""
    fork_workers(monkeypatch)
    pytester.runpytest_inprocess("--amlnn-out=out")
    parallel = pytester.runpytest_inprocess("--amlnn-out=two", "-n", "2")

    parallel.assert_outcomes(passed=1)
    assert measured(summary(pytester, "two")) == measured(summary(pytester))


def test_task_from_outside_is_resumed(task, pytester):
    """A run that is there is kept, one that is gone is trained again, in the same bits."""
    pytester.runpytest_inprocess("--amlnn-out=out")
    before = measured(summary(pytester))
    (lost,) = (pytester.path / "out" / "runs").glob("*/1.json")
    lost.unlink()
    result = pytester.runpytest_inprocess("--amlnn-out=out", "--amlnn-resume")

    result.assert_outcomes(passed=1)
    assert measured(summary(pytester)) == before


@pytest.mark.parametrize("name", TASKS)
def test_task_from_outside_is_short(name):
    """A task with its data, net and case is a file of at most 80 lines."""
    assert len((OUTSIDE / f"{name}.py").read_text().splitlines()) <= LONGEST
