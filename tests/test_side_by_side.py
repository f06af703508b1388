"""`amlnn ab`: two commits side by side, in repositories and processes of their own."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_runs import sweep
from small_sweeps import ID, epoch_with, runs_with
from sweeps import QUICKLY, environment

from pytest_amlnn.gates import commits, side_by_side, sides
from pytest_amlnn.gates.times import (
    ALIKE,
    FASTER,
    PROCESSOR,
    SLOWER,
    WALL,
    ratio_of,
    ratios,
    slower,
    undecided,
)
from pytest_amlnn.gates.verdict import INCONCLUSIVE

SUITE = '''
import pytest
from net import net
from small_cases import small_case, squares

CASES = [small_case("one", build=net, epochs=12, repeats=1)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_small(case, train):
    """Training ends."""
    train(case, squares())
'''
NET = """
from small_cases import linear


def net(outputs):
    return linear(outputs)
"""
BLIND = NET.replace("linear", "blind")
AMLNN = [sys.executable, "-c", "from pytest_amlnn.cli import main; raise SystemExit(main())"]
ARGUMENTS = ("--", "test_small.py", "--amlnn-repeats=2", *QUICKLY)
ONE_PAIR = ("--", "test_small.py", "--amlnn-repeats=1", *QUICKLY)


def git(folder: Path, *arguments: str) -> str:
    own = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *own, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit(folder: Path, words: str, **files: str) -> str:
    """Commit files, and give the commit's name."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", words)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path):
    """A repository of somebody else, whose net learns."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    (folder / ".gitignore").write_text(".amlnn\n__pycache__\n.benchmarks\n")
    commit(folder, "learns", test_small=SUITE, net=NET)
    return folder


def settings(folder: Path) -> dict[str, str]:
    place = folder.parent / "tmp"
    place.mkdir(exist_ok=True)
    return environment() | {"TMPDIR": str(place), "OMP_WAIT_POLICY": "PASSIVE"}


def ab(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run amlnn ab in a repository."""
    return subprocess.run(
        [*AMLNN, "ab", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env=settings(folder) | variables,
    )


def left_behind(folder: Path) -> list[str]:
    """Give what a comparison left besides its own folder."""
    trees = git(folder, "worktree", "list", "--porcelain").count("worktree ")
    places = [path.name for path in (folder.parent / "tmp").glob("amlnn-ab-*")]
    return [*places, *(["a worktree"] if trees > 1 else []), *git(folder, "branch").split()[2:]]


@pytest.mark.slow
def test_a_commit_is_not_worse_than_itself(repository):
    """The same commit on both sides has the same bits; nothing is left behind; the folder has
    both sides and the comparison, and goes on with what it began with, and nothing else. A step
    of GitHub Actions has one summary, that of the comparison."""
    summary = repository.parent / "summary"
    github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    found = ab(repository, "HEAD", "HEAD", "--out", "both", *ARGUMENTS, **github)
    plain = json.loads((repository / "both" / "comparison.json").read_text())

    assert found.returncode == 0, found.stderr
    assert "1 identical" in found.stdout
    assert "both sides are the same commit" in found.stderr
    turns = re.findall(r"turn \d of 4: (\w+) \w+, seed (\d)", found.stdout)
    assert turns == [("base", "0"), ("head", "0"), ("head", "1"), ("base", "1")]
    assert [case["verdict"] for case in plain["cases"]] == ["identical"]
    clocks = [(ratio["by"], ratio["pairs"]) for ratio in plain["seconds_of_step"]]
    assert clocks == [("wall", 2), ("processor", 2)]
    assert left_behind(repository) == []
    shown = summary.read_text().removeprefix("````text\n").removesuffix("````\n")
    assert "1 identical" in shown
    assert found.stdout.rstrip().endswith(shown.rstrip())


def test_folder_of_another_comparison_is_refused(repository, monkeypatch):
    """A folder goes on with the comparison that it began with, if it is to be resumed."""
    monkeypatch.chdir(repository)
    plan = side_by_side.plan_of("HEAD", "HEAD", ["--", "test_small.py"])
    side_by_side.save(plan, Path("both"))

    assert side_by_side.resumed(plan, Path("both"), resume=True) == plan
    with pytest.raises(commits.SideError, match="holds a comparison: resume it with --resume"):
        side_by_side.resumed(plan, Path("both"), resume=False)
    other = side_by_side.plan_of("HEAD", "HEAD", ["--", "test_small.py", "-k", "one"])
    with pytest.raises(commits.SideError, match="resume it with these"):
        side_by_side.resumed(other, Path("both"), resume=True)


@pytest.mark.slow
def test_commit_that_learns_less_is_red(repository):
    """Each side runs its own code: a net that sees nothing is red, and the changed code is
    named."""
    base = git(repository, "rev-parse", "HEAD")
    commit(repository, "sees nothing", net=BLIND)
    found = ab(repository, base, "--out", "both", *ONE_PAIR)

    assert found.returncode == 1, found.stderr
    assert "regressed" in found.stdout
    assert "changed: code of net" in found.stdout


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_and_resume(repository, number):
    """Ctrl-C ends both sides, leaves no worktree, and says how to go on; --resume trains what
    is left, and nothing twice."""
    process = subprocess.Popen(
        [*AMLNN, "ab", "HEAD", "HEAD", "--out", "both", *ONE_PAIR],
        cwd=repository,
        env=settings(repository),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    while "turn 2 of 2" not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(0.5)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "interrupted; go on with --resume --out both, before the --" in said
    assert left_behind(repository) == []
    if number == signal.SIGTERM:
        return
    found = ab(repository, "HEAD", "HEAD", "--out", "both", "--resume", *ONE_PAIR)
    assert found.returncode == 0, found.stderr
    assert "turn 1 of 2" not in found.stdout
    assert "turn 2 of 2" in found.stdout
    assert len([*(repository / "both").glob("*/runs/*/*.json")]) == 2


def test_base_that_is_no_ancestor_is_told(repository, monkeypatch):
    """A base that was rebased away, or has gone on, is told with the commit where both part."""
    monkeypatch.chdir(repository)
    fork = git(repository, "rev-parse", "HEAD")
    head = commit(repository, "sees nothing", net=BLIND)
    git(repository, "checkout", "-q", "-b", "other", fork)
    base = commit(repository, "goes on", more="")
    (note,) = commits.notes(base, head)

    assert note == (
        f"{base[:12]} is no ancestor of {head[:12]}: its 1 commits since {fork[:12]} count as"
        f" well; amlnn ab {fork[:12]} leaves them out"
    )


USAGE = {
    "a missing base": (
        lambda f: ("nowhere", "HEAD"),
        "nowhere is no commit of this repository",
    ),
    "a missing head": (
        lambda f: ("HEAD", "nowhere"),
        "nowhere is no commit of this repository",
    ),
    "changes in no commit": (
        lambda f: (f / "net.py").write_text(BLIND) and ("HEAD",),
        "1 changed file (net.py) in no commit, so on neither side",
    ),
    "a folder of something else": (
        lambda f: ("HEAD", "--out", "."),
        "--out . holds something else",
    ),
}


@pytest.mark.parametrize("kind", USAGE)
def test_wrong_sides_are_told_before_anything_is_checked_out(repository, kind):
    """2, and words, for what is no commit, for changes in none, and for a folder in use."""
    make, words = USAGE[kind]
    found = ab(repository, *make(repository), *ARGUMENTS)

    assert found.returncode == 2
    assert words in found.stderr
    assert "turn 1" not in found.stdout
    assert left_behind(repository) == []


def test_no_repository_is_told(tmp_path, monkeypatch):
    """Outside of a repository there is nothing to compare."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    with pytest.raises(commits.SideError, match="no commit of this repository"):
        side_by_side.plan_of("HEAD", "HEAD", [])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--amlnn-out=x"], "each side has its own run directory below --out"),
        (["--amlnn-resume"], "each side has its own run directory below --out"),
        (["--amlnn-repeats=0"], "--amlnn-repeats needs a whole number from 1 up"),
    ],
)
def test_arguments_that_the_comparison_sets_are_refused(
    repository, monkeypatch, arguments, words
):
    """What says where runs go, and how many pairs there are, is the comparison's own."""
    monkeypatch.chdir(repository)

    with pytest.raises(commits.SideError, match=words):
        side_by_side.plan_of("HEAD", "HEAD", arguments)


@pytest.mark.slow
def test_tests_that_cannot_be_collected_are_told(repository):
    """A side whose tests cannot be run ends the comparison with what pytest said."""
    found = ab(repository, "HEAD", "--out", "both", "--", "nowhere.py")

    assert found.returncode == 2
    assert "pytest ended with status 4 on the side base" in found.stderr
    assert "nowhere.py" in found.stderr
    assert left_behind(repository) == []


# what is said of both sides


def comparison(folder: Path, base=(), head=(), *, failed=(), skip=None) -> tuple[Path, object]:
    """Write what two sides left: runs, and by seed the tests that failed on the head."""
    for side, runs in (("base", base), ("head", head)):
        sweep(folder / side, runs, seeds=range(4), skipped=skip if side == "head" else None)
        (folder / f"{side}.log").write_text("what pytest said")
    (folder / "turns").mkdir()
    for seed, name in failed:
        side_by_side.outcomes_of(folder, "head", seed).write_text(
            f"<testsuites><testcase name='{name}'>"
            "<failure message='export is broken&#10;at'/></testcase></testsuites>"
        )
    plan = side_by_side.Plan(base="0" * 40, head="1" * 40, arguments=(), seed=0, pairs=4)
    return folder, plan


GOOD = [0.7, 0.71, 0.69, 0.7]


def test_base_that_trained_nothing_compares_nothing(tmp_path):
    """A comparison without a run on the side of the base is no comparison that was passed."""
    folder, plan = comparison(tmp_path, head=runs_with(GOOD))

    with pytest.raises(commits.SideError, match="no case was trained on the side of the base"):
        sides.compare_sides(folder, plan)


def test_pairs_that_are_there_are_compared(tmp_path):
    """A run that the base lacks, or that did not finish there, leaves its pair out, and is
    told; a run that the head lacks is worse."""
    broken = replace(runs_with([0.7], first=1)[0], status="diverged", reason="too fast")
    base = [runs_with([0.7])[0], broken, *runs_with([0.69, 0.7], first=2)]
    folder, plan = comparison(tmp_path / "a", base, runs_with([0.3] * 4))
    found = sides.compare_sides(folder, plan)

    assert [one.verdict for one in found.compared.judgements] == ["regressed"]
    assert found.notes == (f"{ID}, seed 1: left out: the base diverged: too fast",)

    folder, plan = comparison(
        tmp_path / "b", runs_with(GOOD), runs_with(GOOD[:3]), failed=[(3, ID)]
    )
    (worse,) = sides.compare_sides(folder, plan).compared.judgements
    assert worse.verdict == "regressed"
    assert worse.why == ("no run ended with seed 3; export is broken",)


def test_tests_that_fail_on_the_head_alone_are_red(tmp_path):
    """A test that fails once its net is trained breaks the head, whatever its accuracy."""
    folder, plan = comparison(tmp_path, runs_with(GOOD), runs_with(GOOD), failed=[(0, ID)])
    found = sides.compare_sides(folder, plan).compared

    assert [one.verdict for one in found.judgements] == ["identical", "regressed"]
    assert "fails on the side of the head: export is broken" in str(found.judgements[1])
    assert found.status(strict=False) == 1


@pytest.mark.parametrize(
    ("skip", "verdict", "words"),
    [
        ({"test_small[two]": "no GPU"}, "not comparable", "the head skips it: no GPU"),
        (None, "regressed", "the head has no such case, or no run of it"),
    ],
)
def test_case_that_the_head_did_not_train_is_told(tmp_path, skip, verdict, words):
    """What the head skips is not comparable, what it no longer has is worse."""
    base = [*runs_with(GOOD), *runs_with(GOOD, id="test_small[two]")]
    folder, plan = comparison(tmp_path, base, runs_with(GOOD), skip=skip)
    found = sides.compare_sides(folder, plan).compared.judgements[-1]

    assert (found.limit.case, found.verdict, found.why) == (
        "test_small[two]",
        verdict,
        (words,),
    )


def test_places_in_the_working_tree_are_on_neither_side(repository, monkeypatch):
    """An argument that names a place in the working tree is refused, and a folder of it on
    PYTHONPATH is that of each checkout: else both sides would run what is there."""
    monkeypatch.chdir(repository)
    top = commits.top_folder()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(top / "lib"), "/elsewhere"]))
    found = commits.environment_of(repository.parent / "tree", top)["PYTHONPATH"]

    assert found.split(os.pathsep)[1:] == [
        str(repository.parent / "tree" / "lib"),
        "/elsewhere",
    ]
    with pytest.raises(commits.SideError, match="names a place in the working tree"):
        side_by_side.plan_of("HEAD", "HEAD", [str(top / "test_small.py")])
    for data in ([f"--amlnn-data=x={top}/x.zip"], ["--amlnn-weights", f"{top}/w"]):
        assert side_by_side.plan_of("HEAD", "HEAD", data).arguments == tuple(data)


# where code is found

INSTALLED = {
    "in the top folder": ("", [""]),
    "in a folder below": ("packages/one", ["packages/one"]),
    "under a name with a space": ("a%20b", ["a b"]),
    "as a wheel of a folder below": ("packages/one/dist/one.whl", ["packages/one"]),
    "as a wheel in the top folder": ("dist/one.whl", [""]),
    "from elsewhere": ("../elsewhere", []),
}


@pytest.mark.parametrize("place", INSTALLED)
def test_what_is_installed_from_the_repository_is_found(tmp_path, monkeypatch, place):
    """Wherever in a repository a project lies that is installed from it, each side installs its
    own: otherwise both would run the code that is installed."""
    url, expected = INSTALLED[place]
    top = tmp_path / "top"
    for folder in ("packages/one/dist", "a b", "dist"):
        (top / folder).mkdir(parents=True)
    for folder in ("", "packages/one"):
        (top / folder / "pyproject.toml").touch()
    for wheel in ("packages/one/dist/one.whl", "dist/one.whl"):
        (top / wheel).touch()
    texts = [None, "no JSON", "[]", json.dumps({"url": "https://localhost/one.whl"})]
    texts.append(json.dumps({"url": f"{top.as_uri()}/{url}".rstrip("/")}))
    found = [SimpleNamespace(read_text=lambda _, text=text: text) for text in texts]
    monkeypatch.setattr(commits, "distributions", lambda: found)

    assert commits.installed_from(top) == [Path(name) for name in expected]


# times


def timed(seconds: list[float], side: str) -> dict[tuple[str, int], object]:
    """Give runs whose steps take so many seconds each."""
    runs = [
        runs_with([0.7], first=seed, epochs=(epoch_with(seconds={"train": 2 * s}, steps=2),))[0]
        for seed, s in enumerate(seconds)
    ]  # no seconds of a processor, as before they were recorded
    return {(run.id, run.seed): run for run in runs}


def test_ratio_is_that_of_the_pairs():
    """What both sides of a pair owe to the machine drops out."""
    machine = np.array([1.0, 2.0, 0.5, 1.5, 1.0, 3.0])
    (ratio,) = ratios(timed([*machine], "base"), timed([*(1.2 * machine)], "head"))

    assert ratio.mean == pytest.approx(1.2)
    assert (ratio.low, ratio.high) == (pytest.approx(1.2), pytest.approx(1.2))
    assert (ratio.pairs, ratio.verdict) == (6, SLOWER)


def test_one_pair_has_no_interval():
    """Of one pair nothing is said."""
    assert ratios(timed([1.0], "base"), timed([1.2], "head")) == []


@pytest.mark.parametrize(
    ("factor", "spread", "verdict"),
    [
        (1.0, 0.03, ALIKE),
        (1.2, 0.09, SLOWER),
        (0.8, 0.09, FASTER),
        (1.0, 0.2, INCONCLUSIVE),
        (1.2, 0.3, INCONCLUSIVE),
    ],
)
def test_slow_down_that_matters_is_found(factor, spread, verdict):
    """A fifth is found in nearly all of many comparisons of ten pairs that differ by a tenth by
    chance; where pairs differ by more, it is said that they do not tell."""
    rng = np.random.default_rng(0)
    found = [
        ratio_of("x", WALL, [*rng.normal(math.log(factor), spread, 10)], 0.01).verdict
        for _ in range(200)
    ]

    assert found.count(verdict) >= 170


def test_clock_of_the_processor_is_the_least_of_the_epochs():
    """What else runs on the machine adds to an epoch's seconds: the least of them is taken.
    A case is undecided only where neither clock tells."""

    def sides(factor: float) -> dict[tuple[str, int], object]:
        found = {}
        for seed in range(6):
            work = [0.1 * factor, 0.1 * factor * (1.5 + seed)]
            epochs = tuple(
                epoch_with(seconds={"train": 9.0 ** (seed % 2), "processor": w}, steps=2)
                for w in work
            )
            (run,) = runs_with([0.7], first=seed, epochs=epochs, environment={"device": "cpu"})
            found[run.id, run.seed] = run
        return found

    wall, processor = ratios(sides(1.0), sides(1.2))
    assert (wall.by, wall.verdict) == (WALL, ALIKE)
    assert (processor.by, processor.verdict) == (PROCESSOR, SLOWER)
    assert processor.mean == pytest.approx(1.2)
    assert slower([wall, processor])
    assert not undecided([replace(wall, verdict=INCONCLUSIVE), processor])
    assert undecided([replace(wall, verdict=INCONCLUSIVE)])
