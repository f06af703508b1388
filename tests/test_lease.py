"""Leases: who computes has its cores or its GPU to itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep

import pytest
from sweeps import environment, until

from pytest_amlnn import leases
from pytest_amlnn.leases import Queue

COUNTED = """
import json, sys, time
from pytest_amlnn import leases

leases.machine_cores = lambda: [0, 1]
threads, seconds, log = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
with leases.lease("cpu", threads, leases.Queue(tell=print, who="a case")):
    start = time.time()
    time.sleep(seconds)
    end = time.time()
with open(log, "a") as file:
    file.write(json.dumps([threads, start, end]) + "\\n")
"""


@pytest.fixture(autouse=True)
def _leases_of_one_test(tmp_path, monkeypatch):
    """No lease of these tests is another training's."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def start(threads: int, seconds: float, log) -> subprocess.Popen[bytes]:
    """Start a process that leases cores, of two, for some seconds."""
    command = [sys.executable, "-c", COUNTED, str(threads), str(seconds), str(log)]
    return subprocess.Popen(command, env={**environment(), "TMPDIR": os.environ["TMPDIR"]})


def telling(said: list[str], **changes: object) -> Queue:
    """Return how one waits, with all that is said noted."""
    return Queue(**{"tell": said.append, "who": "test_small[linear]", **changes})


QUIET = telling([])


@pytest.mark.slow
def test_cores_are_never_leased_twice(tmp_path):
    """Six processes that want one or two of two cores: never more than two are in use."""
    log = tmp_path / "log"
    begun = [start(threads, 0.3, log) for threads in (2, 1, 1, 2, 1, 8)]

    assert [process.wait() for process in begun] == [0] * 6
    held = [json.loads(line) for line in log.read_text().splitlines()]
    for _, moment, _ in held:
        in_use = sum(min(count, 2) for count, begin, end in held if begin <= moment < end)
        assert in_use <= 2


@pytest.mark.slow
def test_lease_ends_with_its_process(tmp_path):
    """After a kill -9 the cores are free at once."""
    log = tmp_path / "log"
    process = start(2, 60, log)
    until(lambda: list(tmp_path.glob("amlnn-leases-*/core-1")))
    sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    begun = monotonic()
    with ExitStack() as held:
        taken = leases.take(["core-0", "core-1"], 2, held, QUIET)

    assert taken == ["core-0", "core-1"]
    assert monotonic() - begun < 1


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch):
    """What is said once was not said by another test."""
    monkeypatch.setattr(leases, "SAID", set())


def test_who_waits_is_told_what_for(monkeypatch):
    """A training that has to wait says who holds what it needs: process, case, since when."""
    monkeypatch.setattr(leases, "PATIENCE_SECONDS", 0.1)
    said: list[str] = []
    with ExitStack() as others:
        leases.take(["core-0"], 1, others, telling([], who="other[case\x1b]"))
        threading.Timer(0.5, others.pop_all().close).start()
        with ExitStack() as held:
            leases.take(["core-0"], 1, held, telling(said))

    holder = f"process {os.getpid()} (other[case?]) for 0:00 min"
    assert said == [f"waiting for core-0, held by {holder}"]


def test_whose_turn_is_not_yet_is_told_who_has_the_cores(monkeypatch, tmp_path):
    """Whoever waits behind another one that waits is told who computes."""
    monkeypatch.setattr(leases, "PATIENCE_SECONDS", 0.1)
    said: list[str] = []
    with ExitStack() as others, ExitStack() as turn:
        leases.take(["core-0"], 1, others, telling([], who="computing"))
        leases.take([leases.TURN], 1, turn, telling([], who="waiting"))
        threading.Timer(0.5, turn.pop_all().close).start()
        threading.Timer(0.5, others.pop_all().close).start()
        with ExitStack() as held:
            leases.take(["core-0"], 1, held, telling(said), in_turn=True)

    assert "core-0, held by process" in said[0]
    assert "(computing)" in said[0]


@pytest.mark.parametrize("note", [b"", b"[1]", b"\xff{", b'{"since": 1e400, "who": 1}'])
def test_damaged_note_is_no_trouble(monkeypatch, tmp_path, note):
    """A note that cannot be read says nothing of who holds a lease, and stops nobody."""
    file = tmp_path / "core-0.json"
    file.write_bytes(note)

    assert leases.holders(tmp_path, ["core-0"]) == "core-0, held by another training"


def test_who_does_not_wait_shares(monkeypatch):
    """Told not to wait, a training begins at once, and it is known that it shared."""
    monkeypatch.setattr(leases, "machine_cores", lambda: [0, 1])
    said: list[str] = []
    with leases.lease("cpu", 1, QUIET) as first:
        with leases.lease("cpu", 2, telling(said, wait=False)) as second:
            assert (first.shared, second.shared) == (False, True)
        with leases.lease("cpu", 1, telling([], wait=False)) as third:
            assert not third.shared

    assert said[0].startswith("not waiting for core-0, held by process")
    assert said[0].endswith("times will say little")


def stranger(folder: Path) -> None:
    """Have a folder be another user's."""
    folder.mkdir()
    os.chown(folder, 12345, 12345)


PLANTED = {
    "another user's": stranger,
    "file": Path.touch,
    "fifo": os.mkfifo,
    "link": lambda folder: folder.symlink_to(folder.parent),
    "link to nothing": lambda folder: folder.symlink_to("nothing"),
}


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED.keys())
def test_place_that_others_made_is_not_used(monkeypatch, tmp_path, plant):
    """What others put in the place of leases stays as it is: they lie elsewhere then."""
    if plant is stranger and os.getuid():
        pytest.skip("only root makes folders for others")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(leases, "machine_cores", lambda: [3])
    planted = tmp_path / f"amlnn-leases-{os.getuid()}"
    plant(planted)
    before = planted.lstat()
    said: list[str] = []
    with (
        leases.lease("cpu", 1, telling(said)) as first,
        leases.lease("cpu", 1, telling([], wait=False)) as second,
    ):
        assert (first.shared, second.shared) == (False, True)

    assert planted.lstat().st_mtime_ns == before.st_mtime_ns
    assert said == []
    assert [*(tmp_path / "cache").glob("amlnn-leases-*/core-3")]


def test_folder_of_an_earlier_version_is_closed_to_others(tmp_path):
    """A folder that is this user's, and that others may write to, is closed to them."""
    folder = tmp_path / f"amlnn-leases-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    with leases.lease("cpu", 1, QUIET):
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["no folder", "no locks"])
def test_without_leases_trainings_run_all_the_same(monkeypatch, tmp_path, kind):
    """Where nothing can be locked, that is said once, and nobody waits."""
    monkeypatch.setattr(leases, "machine_cores", lambda: [3])
    if kind == "no folder":
        (tmp_path / f"amlnn-leases-{os.getuid()}").touch()
        (tmp_path / "cache").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    else:
        (tmp_path / f"amlnn-leases-{os.getuid()}" / "core-3").mkdir(parents=True)
    said: list[str] = []
    for _ in range(2):
        with leases.lease("cpu", 1, telling(said)) as mine:
            assert (str(mine.device), mine.shared) == ("cpu", False)

    (words,) = said
    assert words.startswith("trainings on this machine do not wait for each other: ")
    assert ("amlnn-leases" if kind == "no folder" else "core-3 cannot be locked") in words


def test_note_follows_no_link(tmp_path):
    """Who holds a lease is not written through a link that lies in its place."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    place = leases.own_folder()
    (place / "core-0.json").symlink_to(victim)
    with ExitStack() as held:
        leases.take(["core-0"], 1, held, QUIET)

    assert victim.read_text() == "mine"


def test_recipe_may_ask_for_more_than_there_is(monkeypatch):
    """Where a machine has fewer cores than a recipe has threads, all of them are enough."""
    monkeypatch.setattr(leases, "machine_cores", lambda: [3])
    with leases.lease("cpu", 64, QUIET) as mine:
        assert mine.device.type == "cpu"


def test_each_gpu_is_leased_once(monkeypatch):
    """Of two GPUs each goes to one training; whose turn is next gets the one given back."""
    monkeypatch.setattr(leases, "gpu", lambda number: f"cuda-{'ab'[number]}")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    with leases.lease("auto", 2, QUIET) as one:
        with leases.lease("cuda", 2, QUIET) as two:
            assert [str(one.device), str(two.device)] == ["cuda:0", "cuda:1"]
        with leases.lease("cuda:1", 2, QUIET) as again:
            assert str(again.device) == "cuda:1"


def test_same_gpu_under_another_number_is_the_same(monkeypatch):
    """A GPU is known by its own name: CUDA_VISIBLE_DEVICES may give it any number."""
    monkeypatch.setattr(leases, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(leases, "gpu", lambda number: "cuda-the-same")
    said: list[str] = []
    with ExitStack() as first:
        first.enter_context(leases.lease("cuda:0", 2, QUIET))
        threading.Timer(0.3, first.pop_all().close).start()
        with leases.lease("cuda", 2, telling(said)):
            pass

    assert said[0].startswith("waiting for cuda-the-same, held by process")
