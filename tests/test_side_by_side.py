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
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_sweeps import epoch_with, runs_with
from sweeps import QUICKLY, environment

from pytest_amlnn.gates import commits, side_by_side
from pytest_amlnn.gates.times import ALIKE, FASTER, SLOWER, ratio_of, ratios

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
    assert [ratio["pairs"] for ratio in plain["seconds_of_step"]] == [2]
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
    assert "interrupted; resume with the same words, and --resume --out both" in said
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
    ]
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
    ("factor", "verdict"), [(1.0, ALIKE), (1.03, ALIKE), (1.2, SLOWER), (0.8, FASTER)]
)
def test_slow_down_that_matters_is_found(factor, verdict):
    """A fifth is found in nearly all of many comparisons of ten pairs that differ by a tenth by
    chance, and no change is taken for one in nearly none."""
    rng = np.random.default_rng(0)
    found = [
        ratio_of("x", [*rng.normal(math.log(factor), 0.09, 10)], 0.01).verdict
        for _ in range(200)
    ]

    assert found.count(verdict) >= 180
