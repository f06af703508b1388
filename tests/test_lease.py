"""Leases: who computes has its cores or its GPU to itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from time import monotonic, sleep

import pytest
from sweeps import environment, until

from pytest_amlnn.engines import inline as lease

COUNTED = """
import json, sys, time
from pytest_amlnn.engines import inline as lease

lease.machine_cores = lambda: [0, 1]
threads, seconds, log = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
with lease.lease("cpu", threads, print):
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


def quiet(_: str) -> None:
    """Say nothing."""


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
        taken = lease.hold(["core-0", "core-1"], 2, held, quiet)

    assert taken == ["core-0", "core-1"]
    assert monotonic() - begun < 1


def test_who_waits_is_told_what_for(monkeypatch):
    """A training that has to wait says so, once."""
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 0.1)
    said: list[str] = []
    with ExitStack() as others:
        lease.hold(["core-0"], 1, others, quiet)
        threading.Timer(0.5, others.pop_all().close).start()
        with ExitStack() as held:
            lease.hold(["core-0"], 1, held, said.append)

    assert said == ["waiting for another training to give back core-0"]


def test_recipe_may_ask_for_more_than_there_is(monkeypatch):
    """Where a machine has fewer cores than a recipe has threads, all of them are enough."""
    monkeypatch.setattr(lease, "machine_cores", lambda: [3])
    with lease.lease("cpu", 64, quiet) as device:
        assert device.type == "cpu"


def test_each_gpu_is_leased_once(monkeypatch):
    """Of two GPUs each goes to one training; whose turn is next gets the one given back."""
    monkeypatch.setattr(lease, "gpu", lambda number: f"cuda-{'ab'[number]}")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    with lease.lease("auto", 2, quiet) as one:
        with lease.lease("cuda", 2, quiet) as two:
            assert [str(one), str(two)] == ["cuda:0", "cuda:1"]
        with lease.lease("cuda:1", 2, quiet) as again:
            assert str(again) == "cuda:1"


def test_same_gpu_under_another_number_is_the_same(monkeypatch):
    """A GPU is known by its own name: CUDA_VISIBLE_DEVICES may give it any number."""
    monkeypatch.setattr(lease, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(lease, "gpu", lambda number: "cuda-the-same")
    said: list[str] = []
    with ExitStack() as first:
        first.enter_context(lease.lease("cuda:0", 2, quiet))
        threading.Timer(0.3, first.pop_all().close).start()
        with lease.lease("cuda", 2, said.append):
            pass

    assert said == ["waiting for another training to give back cuda-the-same"]
