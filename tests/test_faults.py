"""What happens when a sweep is killed, cut off from the disk or told to end.

Each promise is tested by real kills, at moments drawn from the round's number; `tox -e
endurance` runs ten times as many rounds.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
from pathlib import Path
from time import monotonic, sleep

import pytest
import sweeps
from sweeps import Repository, numbers, rounds, until

from pytest_amlnn import cli

SEEDS = "--amlnn-repeats=2"
RUNS = 4
"""Of the two cases with two seeds each."""


@pytest.fixture(scope="module")
def straight(zygote, tmp_path_factory) -> tuple[dict[str, object], float]:
    """The numbers of a sweep that nothing happened to, and the seconds it took."""
    folder = tmp_path_factory.mktemp("straight")
    (folder / "test_small.py").write_text(sweeps.BENCHMARKS)
    (folder / "pytest.ini").write_text("[pytest]\n")
    started = monotonic()
    status, text = Repository(zygote=zygote, folder=folder).run(SEEDS)
    assert status == 0, text
    found = numbers(folder / "out")
    assert len(found) == 2 * RUNS
    return found, monotonic() - started


@pytest.mark.parametrize("round", rounds(10, 100))
def test_kill_and_resume_equals_straight(repository, straight, round):
    """Killed with -9 at any moment and resumed, a sweep ends in the same bits."""
    expected, seconds = straight
    generator = random.Random(round)
    for _ in range(generator.randint(1, 2)):
        sweep = repository.start(SEEDS, "--amlnn-resume")
        sleep(generator.uniform(0, seconds))
        sweep.kill()
        sweep.wait()
    status, text = repository.run(SEEDS, "--amlnn-resume")

    assert status == 0, text
    assert repository.numbers() == expected
    assert not (repository.folder / "out" / "checkpoints").exists()


@pytest.mark.parametrize("round", rounds(5, 50))
def test_killed_controller_loses_no_finished_run(repository, straight, round):
    """Whenever pytest is killed, every run that had ended is whole, and reported."""
    expected, seconds = straight
    out = repository.folder / "out"
    sweep = repository.start(SEEDS)
    until((out / "plan.json").exists)
    until(lambda: len([*out.glob("runs/*/*.json")]) >= round % RUNS)
    sleep(random.Random(round).uniform(0, seconds / RUNS))
    seen = {str(file.relative_to(out)) for file in out.glob("runs/*/*.json")}
    sweep.kill()
    sweep.wait()
    stored = numbers(out)

    assert len(seen) >= round % RUNS
    assert seen <= {*stored}
    assert all(expected[name] == found for name, found in stored.items())
    runs = [name for name in stored if name.endswith(".json")]
    assert cli.main(["report", str(out)]) == (0 if len(runs) == RUNS else 1)
    summary = json.loads((out / "summary.json").read_text())
    assert sum(len(case["seeds"]) for case in summary["cases"]) == len(runs)
    assert bool(summary["missing"]) == (len(runs) < RUNS)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
@pytest.mark.parametrize("round", rounds(5, 50))
def test_signal_ends_with_a_report(repository, straight, round, number):
    """Ctrl-C or SIGTERM: the finished runs are reported, the rest can be gone on with."""
    expected, seconds = straight
    out = repository.folder / "out"
    sweep = repository.start(SEEDS)
    until((out / "checkpoints").exists)
    sleep(random.Random(round).uniform(0, seconds / 2))
    sweep.kill(number)
    started = monotonic()
    status = sweep.wait()

    assert monotonic() - started < 10
    assert not survivors(sweep.pid)
    assert (out / "summary.json").exists()
    stored = numbers(out)
    if len(stored) < 2 * RUNS:
        assert status == {signal.SIGINT: 2, signal.SIGTERM: 143}[number], sweep.text()
        assert json.loads((out / "summary.json").read_text())["missing"]
    assert repository.run(SEEDS, "--amlnn-resume")[0] == 0
    assert repository.numbers() == expected


def survivors(group: int) -> list[str]:
    """Return the processes of a group that are still there, but for what prints its output."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pgid=,stat=,args="], capture_output=True, text=True
    )
    lines = [line.split(None, 2) for line in listed.stdout.splitlines()]
    there = [args for pgid, state, args in lines if pgid == str(group) and "Z" not in state]
    return [args for args in there if args != sweeps.PRINTER]


@pytest.mark.slow
@pytest.mark.parametrize("round", rounds(10, 100))
def test_full_disk_damages_nothing(repository, straight, round):
    """A write that the disk refuses is named; what is stored stays whole; resume goes on."""
    expected, seconds = straight
    generator = random.Random(round)
    full = (generator.uniform(0, seconds * 0.7), generator.choice([0, 500, 5000, 20_000]))
    status, text = repository.run(SEEDS, full=full)
    stored = numbers(repository.folder / "out")

    whole = len(stored) == 2 * RUNS and "too large" not in text
    begun = (repository.folder / "out" / "plan.json").exists()
    assert status == (0 if whole else 1 if begun else pytest.ExitCode.USAGE_ERROR), text
    assert whole or re.search(r"cannot be written( to)?: File too large|os error 27", text)
    assert "INTERNALERROR" not in text
    assert all(expected[name] == found for name, found in stored.items())
    status, text = repository.run(SEEDS, "--amlnn-resume")
    assert status == 0, text
    assert repository.numbers() == expected


def workers(parent: int) -> list[int]:
    """Return the process ids of a controller's workers."""
    listed = Path(f"/proc/{parent}/task").glob("*/children")
    children = [pid for file in listed for pid in file.read_text().split()]
    commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return [pid for pid, command in commands.items() if b"python" in command]


@pytest.mark.xdist
@pytest.mark.parametrize("round", rounds(5, 40, quick=0))
def test_killed_worker_changes_nothing(repository, straight, round):
    """A worker of -n 2 is killed in the middle of a training: the bits are the same."""
    expected, _ = straight
    generator = random.Random(round)
    out = repository.folder / "out"
    sweep = repository.start(SEEDS, "-n", "2")
    until(lambda: list(out.glob("checkpoints/*/*/0*")), 60)
    sleep(generator.uniform(0, 0.5))
    begun = workers(sweep.pid)
    os.kill(generator.choice(begun), signal.SIGKILL)
    status = sweep.wait()

    assert status == 0, sweep.text()
    assert repository.numbers() == expected
    attempts = [json.loads(file.read_text())["attempts"] for file in out.glob("runs/*/*.json")]
    assert len(attempts) == RUNS
    assert max(attempts) <= 2


DEADLY = """
import os
import pytest
from small_cases import linear, small_case, squares

def deadly(outputs):
    os.kill(os.getpid(), 9)

CASES = [small_case("bad", build=deadly), small_case("good")]

@pytest.mark.parametrize("case", CASES, ids=str)
def test_small(case, train):
    train(case, squares())
"""


@pytest.mark.slow
@pytest.mark.xdist
@pytest.mark.parametrize("dist", ["load", "worksteal", "loadfile"])
def test_case_that_kills_its_worker_is_given_up(repository, dist):
    """A case is run again twice, then recorded as crashed; the others are not lost."""
    (repository.folder / "test_small.py").write_text(DEADLY)
    status, text = repository.run("-n", "2", "--dist", dist, "--amlnn-repeats=1")
    summary = json.loads((repository.folder / "out" / "summary.json").read_text())
    statuses = {case["id"]: case["status"] for case in summary["cases"]}

    assert status == 1, text
    assert statuses == {"test_small[bad]": "crashed", "test_small[good]": "finished"}, text
    assert "its process died 3 times" in text
    assert "2 rerun" in text
    run = json.loads((repository.folder / "out/runs/test_small_bad/0.json").read_text())
    assert run["attempts"] == 3


@pytest.mark.slow
@pytest.mark.xdist
def test_many_deadly_cases_do_not_end_the_sweep(repository):
    """However many cases kill their workers, the good one is trained."""
    many = DEADLY.replace('small_case("bad", build=deadly)', "*BAD").replace(
        "CASES =", 'BAD = [small_case(f"bad{i}", build=deadly) for i in range(3)]\nCASES ='
    )
    (repository.folder / "test_small.py").write_text(many)
    status, text = repository.run("-n", "1", "--amlnn-repeats=1")
    summary = json.loads((repository.folder / "out" / "summary.json").read_text())

    assert status == 1
    assert [case["status"] for case in summary["cases"]] == ["crashed"] * 3 + ["finished"], text


@pytest.mark.slow
@pytest.mark.xdist
def test_killed_parallel_sweep_is_gone_on_with_at_once(repository, straight):
    """pytest -n 2 killed with -9 and resumed while its workers still end: the same bits."""
    out = repository.folder / "out"
    sweep = repository.start(SEEDS, "-n", "2")
    until(lambda: [*out.glob("checkpoints/*/*/0*")], 60)
    sweep.kill()
    sweep.wait()
    status, text = repository.run(SEEDS, "--amlnn-resume")

    assert status == 0, text
    assert repository.numbers() == straight[0]


@pytest.mark.slow
@pytest.mark.xdist
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
def test_signal_to_a_controller_ends_its_workers(repository, straight, number):
    """Told to end, pytest -n 2 writes its report within 10 s and leaves nobody after 30 s."""
    out = repository.folder / "out"
    sweep = repository.start(SEEDS, "-n", "2")
    until(lambda: list(out.glob("checkpoints/*/*/0*")), 60)
    begun = workers(sweep.pid)
    sweep.kill(number)
    told = monotonic()
    until((out / "summary.json").exists, 10)
    status = sweep.wait()

    assert status == {signal.SIGINT: 2, signal.SIGTERM: 143}[number], sweep.text()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in begun), 30)
    assert monotonic() - told < 30
    assert repository.run(SEEDS, "--amlnn-resume")[0] == 0
    assert repository.numbers() == straight[0]
