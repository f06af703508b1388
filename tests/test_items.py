"""Every shape that a test can have: where its case comes from, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sweeps import BENCHMARKS

HEAD = """
import pytest
from small_cases import small_case, squares

CASES = [small_case(label, epochs=1) for label in ("one", "two")]
"""
SHAPES = {
    "another name": """
@pytest.mark.parametrize("net", CASES, ids=str)
def test_it(net, train): train(net, squares())
""",
    "a fixture with parameters": """
@pytest.fixture(params=CASES, ids=str)
def net(request): return request.param

def test_it(net, train): train(net, squares())
""",
    "a fixture": """
@pytest.fixture
def case(): return CASES[0]

def test_it(case, train): train(case, squares())
""",
    "a class": """
class TestNets:
    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_it(self, case, train): train(case, squares())
""",
    "the body": """
def test_it(train): train(CASES[0], squares())
""",
    "the body, by a parameter": """
@pytest.mark.parametrize("number", [0, 1])
def test_it(number, train): train(CASES[number], squares())
""",
    "a fixture that trains": """
@pytest.fixture
def result(train): return train(CASES[0], squares())

def test_it(result): assert result.status == "finished"
""",
    "a fixture that is asked for as the test runs": """
def test_it(request): request.getfixturevalue("train")(CASES[0], squares())
""",
}


def written(folder: Path, name: str) -> dict:
    """Return one of a run directory's files."""
    return json.loads((folder / "out" / name).read_text())


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_test_is_planned_and_complete(run, benchmarks, shape):
    """Wherever a case comes from, all of its seeds are planned, trained and reported."""
    benchmarks.makepyfile(test_small=HEAD + SHAPES[shape])
    result = run()
    plan, summary = (written(benchmarks.path, name) for name in ("plan.json", "summary.json"))

    assert result.ret == 0
    assert result.parseoutcomes().keys() - {"warnings"} == {"passed"}
    assert {tuple(case["seeds"]) for case in plan["cases"]} == {(0, 1)}
    assert [case["id"] for case in summary["cases"]] == [case["id"] for case in plan["cases"]]
    assert summary["missing"] == []


JUDGED = {
    "test_it[one]": """
@pytest.mark.parametrize("net", CASES, ids=str)
def test_it(net, train, gate): assert gate(train(net, squares())).passed
""",
    "test_it": """
def test_it(train, gate): assert gate(train(CASES[0], squares())).passed
""",
    "test_result": """
@pytest.fixture
def result(train): return train(CASES[0], squares())

def test_result(result, gate): assert gate(result).passed
""",
}


@pytest.mark.parametrize(("bound", "status"), [("9", 0), ("1e-9", 1)])
@pytest.mark.parametrize("id", JUDGED)
def test_limits_hold_on_every_shape_of_test(benchmarks, id, bound, status):
    """A limit on a test's id is known and judged, wherever its case comes from."""
    benchmarks.makepyfile(test_small=HEAD + JUDGED[id])
    limit = f'[quick."{id}"]\ntest_loss = {{ at_most = {bound} }}\n'
    (benchmarks.path / "gates.toml").write_text(limit)
    result = benchmarks.runpytest_inprocess("--amlnn-out=out", "--amlnn-gates=gates.toml")

    assert result.ret == status


@pytest.mark.parametrize(("metric", "near"), [("test_acuracy", "test_accuracy")])
def test_metric_that_a_case_of_the_body_has_not(benchmarks, metric, near):
    """Where collection cannot know the task, the gate names a misspelt metric with its line."""
    text = "\ndef test_it(train, gate): assert gate(train(CASES[0], squares())).passed\n"
    benchmarks.makepyfile(test_small=HEAD + text)
    (benchmarks.path / "gates.toml").write_text(
        f"[quick.test_it]\n{metric} = {{ at_least = 0 }}"
    )
    result = benchmarks.runpytest_inprocess("--amlnn-out=out", "--amlnn-gates=gates.toml")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*gates.toml:2: unknown metric '{metric}'*mean '{near}'?"])


# tests that are not run

UNRUN = {
    "xfail without a run": ("@pytest.mark.xfail(run=False, reason='later')", "", "later"),
    "xfail in the body": ("", "pytest.xfail('later')", "later"),
    "skip in the body": ("", "pytest.skip('later')", "later"),
    "a mark to skip": ("@pytest.mark.skip(reason='later')", "", "later"),
    "a mark to skip, by condition": ("@pytest.mark.skipif(True, reason='later')", "", "later"),
    "another module that is not here": ("", "pytest.importorskip('absent')", "absent"),
    "an expected failure": ("@pytest.mark.xfail(reason='later')", "assert 0", "later"),
    "unittest's skip": ("", "import unittest; raise unittest.SkipTest('later')", "later"),
}


@pytest.mark.parametrize("kind", UNRUN)
def test_case_that_is_not_run_is_not_missing(run, benchmarks, kind):
    """However a test says that it is not run, its case is noted with the reason, and nothing is
    red."""
    mark, body, reason = UNRUN[kind]
    text = f"{mark}\ndef test_it(train):\n    {body}\n    train(CASES[0], squares())\n"
    benchmarks.makepyfile(test_small=HEAD + text)
    result = run()
    (skipped,) = written(benchmarks.path, "summary.json")["skipped"]

    assert result.ret == 0
    assert skipped["id"] == "test_it"
    assert reason in skipped["reason"]


def test_case_that_is_skipped_after_training_is_complete(benchmarks):
    """What was trained is reported as trained, whatever its test does then."""
    text = "def test_it(train):\n    train(CASES[0], squares())\n    pytest.skip('enough')\n"
    benchmarks.makepyfile(test_small=HEAD + text)
    result = benchmarks.runpytest_inprocess("--amlnn-out=out")
    summary = written(benchmarks.path, "summary.json")

    assert result.ret == 0
    assert [case["id"] for case in summary["cases"]] == ["test_it"]
    assert summary["skipped"] == summary["missing"] == []


def test_test_that_never_trains_is_missing(run, benchmarks):
    """A test that asks for `train` and does not call it is no green benchmark."""
    benchmarks.makepyfile(test_small=HEAD + "def test_it(train): pass\n")
    result = run()

    assert result.ret == 1
    assert [case["id"] for case in written(benchmarks.path, "summary.json")["missing"]] == [
        "test_it"
    ]


# tests that are run in unusual ways


@pytest.mark.parametrize(
    "option", ["--benchmark-cprofile=cumtime", "--benchmark-disable", "--benchmark-enable"]
)
def test_target_that_is_called_once_more(benchmarks, option):
    """A profiler that calls pytest-benchmark's target again changes no result."""
    result = benchmarks.runpytest_inprocess("--amlnn-out=out", option)
    summary = written(benchmarks.path, "summary.json")

    result.assert_outcomes(passed=2)
    assert [case["seeds"] for case in summary["cases"]] == [[0, 1], [0, 1]]


REPEATER = """
import pytest

@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc):
    metafunc.fixturenames.append("step")
    metafunc.parametrize("step", range(2))

@pytest.fixture
def step(request): return request.param
"""
LIMITS = """
[quick."test_small[one]"]
test_loss = { at_most = 9 }
[quick."test_small[two]"]
test_loss = { at_most = 9 }
"""


@pytest.mark.slow
def test_plugin_that_repeats_tests(benchmarks):
    """Where a repeater lengthens ids, limits on the plain ones are no mistake, and it is said
    that they are not checked."""
    benchmarks.makepyfile(test_small=BENCHMARKS)
    benchmarks.makeconftest(REPEATER)
    (benchmarks.path / "gates.toml").write_text(LIMITS)
    result = benchmarks.runpytest_inprocess("--amlnn-out=out", "--amlnn-gates=gates.toml")

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["limits not checked*: test_small (2)"])


def test_item_that_a_plugin_runs_again(benchmarks):
    """Run once more, an item finds its result in the run directory and trains nothing."""
    benchmarks.makeconftest(
        "from _pytest.runner import runtestprotocol\n"
        "def pytest_runtest_protocol(item, nextitem):\n"
        "    runtestprotocol(item, nextitem=nextitem, log=False)\n"
    )
    result = benchmarks.runpytest_inprocess("--amlnn-out=out")

    result.assert_outcomes(passed=2)


def test_hooks_of_a_folder_speak_for_that_folder(benchmarks):
    """What a conftest.py says cannot run is skipped below it, and nowhere else."""
    text = (benchmarks.path / "test_small.py").read_text()
    (benchmarks.path / "test_small.py").unlink()
    for name in "ab":
        (benchmarks.path / name).mkdir()
        source = text.replace("test_small", f"test_{name}")
        (benchmarks.path / name / f"test_{name}.py").write_text(source)
    hook = "def pytest_amlnn_unavailable(case, options): return 'not here'\n"
    (benchmarks.path / "a" / "conftest.py").write_text(hook)
    result = benchmarks.runpytest_inprocess("--amlnn-out=out")

    result.assert_outcomes(skipped=2, passed=2)


@pytest.mark.parametrize("assertion", ["gate(result).passed", "gate(result).passed is True"])
def test_summary_line_begins_with_what_missed(run, benchmarks, assertion):
    """pytest's short summary names case, metric, value and bound within 80 columns."""
    text = "def test_it(train, gate):\n    result = train(CASES[0], squares())\n    assert "
    benchmarks.makepyfile(test_small=f"{HEAD}{text}{assertion}\n")
    (benchmarks.path / "gates.toml").write_text("[quick.test_it]\ntest_loss = { at_most = 0 }")
    result = run("--amlnn-gates=gates.toml")

    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [r"FAILED test_small.py::test_it - test_loss is \d\.\d+, needs at most 0$"]
    )


def test_summary_line_of_another_assertion_is_its_own(benchmarks):
    """A test that fails for something else than its limits says what."""
    text = (
        "def test_it(train, gate):\n    gate(train(CASES[0], squares()))\n    assert 1 == 2\n"
    )
    benchmarks.makepyfile(test_small=HEAD + text)
    (benchmarks.path / "gates.toml").write_text("[quick.test_it]\ntest_loss = { at_most = 0 }")
    result = benchmarks.runpytest_inprocess("--amlnn-out=out", "--amlnn-gates=gates.toml")

    result.stdout.fnmatch_lines(["FAILED test_small.py::test_it - assert 1 == 2"])


def test_body_that_trains_another_case_than_its_parameter(benchmarks):
    """What a test trains counts, not what it was parametrized with."""
    text = """
from dataclasses import replace

@pytest.mark.parametrize("case", CASES, ids=str)
def test_it(case, train): train(replace(case, repeats=1), squares())
"""
    benchmarks.makepyfile(test_small=HEAD + text)
    result = benchmarks.runpytest_inprocess("--amlnn-out=out")

    assert result.ret == 0
    assert [case["seeds"] for case in written(benchmarks.path, "plan.json")["cases"]] == [
        [0], [0]
    ]  # fmt: skip


# sweeps that are lost

REMOVER = """
import shutil
from pathlib import Path
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    if not hasattr(session.config, "workerinput"):
        {action}
"""
LOSSES = {
    "the run directory": "shutil.rmtree('out')",
    "its plan": "Path('out/plan.json').unlink()",
    "its runs": "shutil.rmtree('out/runs')",
    "one run": "Path('out/runs/test_small_one/0.json').unlink()",
    "the plan's text": "Path('out/plan.json').write_text('{{}}')",
}


@pytest.mark.parametrize("lost", LOSSES)
def test_sweep_that_is_lost_is_not_green(run, benchmarks, lost):
    """Whatever of a run directory is gone when pytest ends, the run is red and says so."""
    benchmarks.makeconftest(REMOVER.format(action=LOSSES[lost]))
    result = run()

    assert result.parseoutcomes()["passed"] == 2
    assert result.ret == 1
    result.stdout.re_match_lines([r".*(plan\.json|no run ended with seed).*"])


def test_test_that_changes_the_folder(benchmarks):
    """Where files lie does not depend on where a test has gone."""
    (benchmarks.path / "deeper").mkdir()
    text = "def test_it(train, monkeypatch):\n    monkeypatch.chdir('deeper')\n"
    text += "    import os; os.chdir('.'); train(CASES[0], squares())\n"
    text += "def test_left(train):\n    import os; os.chdir('deeper')\n"
    text += "    train(CASES[1], squares())\n"
    benchmarks.makepyfile(test_small=HEAD + text)
    result = benchmarks.runpytest_inprocess("--amlnn-out=out")

    assert result.ret == 0
    assert {path.name for path in (benchmarks.path / "out" / "runs").iterdir()} == {
        "test_it", "test_left"
    }  # fmt: skip
    assert not (benchmarks.path / "deeper" / "out").exists()


def test_cache_stays_where_it_was_when_pytest_started(benchmarks, monkeypatch):
    """A relative AMLNN_CACHE names one folder, wherever a test has gone."""
    (benchmarks.path / "deeper").mkdir()
    monkeypatch.setenv("AMLNN_CACHE", "cache")
    text = """
from pytest_amlnn.cache import cache_folder

def test_it(train, monkeypatch, pytestconfig):
    monkeypatch.chdir("deeper")
    assert cache_folder() == pytestconfig.rootpath / "cache"
    train(CASES[0], squares())
"""
    benchmarks.makepyfile(test_small=HEAD + text)

    benchmarks.runpytest_inprocess("--amlnn-out=out").assert_outcomes(passed=1)


def test_two_sweeps_within_a_second(benchmarks):
    """Two runs of one process, one after the other, have run directories of their own."""
    results = [benchmarks.runpytest_inprocess("--amlnn-repeats=1") for _ in range(2)]

    assert [result.ret for result in results] == [0, 0]
    assert len([*(benchmarks.path / ".amlnn").iterdir()]) == 2


def test_item_may_be_collected_twice(benchmarks):
    """With --keep-duplicates a test is run as often as its file is named, and finds its
    result."""
    file = "test_small.py"
    options = ("--amlnn-out=out", "--amlnn-repeats=1", "--keep-duplicates", "-k", "one")
    result = benchmarks.runpytest_inprocess(*options, file, file)

    result.assert_outcomes(passed=2, deselected=2)


def test_other_fixture_named_benchmark_is_said(benchmarks):
    """Where pytest-benchmark's fixture has been replaced, a benchmark says so."""
    own = "@pytest.fixture\ndef benchmark(): return print\n\n\n@pytest.mark.par"
    benchmarks.makepyfile(test_small=BENCHMARKS.replace("@pytest.mark.par", own))
    result = benchmarks.runpytest_inprocess("--amlnn-out=out", "-p", "no:benchmark")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*pytest-benchmark's fixture `benchmark`*rename it*"])
