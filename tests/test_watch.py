"""What the user sees of the workers of pytest-xdist while they train."""

from __future__ import annotations

import io
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from _pytest._io import TerminalWriter
from sweeps import QUICKLY, Repository, Sweep, until
from terminals import Terminal, screen

from pytest_amlnn import footer, plans, watch
from pytest_amlnn.footer import Footer
from pytest_amlnn.heartbeats import Place
from pytest_amlnn.store import HEARTBEATS, run_file
from pytest_amlnn.tally import Standing
from pytest_amlnn.time_left import Pace
from pytest_amlnn.watch import SECONDS_OF_SILENCE, Overview

SWEEP = "1234"
CASES = {"test[a]": 10.0, "test[b]": 30.0}


def standing(id: str = "test[a]", **changes: object) -> Standing:
    """Give how far a run is that has 20 seconds left."""
    given = {"id": id, "seeds": (0,), "epoch": 2, "epochs": 4, "share": 0.5, "speed": 7.0}
    return Standing(**{**given, "seconds_left": 20.0, **changes})


def leave(out: Path, worker: str, now: Standing | None, ended: Pace | None = None) -> None:
    """Leave a worker's heartbeat."""
    Place(out=out, worker=worker, sweep=SWEEP).write(now, ended or Pace())


@pytest.fixture
def overview(tmp_path, monkeypatch) -> Overview:
    """Give what is known of a sweep of two cases with two seeds each."""
    entries = [{"id": id, "nodeid": id, "skip": None, "seeds": [0, 1]} for id in CASES]
    (tmp_path / plans.PLAN).touch()
    monkeypatch.setattr(plans, "load", lambda out: {"cases": entries, "costs": CASES})
    return Overview(out=tmp_path, sweep=SWEEP, nodeids={*CASES}, ended=set())


# lines


def test_each_worker_has_a_line_and_the_sweep_one(overview):
    """Workers stand in order of their numbers; the last line is that of the sweep."""
    leave(overview.out, "gw10", standing("test[b]"))
    leave(overview.out, "gw2", standing(losses=("loss 1.5", "validation 2")))
    leave(overview.out, "gw3", None)

    assert overview.lines(None) == [
        "gw2 test[a] seed 0, epoch 2/4, loss 1.5, validation 2, 7/s, 0:20 left",
        "gw10 test[b] seed 0, epoch 2/4, 7/s, 0:20 left",
        "sweep: 0 of 4 runs ended, time left unknown",
    ]
    assert [len(line) <= 43 for line in overview.lines(43)] == [True] * 3


def test_nothing_is_shown_where_nothing_trains(overview):
    """Before the first training, and between two, there are no lines."""
    assert overview.lines(None) == []
    leave(overview.out, "gw0", None)
    assert overview.lines(None) == []


def test_worker_without_a_word_is_named(overview, monkeypatch):
    """A worker that hangs is told from one that trains; one that waits is silent by right."""
    leave(overview.out, "gw0", standing())
    leave(overview.out, "gw1", standing("test[b]", stage="waiting for core-0", waiting=True))
    now = watch.time() + SECONDS_OF_SILENCE + 10
    monkeypatch.setattr(watch, "time", lambda: now)

    assert overview.lines(None)[:2] == [
        "gw0 test[a] seed 0, epoch 2/4, 7/s, 0:20 left, no word for 40 s",
        "gw1 test[b] seed 0: waiting for core-0",
    ]


def test_worker_that_died_has_no_line(overview):
    """What it left last is not shown; what its runs took counts all the same."""
    leave(overview.out, "gw0", standing(), Pace(cost=10.0, seconds=10.0))
    leave(overview.out, "gw1", standing("test[b]"))
    overview.gone.add("gw0")

    assert [line.split()[0] for line in overview.lines(None)] == ["gw1", "sweep:"]
    assert overview.lines(None)[-1] == "sweep: 0 of 4 runs ended, 1:10 left"


def test_sweep_counts_what_is_stored_and_what_is_over(overview):
    """A run that is stored has ended; so has one whose item is over without it."""
    file = run_file(overview.out, "test[b]", 0)
    file.parent.mkdir(parents=True)
    file.touch()
    leave(overview.out, "gw0", standing("test[b]", seeds=(1,)), Pace(cost=30.0, seconds=60.0))
    before = overview.lines(None)[-1]
    overview.ended.add("test[a]")

    assert before == "sweep: 1 of 4 runs ended, 1:00 left"
    assert overview.lines(None)[-1] == "sweep: 3 of 4 runs ended, 0:20 left"


def test_run_that_prepares_is_still_to_come(overview):
    """Before its second step nothing is known of a run but its cost; it keeps a worker busy."""
    leave(overview.out, "gw0", standing(seconds_left=None), Pace(cost=10.0, seconds=10.0))
    leave(overview.out, "gw1", standing("test[b]", stage="waiting", waiting=True))

    assert overview.lines(None)[-1] == "sweep: 0 of 4 runs ended, 1:20 left"


def test_stranger_cannot_write_to_the_terminal(overview):
    """Whatever a heartbeat says of itself is shown as text."""
    leave(overview.out, "gw0", standing("test[\x1b[2J]"))
    terminal = io.StringIO()
    shown = footer.PlainLines(SimpleNamespace(_tw=TerminalWriter(terminal)))
    shown.show(overview.lines)

    assert terminal.getvalue().startswith(r"gw0 test[\x1b[2J] seed 0")


# the place below pytest's output


@pytest.fixture
def below(monkeypatch) -> Footer:
    """Give a footer on a terminal 20 columns wide."""
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "10")
    return Footer(SimpleNamespace(_tw=TerminalWriter(io.StringIO())))


def on_terminal(below: Footer) -> str:
    """Give what stands there; a terminal goes to the first column at the end of a line."""
    return screen(below.file.getvalue().replace("\n", "\r\n"))


def test_pytest_writes_on_as_if_there_were_no_footer(below):
    """Between dots lines come and go; in the end the screen holds what pytest wrote."""
    writer, file = below.writer, below.file
    writer.line("start")
    for _ in range(3):
        writer.write(".", green=True)
        below.show(lambda width: ["one", "two"])
        during = on_terminal(below)
    writer.write("\rF. 100%")
    below.show(lambda width: ["three"])
    writer.line()
    below.close()

    assert during == "start\n...\none\ntwo"
    assert on_terminal(below).rstrip() == "start\nF. 100%"
    assert writer._file is file


def test_footer_fits_the_terminal(below):
    """Lines are as wide as the terminal at most, and no more than it can wipe again."""
    below.writer.line("start")
    below.show(lambda width: [f"{number} {'x' * 30}" for number in range(20)])
    lines = on_terminal(below).splitlines()

    assert max(map(len, lines)) == 19
    assert len(lines) == 10
    assert lines[-1].startswith("19 ")


def test_line_that_pytest_has_begun_may_be_long(below):
    """The cursor goes back to the row where pytest's line ends."""
    below.writer.line("start")
    below.writer.write("x" * 45)
    below.show(lambda width: ["one"])

    assert below.file.getvalue().endswith("\x1b[1A\r\x1b[5C")


def test_footer_waits_for_a_whole_line(below):
    """Where the cursor is, is known once pytest has ended a line."""
    below.writer.write("2 workers")
    below.show(lambda width: ["one"])

    assert below.file.getvalue() == "2 workers"


# whole sweeps

QUICK = """
import threading

from pytest_amlnn import heartbeats
from pytest_amlnn.footer import Footer, PlainLines

heartbeats.SECONDS_BETWEEN_BEATS = 0.0
Footer.seconds = PlainLines.seconds = 0.05

def pytest_terminal_summary(terminalreporter):
    names = [thread.name for thread in threading.enumerate() if "amlnn" in thread.name]
    terminalreporter.write_line(f"threads: {names}")
"""
SLOW = """
from time import sleep

import pytest
from small_cases import pictures_net, small_case, squares

CASES = [small_case(name, build=pictures_net, epochs=6) for name in ("one", "two")]

def slowly(seed):
    sleep(0.1)
    return squares()(seed)

@pytest.mark.parametrize("case", CASES, ids=str)
def test_small(case, train):
    train(case, slowly)
"""
PROGRESS = re.compile(r"gw\d test_small\[\w+\] seed 0, epoch \d/6, ")
EARLY = [("--maxfail=1",), ("-p", "no:terminal"), ("--amlnn-out=/dev/null/out",)]
TERMINAL = {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """Give a terminal of 100 columns."""
    opened = Terminal()
    yield opened
    opened.close()


@pytest.fixture
def shared(repository) -> Repository:
    """Give a repository of two cases that take some tenths of a second each."""
    (repository.folder / "conftest.py").write_text(QUICK)
    (repository.folder / "test_small.py").write_text(SLOW)
    return repository


def start(repository: Repository, terminal: Terminal, *given: str, **more: str) -> Sweep:
    """Start a sweep of two workers that share the cores, on a terminal."""
    arguments = ("-n2", "--amlnn-repeats=1", "--amlnn-no-wait", *given)
    return repository.start(*arguments, terminal=terminal.path, variables={**TERMINAL, **more})


@pytest.mark.xdist
@pytest.mark.parametrize("given", [(), ("-v", "-s"), ("-q", "--color=no")], ids=" ".join)
def test_terminal_shows_each_worker_and_wipes_it_in_the_end(shared, terminal, given):
    """While two workers train each has a line; in the end the screen is as without them."""
    status = start(shared, terminal, *given).wait()
    text = terminal.text()
    left = screen(text)

    assert status == 0, left
    assert len({line[:3] for line in PROGRESS.findall(text)}) == 2
    assert re.search(r"sweep: \d of 2 runs ended, (time left unknown|0:\d\d left)", text)
    assert "sweep:" not in left
    assert not PROGRESS.search(left)
    assert "2 passed" in left
    assert "threads: []" in left
    assert not (shared.folder / "out" / HEARTBEATS).exists()


@pytest.mark.xdist
def test_interrupt_leaves_a_clean_terminal(shared, terminal):
    """Ctrl-C wipes the lines before pytest says what became of the sweep."""
    sweep = start(shared, terminal)
    until(lambda: PROGRESS.search(terminal.text()))
    sweep.kill(signal.SIGINT)
    status = sweep.wait()
    left = screen(terminal.text())

    assert status == 2
    assert "KeyboardInterrupt" in left
    assert "sweep:" not in left
    assert "threads: []" in left
    assert not (shared.folder / "out" / HEARTBEATS).exists()


@pytest.mark.xdist
def test_worker_that_is_killed_is_not_shown_any_more(shared, terminal):
    """Its place is taken by another one, and the sweep ends as if nothing had happened."""
    suicide = SLOW.replace(
        "    sleep(0.1)\n",
        "    sleep(0.1)\n    if not Path('died').exists():\n"
        "        Path('died').touch()\n        os.kill(os.getpid(), 9)\n",
    ).replace("import pytest\n", "import os\nfrom pathlib import Path\n\nimport pytest\n", 1)
    (shared.folder / "test_small.py").write_text(suicide)
    status = start(shared, terminal).wait()
    text = terminal.text()

    assert status == 0, screen(text)
    assert "node down" in screen(text)
    assert "gw2 test_small" in text
    assert "sweep:" not in screen(text)


@pytest.mark.xdist
@pytest.mark.parametrize("where", ["a file", "a dumb terminal"])
def test_without_a_terminal_there_are_plain_lines(shared, terminal, where):
    """A file and a terminal that cannot move its cursor get whole lines now and then."""
    if where == "a file":
        arguments = ("-n2", "--amlnn-repeats=1", "--amlnn-no-wait")
        status, text = shared.run(*arguments)
    else:
        status = start(shared, terminal, TERM="dumb").wait()
        text = terminal.text()
    lines = text.splitlines()

    assert status == 0, text
    assert [line for line in lines if PROGRESS.match(line)]
    assert [line for line in lines if line.startswith("sweep: ")]
    assert "\x1b[J" not in text


@pytest.mark.xdist
@pytest.mark.parametrize("given", EARLY, ids=" ".join)
def test_sweep_that_ends_early_or_unseen(shared, terminal, given):
    """A failure that ends pytest, no terminal reporter, no run directory: no line is left."""
    failing = SLOW.replace("    sleep(0.1)\n", "    assert seed is None\n")
    if given == ("--maxfail=1",):
        (shared.folder / "test_small.py").write_text(failing)
    status = start(shared, terminal, *given).wait()

    assert status == {"--maxfail=1": 2, "-p": 0}.get(given[0], 4), terminal.text()
    assert not re.search(r"^(sweep:|gw\d test_small)", screen(terminal.text()), re.MULTILINE)


@pytest.mark.xdist
def test_run_that_trains_nothing_is_left_alone(zygote, tmp_path):
    """Other people's tests under -n have no thread of ours beside them."""
    (tmp_path / "test_theirs.py").write_text("def test_a(): pass\ndef test_b(): pass\n")
    (tmp_path / "conftest.py").write_text(
        "import json, threading\n"
        "def pytest_runtest_logreport(report):\n"
        "    names = [thread.name for thread in threading.enumerate()]\n"
        "    open('seen.json', 'w').write(json.dumps(names))\n"
    )
    output = tmp_path / "output.txt"
    status, text = zygote.pytest(*QUICKLY, "-n2", folder=tmp_path, output=output)

    assert status == 0, text
    assert "amlnn-watch" not in json.loads((tmp_path / "seen.json").read_text())
