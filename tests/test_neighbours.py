"""pytest runs that have nothing to do with the plugin, and plugins that have."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _pytest.config import default_plugins, essential_plugins
from forked_workers import fork_workers
from sweeps import BENCHMARKS, QUICKLY, environment

FOREIGN = """
import pytest

@pytest.fixture
def train(): return [1, 2, 3]

@pytest.fixture
def gate(train): return len(train)

def test_size(train, gate): assert len(train) == gate

@pytest.mark.parametrize("train", ["a"])
def test_parameter(train): assert train == "a"

@pytest.mark.parametrize("case", ["b"])
def test_other_case(case): assert case == "b"

class TestIn:
    @pytest.fixture
    def train(self): return 4

    def test_method(self, train): assert train == 4

@pytest.mark.skip(reason="not today")
def test_skipped(train): pass

def test_failing(train): assert train == 5
"""
OUTCOMES = {"passed": 4, "skipped": 1, "failed": 1}
OWN = {".benchmarks", ".pytest_cache", "__pycache__"}
"""What pytest and pytest-benchmark make."""


def made(folder: Path) -> set[str]:
    """Return what was made in a folder besides tests, and what is pytest's own."""
    names = {path.name for path in folder.iterdir()} - OWN
    return {name for name in names if not name.endswith((".py", ".ini", ".toml"))}


@pytest.fixture
def foreign(pytester) -> pytest.Pytester:
    """A project whose fixtures and parameters have the names of ours."""
    pytester.makepyfile(test_foreign=FOREIGN)
    return pytester


@pytest.mark.parametrize(
    "arguments",
    [(), ("-n", "0"), pytest.param(("-n", "2"), marks=[pytest.mark.slow, pytest.mark.xdist])],
)
def test_fixtures_of_the_same_names_are_their_owners(foreign, monkeypatch, arguments):
    """Tests with a fixture or parameter `train` of their own end as without the plugin, and
    nothing is written."""
    if arguments == ("-n", "2"):
        fork_workers(monkeypatch)
    result = foreign.runpytest_inprocess(*arguments)

    result.assert_outcomes(**OUTCOMES)
    assert result.ret == 1
    assert made(foreign.path) == set()


def test_plugin_that_was_loaded_first_keeps_its_fixtures(pytester):
    """Fixtures of a plugin that -p loads, which is before ours is, are not replaced by ours."""
    pytester.syspathinsert()
    own, tests = FOREIGN.partition("def test_size")[::2]
    pytester.makepyfile(own_plugin=own, test_foreign=f"import pytest\ndef test_size{tests}")
    result = pytester.runpytest_inprocess("-p", "own_plugin")

    result.assert_outcomes(**OUTCOMES)
    assert made(pytester.path) == set()


@pytest.mark.parametrize("name", ["train", "trained"])
def test_fixture_that_builds_on_ours_makes_a_benchmark(benchmarks, name):
    """A project's fixture that asks for ours, under its name or another, trains."""
    wrapped = f"@pytest.fixture\ndef {name}(train): return train\n\n\n@pytest.mark.par"
    text = BENCHMARKS.replace("@pytest.mark.par", wrapped)
    text = text.replace("train, gate", f"{name}, gate").replace("gate(train", f"gate({name}")
    benchmarks.makepyfile(test_small=text)
    result = benchmarks.runpytest_inprocess("--amlnn-out=out", "-k", "one")

    result.assert_outcomes(passed=1, deselected=1)
    assert (benchmarks.path / "out" / "summary.json").exists()


SETTINGS = """
[pytest]
amlnn_out = {out}
amlnn_device = cuda:99
amlnn_gates = broken.toml
amlnn_data = nowhere.zip
amlnn_weights = nowhere.pth
"""


def test_settings_are_not_looked_at_before_something_trains(foreign, tmp_path):
    """A run directory that cannot be, a device that is not here, broken limits, data that are
    gone: a run without benchmarks does not notice, nor does one that only asks."""
    foreign.makeini(SETTINGS.format(out="/proc/out"))
    (foreign.path / "broken.toml").write_text("[quick")
    asked = [
        foreign.runpytest_inprocess(*arguments)
        for arguments in ([], ["--co"], ["--markers"], ["--fixtures"], ["--amlnn-resume"])
    ]

    asked[0].assert_outcomes(**OUTCOMES)
    assert [result.ret for result in asked] == [1, 0, 0, 0, 1]
    assert made(foreign.path) == set()


ASKING = ["--collect-only", "--setup-only", "--setup-plan", "--fixtures", "--fixtures-per-test"]


@pytest.mark.parametrize("question", ASKING)
def test_asking_changes_nothing(benchmarks, question):
    """pytest's questions about a suite neither begin a sweep nor touch one that is there."""
    benchmarks.runpytest_inprocess("--amlnn-out=.amlnn/20260101-000000-1", "--amlnn-repeats=1")
    home = benchmarks.path / ".amlnn"
    record = home / "20260101-000000-1" / "runs" / "test_small_one" / "0.json"
    crashed = json.loads(record.read_text()) | {"status": "crashed"}
    record.write_text(json.dumps(crashed))
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    for arguments in ([], ["--amlnn-resume"]):
        result = benchmarks.runpytest_inprocess(question, *arguments)

        assert result.ret == 0
        assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


def test_collection_that_fails_begins_no_sweep(benchmarks):
    """Where a file cannot be imported nothing is run, so nothing is planned."""
    benchmarks.makepyfile(test_broken="import nothing_of_this_name")
    result = benchmarks.runpytest_inprocess("--amlnn-out=out")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert not (benchmarks.path / "out").exists()


OPTIONAL = [name for name in default_plugins if name not in essential_plugins]
ONE = """
from small_cases import small_case, squares

def test_one(train): train(small_case("one", epochs=1), squares())
"""
NEEDED = {"python", "terminal"}
"""Without these pytest itself has no tests, or no summary to count outcomes in."""


def outcomes(text: str) -> str:
    """Return pytest's last line, without the time."""
    return text.strip().splitlines()[-1].partition(" in ")[0] if text.strip() else ""


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONAL)
def test_parts_of_pytest_that_are_switched_off(zygote, tmp_path, name):
    """With any of pytest's own plugins switched off, outcomes are those without the plugin,
    and benchmarks are trained."""
    foreign, mine = tmp_path / "foreign", tmp_path / "mine"
    for folder, text in ((foreign, FOREIGN), (mine, ONE)):
        folder.mkdir()
        (folder / "test_it.py").write_text(text)
        (folder / "pytest.ini").write_text("[pytest]\n")
    quickly = [option for option in QUICKLY if not option.startswith(f"--{name[:6]}")]
    off = ("-p", f"no:{name}", "-q", *quickly)
    without = zygote.pytest(
        *off, "-p", "no:pytest_amlnn.plugin", folder=foreign, output=tmp_path / "without"
    )
    status, text = zygote.pytest(*off, folder=foreign, output=tmp_path / "with")
    options = ("--amlnn-out=out", "--amlnn-device=cpu", "--amlnn-no-wait", "--amlnn-repeats=1")
    trained = zygote.pytest(*off, *options, folder=mine, output=tmp_path / "trained")

    assert (status, outcomes(text)) == (without[0], outcomes(without[1]))
    assert made(foreign) == set()
    if name not in NEEDED:
        assert trained[0] == 0, trained[1]
        assert (mine / "out" / "summary.json").exists()


# what lets root write anywhere; without it root is a user like others, and reads its own files
WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"]


@pytest.fixture
def pytest_in_read_only(tmp_path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run pytest in a folder that it may read and not write."""
    prefix = [] if os.geteuid() else WITHOUT_RIGHTS
    if prefix and shutil.which("setpriv") is None:
        pytest.skip("root needs setpriv (util-linux) to give up its right to write anywhere")
    project, home = tmp_path / "project", tmp_path / "home"
    home.mkdir()
    project.mkdir()
    (project / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    (project / "test_foreign.py").write_text(FOREIGN)
    (project / "test_small.py").write_text(BENCHMARKS)
    own = {"HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    project.chmod(0o555)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*prefix, sys.executable, "-m", "pytest", "-q", *arguments]
        settings = {"cwd": project, "capture_output": True, "text": True}
        return subprocess.run(command, env=environment() | own, **settings)

    yield run
    project.chmod(0o755)


@pytest.mark.slow
def test_project_that_cannot_be_written_to(pytest_in_read_only):
    """In a read-only folder a run that trains nothing ends as without the plugin; one that
    trains says where it cannot write, and to name another place."""
    without = pytest_in_read_only("test_foreign.py", "-p", "no:pytest_amlnn.plugin")
    foreign = pytest_in_read_only("test_foreign.py")
    trained = pytest_in_read_only("test_small.py")

    assert outcomes(foreign.stdout), foreign.stderr
    assert (foreign.returncode, outcomes(foreign.stdout)) == (
        without.returncode,
        outcomes(without.stdout),
    )
    assert trained.returncode == pytest.ExitCode.USAGE_ERROR, trained.stderr
    assert "cannot be written to: Permission denied; " in trained.stderr
    assert "name another folder" in trained.stderr
