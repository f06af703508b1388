"""Going on with a sweep: what is kept, what is taken up, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_cases import linear, small_case
from sweeps import QUICKLY, environment, until

from pytest_amlnn import Case
from pytest_amlnn.identity import differences, identity_of
from pytest_amlnn.result import SCHEMA
from pytest_amlnn.store import StoreError, refuse_unless_same
from pytest_amlnn.training import initial_run

RESUME = "--amlnn-resume"
OTHER_DATA = """
    from dataclasses import replace
    splits = squares()(0)
    other = replace(splits, facts={**splits.facts, "digest": "1"})
    verdict = gate(train(case, lambda seed: other))
"""


def stamps(out, pattern="runs/*/*.json") -> dict[str, int]:
    """Return when each stored run was written."""
    return {str(file.relative_to(out)): file.stat().st_mtime_ns for file in out.glob(pattern)}


def change(repository, before: str, after: str) -> None:
    """Change the repository's benchmarks."""
    file = repository.folder / "test_small.py"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


def test_finished_runs_are_kept(repository):
    """A sweep that is complete is only reported anew, with the same training times."""
    out = repository.folder / "out"
    repository.run()
    first, before = json.loads((out / "summary.json").read_text()), stamps(out)
    status, text = repository.run(RESUME)

    assert status == 0, text
    assert "resuming out, where 4 runs have ended" in text
    assert stamps(out) == before
    assert json.loads((out / "summary.json").read_text()) == first


@pytest.mark.slow
def test_case_whose_data_are_gone_is_missing(repository):
    """A case that was to be run, and cannot be when the sweep is resumed, is not skipped."""
    repository.run("-k", "two")
    unavailable = "def pytest_amlnn_unavailable(case, options):\n    return 'no squares'\n"
    (repository.folder / "conftest.py").write_text(unavailable)
    status, text = repository.run(RESUME)
    plain = json.loads((repository.folder / "out" / "summary.json").read_text())

    assert status == 0, text
    assert [case["id"] for case in plain["skipped"]] == ["test_small[one]"]

    shutil.rmtree(repository.folder / "out" / "runs" / "test_small_two")
    status, text = repository.run(RESUME)
    plain = json.loads((repository.folder / "out" / "summary.json").read_text())

    assert status == 1, text
    assert [case["id"] for case in plain["missing"]] == ["test_small[two]"]
    assert [case["id"] for case in plain["skipped"]] == ["test_small[one]"]


@pytest.mark.slow
def test_removed_case_is_trained_afresh(repository):
    """Without its folder under runs/ a case is trained again; the others are kept."""
    out = repository.folder / "out"
    repository.run()
    numbers, before = repository.numbers(), stamps(out)
    shutil.rmtree(out / "runs" / "test_small_one")
    status, text = repository.run(RESUME)
    after = stamps(out)

    assert status == 0, text
    assert repository.numbers() == numbers
    assert {name for name in after if after[name] != before[name]} == {
        "runs/test_small_one/0.json",
        "runs/test_small_one/1.json",
    }


@pytest.mark.slow
def test_more_seeds_can_be_added(repository):
    """Seeds that are there are kept, those that are asked for besides are trained."""
    out = repository.folder / "out"
    repository.run("--amlnn-repeats=1")
    before = stamps(out)
    repository.run(RESUME, "--amlnn-repeats=3")
    summary = json.loads((out / "summary.json").read_text())

    assert before.items() <= stamps(out).items()
    assert [case["seeds"] for case in summary["cases"]] == [[0, 1, 2], [0, 1, 2]]


@pytest.mark.slow
def test_fewer_seeds_do_not_hide_the_rest(repository):
    """Seeds that were planned stay planned when a sweep is resumed with fewer of them."""
    out = repository.folder / "out"
    repository.run("--amlnn-repeats=2")
    (out / "runs" / "test_small_one" / "1.json").unlink()
    status, text = repository.run(RESUME, "--amlnn-repeats=1")

    assert status == 1
    assert "test_small[one]: no run ended with seed 1" in text


@pytest.mark.slow
def test_part_of_a_sweep_does_not_hide_the_rest(repository):
    """A sweep that is resumed with -k is not complete: the other case is missing."""
    repository.run("--amlnn-repeats=1")
    shutil.rmtree(repository.folder / "out" / "runs" / "test_small_two")
    status, text = repository.run(RESUME, "--amlnn-repeats=1", "-k", "one")

    assert status == 1
    assert "test_small[two]: no run ended with seed 0" in text
    assert "resume with: --amlnn-resume --amlnn-out out" in text


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("learning_rate=0.01", "learning_rate=0.02", "recipe.learning_rate was 0.01, is 0.02"),
        pytest.param(
            "pictures_net, epochs=8",
            "pictures_net, epochs=9",
            "recipe.epochs was 8, is 9",
            marks=pytest.mark.slow,
        ),
        (
            "    verdict = gate(train(case, squares()))\n",
            OTHER_DATA,
            f"digest was {'0' * 64}, is 1",
        ),
    ],
    ids=["learning rate", "epochs", "data"],
)
def test_other_training_is_refused(repository, before, after, words):
    """Runs of another recipe or other data are not mixed with new ones: the case fails."""
    repository.run()
    numbers = repository.numbers()
    change(repository, before, after)
    status, text = repository.run(RESUME)

    assert status == 1
    assert "out/runs/test_small_one/0.json is of another training: " in text
    assert words in text
    assert "out/runs/test_small_one to train the case afresh" in text
    assert repository.numbers() == numbers


@pytest.mark.slow
def test_other_version_is_refused(repository):
    """A run directory of another schema is refused before anything is trained."""
    repository.run("--amlnn-repeats=1")
    plan = repository.folder / "out" / "plan.json"
    plan.write_text(plan.read_text().replace(f'"schema": {SCHEMA}', '"schema": 0'))
    status, text = repository.run(RESUME)

    assert status == 4
    assert "out/plan.json was written by another version of pytest-amlnn" in text


@pytest.mark.slow
def test_other_profile_is_refused(repository):
    """A sweep of another profile is another sweep."""
    repository.run("--amlnn-repeats=1")
    status, text = repository.run(RESUME, "--amlnn-profile=seed")

    assert status == 4
    assert "out holds a sweep of the profile quick, not seed" in text


def test_nothing_to_resume_starts(repository):
    """Where there is nothing to go on with, a sweep is started."""
    status, text = repository.run(RESUME, "--amlnn-repeats=1")

    assert status == 0
    assert "where 0 runs have ended" in text


@pytest.mark.slow
def test_newest_sweep_is_resumed(repository):
    """Without --amlnn-out the newest run directory of the repository is resumed."""
    home = repository.folder / ".amlnn"
    for name in ("20250101-000000-1", "20260101-000000-1"):
        repository.run("--amlnn-repeats=1", f"--amlnn-out={home / name}", "-k", "one")
    status, text = repository.run(RESUME, "--amlnn-repeats=1", "--amlnn-out=", "-k", "one")

    assert status == 0
    assert "resuming .amlnn/20260101-000000-1, where 1 runs have ended" in text
    assert len(list(home.iterdir())) == 2


@pytest.mark.slow
def test_crashed_run_gets_another_chance(repository):
    """A run that was given up on is trained again when the sweep is resumed."""
    repository.run("--amlnn-repeats=1")
    numbers = repository.numbers()
    file = repository.folder / "out" / "runs" / "test_small_one" / "0.json"
    plain = json.loads(file.read_text())
    file.write_text(json.dumps({**plain, "status": "crashed", "metrics": {}, "epochs": []}))
    status, text = repository.run(RESUME, "--amlnn-repeats=1")

    assert status == 0, text
    assert repository.numbers() == numbers


names = st.sampled_from(["model", "size", "recipe"])
values = st.one_of(
    st.integers(0, 3), st.text(max_size=2), st.dictionaries(names, st.integers())
)


@given(st.dictionaries(names, values), st.dictionaries(names, values))
def test_equal_trainings_and_no_others_are_resumed(then, now):
    """Whatever is compared: no change is said exactly where there is none."""
    assert (differences(then, now) == []) == (then == now)


def test_what_numbers_do_not_follow_from_may_change(tmp_path):
    """Another label, family, repeats or reference does not make another training."""
    facts = {"digest": "1"}
    one = about(small_case("a", model="m", repeats=2), facts)
    two = about(small_case("b", model="m", repeats=5, family="f"), facts)
    refuse_unless_same(tmp_path, one, two)
    with pytest.raises(StoreError, match="digest was 1, is 2"):
        refuse_unless_same(tmp_path, one, {**two, "digest": "2"})


def about(case: Case, facts: dict[str, str], **changes: object) -> dict[str, object]:
    """Return what the numbers of a case follow from, on a CPU unless changed."""
    run = initial_run(case, id="x", seed=0, device=torch.device("cpu"))
    return {"schema": SCHEMA, **identity_of(dataclasses.replace(run, **changes), facts)}


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (about(small_case(), {}, precision="bfloat16"), "precision was float32, is bfloat16"),
        (about(small_case(), {}, environment={"device": "cuda:1"}), "device was cpu, is cuda"),
        (
            about(small_case(build=partial(linear, outputs=3)), {}),
            "arguments.outputs was None, is 3",
        ),
    ],
)
def test_other_machinery_makes_another_training(tmp_path, now, words):
    """Another kind of device, another precision or another builder's argument is refused."""
    with pytest.raises(StoreError, match=words):
        refuse_unless_same(tmp_path, about(small_case(), {}), now)


def elsewhere(repository, *arguments: str, **variables: str) -> tuple[int, str]:
    """Run pytest in a new process, with variables that a process reads when it begins."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        *QUICKLY,
        "--amlnn-device=cpu",
        "--amlnn-out=out",
    ]
    ended = subprocess.run(
        [*command, *arguments],
        cwd=repository.folder,
        env={**environment(), **variables},
        capture_output=True,
        text=True,
    )
    return ended.returncode, ended.stdout


OTHER_PROCESSORS = {
    "capability": (
        {"ATEN_CPU_CAPABILITY": "default"},
        "settings.cpu_capability was [A-Z0-9_]+, is DEFAULT",
    ),
    "instructions": (
        {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        "settings.ONEDNN_MAX_CPU_ISA was None, is AVX2",
    ),
}


@pytest.mark.slow
@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() == "DEFAULT", reason="there is no other capability"
)
@pytest.mark.parametrize(
    ("variables", "words"), OTHER_PROCESSORS.values(), ids=OTHER_PROCESSORS.keys()
)
def test_other_processor_is_refused(repository, variables, words):
    """What was computed with other instructions is not mixed, ended or cut: words say which.

    Resumed as it was begun, the sweep ends in the same bits as one that nothing happened to.
    """
    out = repository.folder / "out"
    repository.run("--amlnn-repeats=1")
    straight = repository.numbers()
    shutil.rmtree(out)
    sweep = repository.start("--amlnn-repeats=1")
    until(lambda: [*out.glob("checkpoints/test_small_two/0/0*.safetensors")])
    sweep.kill()
    sweep.wait()
    stored = stamps(out)
    status, text = elsewhere(repository, RESUME, "--amlnn-repeats=1", **variables)

    assert status == 1
    refused = re.findall(rf"(\S+) is of another training: {words}\. Remove", text)
    assert any("out/runs/test_small_one/0.json" in name for name in refused)
    assert any("out/checkpoints/test_small_two/0/0" in name for name in refused)
    assert "or resume with all of this as it was" in text
    assert stamps(out) == stored
    assert repository.run(RESUME, "--amlnn-repeats=1")[0] == 0
    assert repository.numbers() == straight


@pytest.mark.slow
@pytest.mark.parametrize(
    ("field", "words"),
    [
        (("packages", "torch"), "versions.torch was 0.1, is "),
        (("settings", "threads"), "settings.threads was 0.1, is 1"),
        (("settings", "default dtype"), "settings.default dtype was 0.1, is torch.float32"),
    ],
    ids=["torch", "threads", "dtype"],
)
def test_other_surroundings_are_refused(repository, field, words):
    """A run of another version of torch, or of other settings of the process, is refused."""
    repository.run("--amlnn-repeats=1", "-k", "one")
    file = repository.folder / "out" / "runs" / "test_small_one" / "0.json"
    plain = json.loads(file.read_text())
    plain["environment"][field[0]][field[1]] = "0.1"
    file.write_text(json.dumps(plain))
    status, text = repository.run(RESUME, "--amlnn-repeats=1", "-k", "one")

    assert status == 1
    assert f"0.json is of another training: {words}" in text


@pytest.mark.slow
def test_run_of_before_settings_were_recorded_is_refused(repository):
    """Of a run whose settings are not on record it is not known how it was computed."""
    repository.run("--amlnn-repeats=1", "-k", "one")
    file = repository.folder / "out" / "runs" / "test_small_one" / "0.json"
    plain = json.loads(file.read_text())
    del plain["environment"]["settings"]
    file.write_text(json.dumps(plain))
    status, text = repository.run(RESUME, "--amlnn-repeats=1", "-k", "one")

    assert status == 1
    assert "0.json is of another training: settings was None, is {" in text
