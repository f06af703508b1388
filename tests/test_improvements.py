"""Cases that change a base: what is trained, with which seeds, and under which ids."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from small_cases import small_case

import amlnn_models
from pytest_amlnn import discover, variant_of

IMPROVEMENTS = """
import pytest
from small_cases import linear, small_case, squares
from pytest_amlnn import variant_of

BASE = small_case("base", epochs=2)
CASES = [
    BASE,
    variant_of(BASE, "longer", recipe={"epochs": 3}, advice="Train longer."),
    variant_of(BASE, "patient", recipe={"patience": 9}),
]


@pytest.mark.parametrize("case", CASES[:1], ids=str)
def test_small(case, train):
    train(case, squares())


@pytest.mark.parametrize("case", CASES[1:], ids=str)
def test_improvement(case, train):
    train(case, squares())
"""
BASE, LONGER = "test_small[base]", "test_improvement[longer-base]"


@pytest.fixture
def improvements(benchmarks) -> pytest.Pytester:
    """A repository with a case and two improvements of it."""
    benchmarks.makepyfile(test_small=IMPROVEMENTS)
    return benchmarks


def written(folder: Path, name: str) -> dict:
    """Return one of a run directory's files."""
    return json.loads((folder / "out" / name).read_text())


def changed(benchmarks: pytest.Pytester, old: str, new: str) -> None:
    """Write the repository's tests with a part of them changed."""
    assert old in IMPROVEMENTS
    benchmarks.makepyfile(test_small=IMPROVEMENTS.replace(old, new))


def test_base_is_trained_beside_its_improvements(run, improvements):
    """Both have the same seeds; the base is trained once, under the id of its own item."""
    result = run("-m", "improvement", "--amlnn-repeats=3")
    plan, summary = (written(improvements.path, name) for name in ("plan.json", "summary.json"))

    assert result.ret == 0
    assert {case["id"]: case["base"] for case in plan["cases"]} == {
        LONGER: BASE,
        "test_improvement[patient-base]": BASE,
        BASE: None,
    }
    assert {tuple(case["seeds"]) for case in summary["cases"]} == {(0, 1, 2)}
    assert summary["missing"] == summary["skipped"] == []


def test_improvements_are_left_out_unless_asked_for(run, improvements):
    """Without `-m improvement` neither plan nor report has any; `-m` may combine it."""
    assert run().ret == 0
    assert [case["id"] for case in written(improvements.path, "plan.json")["cases"]] == [BASE]
    assert run("-m", "not improvement", "--amlnn-out=other").ret == 0
    assert not (improvements.path / "other/runs/test_improvement_longer-base").exists()


def test_marker_of_others_stays_theirs(improvements):
    """A test that merely bears the marker is run as ever."""
    improvements.makepyfile(
        test_other="import pytest\n@pytest.mark.improvement\ndef test_it(): pass\n"
    )
    result = improvements.runpytest_inprocess("test_other.py")

    result.assert_outcomes(passed=1)


def test_base_runs_that_are_there_are_used(run, improvements):
    """A sweep of the bases that is resumed with improvements trains no base anew."""
    assert run().ret == 0
    files = sorted(improvements.path.glob("out/runs/test_small_base/*.json"))
    before = [file.read_bytes() for file in files]
    result = run("-m", "improvement", "--amlnn-resume")

    assert result.ret == 0
    assert len(files) == 2
    assert [file.read_bytes() for file in files] == before
    assert {case["id"] for case in written(improvements.path, "summary.json")["cases"]} >= {
        BASE,
        LONGER,
    }


def test_change_that_breaks_learning_is_a_finding(run, improvements):
    """An improvement whose runs diverge does not fail its item: that is what it found out."""
    changed(improvements, 'recipe={"epochs": 3}', 'recipe={"learning_rate": 1e300}')
    result = run("-m", "improvement")
    cases = written(improvements.path, "summary.json")["cases"]
    statuses = {case["id"]: case["status"] for case in cases}

    assert result.ret == 0
    assert statuses[LONGER] == "diverged"
    assert statuses[BASE] == "finished"


def test_base_that_fails_fails_its_improvements(run, improvements):
    """Nothing can be said of a change of what does not learn: both items name the base."""
    changed(improvements, '"base", epochs=2', '"base", epochs=2, learning_rate=1e300')
    result = run("-m", "improvement")

    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*longer-base*: its base failed*"])


def test_further_seeds_are_those_of_both(run, improvements):
    """Where the verdict is open, --amlnn-max-repeats trains more seeds of change and base."""
    result = run("-m", "improvement", "--amlnn-max-repeats=5")
    seeds = {c["id"]: c["seeds"] for c in written(improvements.path, "summary.json")["cases"]}

    assert result.ret == 0
    assert seeds[LONGER] == seeds[BASE]
    assert len(seeds[LONGER]) > 2
    assert written(improvements.path, "summary.json")["missing"] == []


def test_base_of_a_skipped_improvement_is_not_planned(improvements):
    """What is skipped asks for no base, which would be missing."""
    changed(
        improvements, "def test_improvement", '@pytest.mark.skip("no")\ndef test_improvement'
    )
    result = improvements.runpytest_inprocess("--amlnn-out=out", "-m", "improvement")

    result.assert_outcomes(skipped=2, deselected=1)
    assert BASE not in [c["id"] for c in written(improvements.path, "plan.json")["cases"]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "improvement: name is '', needs text"),
        ({"recipe": {"epochs": 0}}, "recipe: epochs is 0"),
        ({"repeats": 0}, "repeats is 0, needs 1 or more"),
        ({"recipe": {"epoch": 2}}, "epoch"),
        ({"advice": 3}, "advice is 3, needs text"),
    ],
)
def test_change_that_cannot_be_made_is_refused(changes, words):
    """A field that there is not, or a value that cannot be, is named where the case is made."""
    given = {"name": "longer", **changes}
    with pytest.raises((ValueError, TypeError), match=words):
        variant_of(small_case("base"), given.pop("name"), **given)


def test_improvement_of_an_improvement_is_refused():
    """Bases are ordinary cases, so that a change is compared with what it changes."""
    once = variant_of(small_case("base"), "longer", recipe={"epochs": 9})
    with pytest.raises(ValueError, match="base is .*needs a case that is no improvement"):
        variant_of(once, "again")


@pytest.mark.parametrize("profile", ["quick", "lab"])
def test_each_improvement_changes_something(profile):
    """No line of the tables trains what its base trains, and each base is told by its id."""
    found = [c for c in discover(amlnn_models) if c.improvement and c.profile == profile]
    bases = {case.improvement.base.id: case.improvement.base for case in found}

    assert found
    assert all(
        bool(c.improvement.search) == (c.training == c.improvement.base.training) for c in found
    )
    assert all(bases[c.improvement.base.id] == c.improvement.base for c in found)
    assert all(replace(c, improvement=None).profile == profile for c in found)
