"""`--amlnn-baseline`, and `--amlnn-max-repeats`: what a sweep is held against as it runs."""

from __future__ import annotations

import json

import pytest

from pytest_amlnn.cli import main

EXIT_FAILED, EXIT_USAGE = 1, 4
LEARNS = '''
import pytest
from small_cases import blind, small_case, squares

CASES = [small_case("one", epochs=12, repeats=3{changes})]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_small(case, train, gate):
    """Training ends within the limits."""
    verdict = gate(train(case, {data}))

    assert verdict.passed, verdict.message
'''
NOISY, BROKEN = "noisy(0.3)", "noisy(0.8)"
HELP = '''
import numpy as np
from dataclasses import replace
from small_cases import squares


def noisy(share):
    """Squares of which each seed has other test labels wrong, and so another accuracy."""

    def splits(seed):
        plain = squares()(seed)
        rng = np.random.default_rng(seed)
        wrong = rng.random(len(plain.test)) < share
        targets = np.where(wrong, rng.integers(0, 3, len(plain.test)), plain.test.targets)
        facts = {**plain.facts, "digest": f"{seed:08}" * 8}
        return replace(plain, test=replace(plain.test, targets=targets), facts=facts)

    return splits
'''


def suite(benchmarks, *, changes: str = "", data: str = "squares()") -> None:
    """Write the suite, with another recipe or other data."""
    text = LEARNS.format(changes=changes, data=data)
    if "noisy" in data:
        text = text.replace("import pytest\n", f"import pytest\n{HELP}\n", 1)
    (benchmarks.path / "test_small.py").write_text(text)


def summary(benchmarks, out: str = "out"):
    """Give the only case of a sweep."""
    (case,) = json.loads((benchmarks.path / out / "summary.json").read_text())["cases"]
    return case


@pytest.fixture
def base(benchmarks):
    """A sweep to compare with, in the folder `base`."""
    suite(benchmarks)
    options = ("--amlnn-gate=off", "--amlnn-device=cpu", "--amlnn-out=base")

    assert benchmarks.runpytest_inprocess(*options).ret == 0
    return benchmarks.path / "base"


def test_same_bits_are_identical(run, benchmarks, base):
    """An unchanged training has the bits of its baseline: nothing is left to chance, and the
    run directory keeps what it was compared with."""
    result = run("--amlnn-baseline=base")
    (limit,) = summary(benchmarks)["gate"]["limits"]

    result.assert_outcomes(passed=1)
    assert summary(benchmarks)["gate"]["verdict"] == limit["verdict"] == "identical"
    result.stdout.fnmatch_lines(["baseline: *base, for 1 of 1 cases"])
    assert limit["where"] == f"--amlnn-baseline {base}"
    base.rename(base.with_name("elsewhere"))
    assert main(["report", str(benchmarks.path / "out")]) == 0
    assert summary(benchmarks)["gate"]["verdict"] == "identical"


def test_worse_than_the_baseline_is_red(run, benchmarks, base):
    """A recipe that learns less is regressed: the failure names metric, both values, the
    changed field; comparisons stand in the summary."""
    suite(benchmarks, changes=", build=blind")
    result = run("--amlnn-baseline=base")
    plain = json.loads((benchmarks.path / "out" / "summary.json").read_text())

    assert result.ret == EXIT_FAILED
    result.stdout.fnmatch_lines(
        [
            "*regressed: test_accuracy is 0.*, reference 1 *changed: build was"
            " small_cases.linear, is small_cases.blind*"
        ]
    )
    assert summary(benchmarks)["gate"]["verdict"] == "regressed"
    assert [found["verdict"] for found in plain["comparisons"]] == ["regressed"]
    assert run("--amlnn-baseline=base", "--amlnn-resume", "--amlnn-gate=report").ret == 0


def test_summary_is_a_baseline(run, benchmarks, base):
    """A summary.json, as one keeps in git, is enough to compare with."""
    suite(benchmarks, changes=", build=blind")
    (benchmarks.path / "old.json").write_text((base / "summary.json").read_text())

    assert run("--amlnn-baseline=old.json").ret == EXIT_FAILED
    assert summary(benchmarks)["gate"]["verdict"] == "regressed"


def spoil_nothing(base) -> str:
    return "nowhere"


def spoil_profile(base) -> str:
    file = base / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"profile": "full"}))
    return "base/summary.json"


def spoil_answers(base) -> str:
    next(base.glob("runs/*/*.safetensors")).unlink()
    return "base"


def spoil_runs(base) -> str:
    for file in base.glob("runs/*/*.json"):
        file.unlink()
    return "base"


def spoil_schema(base) -> str:
    file = base / "plan.json"
    file.write_text(file.read_text().replace('"schema": 3', '"schema": 9'))
    return "base"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_nothing, "there is no such run directory or summary.json"),
        (spoil_profile, "is of the profile full, not quick"),
        (spoil_answers, "*.safetensors is gone: train test_small[[]one] there anew"),
        (spoil_runs, "no case of it has finished"),
        (spoil_schema, "plan.json was written by another version of pytest-amlnn"),
    ],
)
def test_baseline_that_nothing_can_be_compared_with(run, benchmarks, base, spoil, words):
    """It is a usage error that names option, file and what is wrong, before anything trains."""
    place = spoil(base)
    result = run(f"--amlnn-baseline={place}")

    assert result.ret == EXIT_USAGE
    result.stderr.fnmatch_lines([f"*--amlnn-baseline *{words}*"])
    assert not (benchmarks.path / "out").exists()


@pytest.mark.parametrize("name", ["baseline", "gates"])
def test_path_that_is_empty_is_a_usage_error(run, benchmarks, name):
    """A variable that is not set switches no gate off."""
    suite(benchmarks)

    assert run(f"--amlnn-{name}=").ret == EXIT_USAGE


def test_case_whose_test_asks_for_no_gate_is_red(run, benchmarks, base):
    """What the report calls regressed makes pytest end with 1, also where a test trains and
    does not ask for the fixture `gate`."""
    suite(benchmarks, changes=", build=blind")
    head = (benchmarks.path / "test_small.py").read_text().partition("def test_small")[0]
    benchmarks.makepyfile(
        test_small=f"{head}def test_small(case, train):\n    train(case, squares())\n"
    )
    result = run("--amlnn-baseline=base")

    result.assert_outcomes(passed=1)
    assert result.ret == EXIT_FAILED
    result.stdout.fnmatch_lines(["*limits not kept*", "*regressed*", "*no test failed for it*"])


# calibrated limits, and more seeds


@pytest.fixture(scope="session")
def twenty_seeds() -> dict[str, str]:
    """Holds the text of calibrated limits, once a test has trained them."""
    return {}


@pytest.fixture
def calibrated(benchmarks, twenty_seeds):
    """Limits of a net whose accuracy differs by seed, from twenty seeds."""
    suite(benchmarks, data=NOISY)
    file = benchmarks.path / "gates.toml"
    if not twenty_seeds:
        made = benchmarks.runpytest_inprocess(
            "--amlnn-out=many", "--amlnn-repeats=20", "--amlnn-seed=1000", "--amlnn-gate=off"
        )
        made.assert_outcomes(passed=1)
        assert main(["calibrate", str(benchmarks.path / "many"), "--out", str(file)]) == 0
        twenty_seeds["text"] = file.read_text()
    file.write_text(twenty_seeds["text"])
    return file


def test_calibrated_limits_are_kept_and_found_broken(run, benchmarks, calibrated):
    """An unchanged net is not red, and one that does not learn any more is; the failure says
    by how much, with which bounds, and why that may be."""
    option = "--amlnn-gates=gates.toml"
    unchanged = run(option, "--amlnn-repeats=5")
    unchanged.assert_outcomes(passed=1)
    assert summary(benchmarks)["gate"]["verdict"] in ("passed", "inconclusive")

    suite(benchmarks, data=BROKEN)
    broken = run(option, "--amlnn-repeats=5", "--amlnn-out=broken")
    broken.assert_outcomes(failed=1)
    broken.stdout.fnmatch_lines(["*reference 0.*with a margin of*likely cause: *"])
    (limit,) = [
        limit
        for limit in summary(benchmarks, "broken")["gate"]["limits"]
        if limit["metric"] == "test_accuracy"
    ]
    assert limit["verdict"] == "regressed"
    assert limit["high"] < 0 < limit["margin"]


def test_doubt_is_settled_by_more_seeds(run, benchmarks, calibrated):
    """A case that one seed cannot decide trains further ones until it is decided; they are
    planned, stored, and not trained again when the sweep is resumed."""
    suite(benchmarks, data=BROKEN)
    options = ("--amlnn-gates=gates.toml", "--amlnn-repeats=1")
    undecided = run(*options, "--amlnn-out=one")
    undecided.assert_outcomes(passed=1)
    assert summary(benchmarks, "one")["gate"]["verdict"] == "inconclusive"
    undecided.stdout.fnmatch_lines(["*not decided*", "*seeds would decide*"])

    settled = run(*options, "--amlnn-max-repeats=8")
    settled.assert_outcomes(failed=1)
    case = summary(benchmarks)
    plan = json.loads((benchmarks.path / "out" / "plan.json").read_text())["cases"][0]
    assert case["gate"]["verdict"] == "regressed"
    assert case["seeds"] == plan["seeds"] == [*range(len(case["seeds"]))]
    assert 1 < len(case["seeds"]) <= 8

    before = {file: file.stat().st_mtime_ns for file in benchmarks.path.glob("out/runs/*/*")}
    again = run(*options, "--amlnn-max-repeats=8", "--amlnn-resume")
    again.assert_outcomes(failed=1)
    after = {file: file.stat().st_mtime_ns for file in benchmarks.path.glob("out/runs/*/*")}
    assert after == before


def test_undecided_fails_where_the_gate_is_strict(run, benchmarks, calibrated):
    """--amlnn-gate-strict turns red what one seed cannot decide."""
    suite(benchmarks, data=BROKEN)
    result = run("--amlnn-gates=gates.toml", "--amlnn-repeats=1", "--amlnn-gate-strict")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*: inconclusive: test_accuracy is*"])


def test_most_seeds_are_at_least_the_first(run, benchmarks):
    """--amlnn-max-repeats below --amlnn-repeats is a usage error."""
    suite(benchmarks)
    result = run("--amlnn-repeats=4", "--amlnn-max-repeats=3")

    assert result.ret == EXIT_USAGE
    result.stderr.fnmatch_lines(["*--amlnn-max-repeats 3: needs a whole number from 4 up*"])


def test_decided_case_trains_no_more(run, benchmarks, base):
    """Where nothing is in doubt, no seed is added."""
    run("--amlnn-baseline=base", "--amlnn-max-repeats=9")

    assert summary(benchmarks)["seeds"] == [0, 1, 2]
