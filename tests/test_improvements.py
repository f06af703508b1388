"""Cases that change a base: what is trained, with which seeds, and under which ids."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from small_cases import small_case
from small_improvements import improvement

import amlnn_models
from pytest_amlnn import Source, discover, variant_of
from pytest_amlnn.further_seeds import base_of
from pytest_amlnn.job import Job
from pytest_amlnn.result import gather

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


@pytest.mark.parametrize(
    ("status", "failed"),
    [("finished", False), ("diverged", False), ("implausible", True), ("oom", True)],
)
def test_what_fails_an_improvement(status, failed):
    """A change of a recipe can break the learning; a leak is a fault, as lost memory is."""
    (result,) = gather(improvement("it", (0.7,), status=status))

    assert result.failed == failed


def test_base_of_an_improvement_is_held_to_its_limits(run, improvements):
    """A base that has no item in this sweep, and is red, is told, and ends pytest with 1."""
    (improvements.path / "gates.toml").write_text(
        f"[quick.'{BASE}']\ntest_loss = {{ at_most = 1e-9 }}\n"
    )
    result = run("-m", "improvement", "--amlnn-gates=gates.toml")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["*limits not kept*", f"*{BASE.replace('[', '[[]')}*"])


def opened() -> None:
    """Stands for a dataset."""


def placed(size: int, place: str | None = None) -> Source:
    """Return a dataset whose files lie somewhere."""
    return Source(name="files", open=opened, arguments={"size": size}, placed=True, place=place)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (placed(9, "here"), placed(3, "here")),  # its own, which is what it changes
        (placed(5, "here"), placed(5, "here")),  # of the test
        (opened, opened),
    ],
)
def test_data_that_the_test_gives_are_those_of_both(given, expected, tmp_path):
    """Only an improvement's own data may differ from its base's: what a test gives is no
    change of the case."""
    base = small_case("base", data=placed(3))
    change = variant_of(base, "more", data={"size": 9})
    job = Job(case=change, id="it", seeds=(0,), data=given, out=tmp_path, device="cpu")

    assert base_of(job).data == expected


LATER = """
import torch
from small_cases import linear, squares


def odd(seed):
    import os
    os.environ["SEED"] = str(seed)
    return squares()(seed)


def broken(outputs):
    import os
    net = linear(outputs)
    if os.environ["SEED"] == "2":
        with torch.no_grad():
            next(net.parameters()).fill_(torch.nan)
    return net
"""


def test_base_that_fails_later_fails_its_improvements(run, improvements):
    """A further seed of the base counts as the first ones do."""
    improvements.makepyfile(
        later=LATER,
        test_small=IMPROVEMENTS.replace(
            "import linear, small_case, squares", "import small_case"
        )
        .replace("import pytest", "import pytest\nfrom later import broken, odd")
        .replace("squares()", "odd")
        .replace('"base", epochs=2', '"base", epochs=2, build=broken'),
    )
    result = run("-m", "improvement", "-k", "longer", "--amlnn-max-repeats=5")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*longer-base*: its base failed", "*seed 2: diverged*"])


def test_seeds_of_a_base_stay_in_the_plan(run, improvements):
    """Its own item trains fewer seeds than its improvements: the plan has those of both."""
    changed(improvements, '"longer", recipe', '"longer", repeats=3, recipe')
    result = run("-m", "improvement or not improvement")
    plan = {c["id"]: c["seeds"] for c in written(improvements.path, "plan.json")["cases"]}

    assert result.ret == 0
    assert plan[BASE] == plan[LONGER] == [0, 1, 2]


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
