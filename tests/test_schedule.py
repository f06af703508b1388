"""Parallel sweeps: the same numbers as serial ones, the longest trainings first."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from sweeps import numbers

pytest.importorskip("xdist")
from pytest_amlnn.schedule import CostliestFirst  # noqa: E402

pytestmark = pytest.mark.xdist

SLEEPERS = """
import time
import pytest
from small_cases import small_case

SECONDS = [0.2, 0.2, 3, 0.2, 3, 0.2, 0.2, 0.2]
CASES = [small_case(f"c{i}", flops=seconds) for i, seconds in enumerate(SECONDS)]

@pytest.mark.parametrize("case", CASES, ids=str)
def test_sleep(case, request):
    time.sleep(case.flops)

def test_that_trains(train):
    pass
"""
CLOCK = """
import time
import pytest

@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node):
    print("COLLECTED", time.time())

def pytest_runtest_logreport(report):
    print("REPORT", time.time())
"""


class Node:
    """A worker as schedulers see it."""

    shutting_down = False

    def __init__(self) -> None:
        self.sent: list[int] = []

    def send_runtest_some(self, items: list[int]) -> None:
        """Take items."""
        self.sent += items

    def shutdown(self) -> None:
        """Take no more."""
        self.shutting_down = True


class Base:
    """What both of xdist's schedulers have that ours uses."""

    def __init__(self, nodes: list[Node], costs: list[float]) -> None:
        self.costs = {str(item): cost for item, cost in enumerate(costs)}
        self.collection = [*self.costs]
        self.pending = [*range(len(costs))]
        self.node2pending: dict[Node, list[int]] = {node: [] for node in nodes}
        self.nodes = nodes

    def run_to_the_end(self) -> float:
        """Run everything as workers do: an item starts when its follower is known."""
        clock = dict.fromkeys(self.nodes, 0.0)
        self.check_schedule()
        while any(self.node2pending.values()):
            able = [
                node
                for node, queue in self.node2pending.items()
                if len(queue) > 1 or (queue and node.shutting_down)
            ]
            node = min(able, key=lambda n: clock[n] + self.cost(self.node2pending[n][0]))
            clock[node] += self.cost(self.node2pending[node].pop(0))
            self.check_schedule()
        return max(clock.values())


class Simulated(CostliestFirst, Base):
    """Our scheduler without pytest."""


def test_costliest_first_then_the_cheapest():
    """Each worker gets a costly item, and a cheap one that may wait behind it."""
    nodes = [Node(), Node()]
    Simulated(nodes, [1, 9, 2, 8, 3, 7]).check_schedule()

    assert [node.sent for node in nodes] == [[1, 0], [3, 2]]


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 9])
def test_everything_is_run_once(workers):
    """Whatever the number of workers, every item is dealt, and nobody waits for ever."""
    nodes = [Node() for _ in range(workers)]
    costs = [(7 * item) % 11 + 0.5 for item in range(23)]
    seconds = Simulated(nodes, costs).run_to_the_end()

    assert sorted(item for node in nodes for item in node.sent) == [*range(23)]
    assert all(node.shutting_down for node in nodes)
    assert seconds < sum(costs) / workers + 2 * max(costs)


@pytest.mark.slow
@pytest.mark.parametrize("dist", ["load", "worksteal"])
def test_eight_sleepers_on_four_workers(zygote, tmp_path, dist):
    """8 sleeping cases (3, 3, 6 x 0.2 s) on 4 workers take at most 4.5 s."""
    (tmp_path / "test_sleep.py").write_text(SLEEPERS)
    (tmp_path / "conftest.py").write_text(CLOCK)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    options = ("-s", "-n", "4", "--dist", dist, "--amlnn-out=out", "-p", "no:cacheprovider")
    _, text = zygote.pytest(*options, folder=tmp_path, output=tmp_path / "output.txt")
    collected = max(map(float, re.findall(r"COLLECTED (\S+)", text)))
    reported = max(map(float, re.findall(r"REPORT (\S+)", text)))

    assert "9 passed" in text, text
    assert reported - collected <= 4.5


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["2", "4"])
def test_parallel_sweep_equals_serial(repository, workers):
    """Under -n all repeats run, the bits are the same, and the reports have the same keys."""
    folder = repository.folder
    assert repository.run()[0] == 0
    status, text = repository.run("-n", workers, "--amlnn-out=parallel")
    assert status == 0, text

    assert numbers(folder / "parallel") == numbers(folder / "out")
    for name in ("summary.json", "benchmark.json"):
        serial = json.loads((folder / "out" / name).read_text())
        parallel = json.loads((folder / "parallel" / name).read_text())
        assert keys(parallel) == keys(serial)
    cases = json.loads((folder / "parallel" / "summary.json").read_text())["cases"]
    assert [case["contended"] for case in cases] == [True, True]
    compared = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "compare", "out/benchmark.json"]
        + ["parallel/benchmark.json"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert compared.returncode == 0, compared.stderr
    assert compared.stdout.count("test_small[one]") == 2


def keys(plain: object, above: str = "") -> set[str]:
    """Return the names of all fields of plain data, however deep; items of lists as one."""
    if isinstance(plain, dict):
        found = [keys(value, f"{above}.{name}") for name, value in plain.items()]
    elif isinstance(plain, list):
        found = [keys(value, f"{above}[]") for value in plain]
    else:
        found = []
    return {above}.union(*found)


@pytest.mark.slow
def test_other_peoples_tests_are_dealt_as_ever(zygote, tmp_path):
    """Where nothing trains, pytest-xdist deals as it does without this plugin."""
    (tmp_path / "test_plain.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('number', range(8))\n"
        "def test_plain(number, worker_id): print('RAN', number, worker_id)\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    options = ("-n", "2", "-rP", "-p", "no:cacheprovider")
    _, text = zygote.pytest(*options, folder=tmp_path, output=tmp_path / "output.txt")

    assert "8 passed" in text
    first = re.findall(r"RAN ([01]) (gw\d)", text)
    assert len({worker for _, worker in first}) == 1  # neighbours stay together
    assert not (tmp_path / ".amlnn").exists()
