"""What a user sees of a run under way."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from functools import partial
from threading import Timer
from types import SimpleNamespace

import pytest
from _pytest._io import TerminalWriter
from small_runs import small_epoch
from sweeps import until

from pytest_amlnn import Epoch, heartbeats, preparing, progress, tally
from pytest_amlnn.preparing import counted, is_shown, told_to
from pytest_amlnn.progress import Frames, Lines, Silent, progress_on, rendering
from pytest_amlnn.tally import Tally
from pytest_amlnn.time_left import Pace, seconds_left

ERASE_LINE = "\x1b[2K"


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """Stop the clock that progress reads."""
    stopped = Clock()
    for module in (progress, tally, heartbeats, preparing):
        monkeypatch.setattr(module, "perf_counter", stopped)
    return stopped


class Terminal(io.StringIO):
    """Standard output that says of itself that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch) -> Terminal:
    """Give a terminal 80 columns wide; `drawn` draws on it."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    return Terminal()


def tally_of(clock: Clock, epochs: int = 4, id: str = "test[a]") -> Tally:
    """Give the tally of a run that starts now."""
    now = clock()
    shares = {"accuracy"}
    return Tally(id=id, seeds=[0], epochs=epochs, shares=shares, started=now, epoch_started=now)


@contextmanager
def drawn(shown: Tally, terminal: Terminal, uncaptured=nullcontext) -> Iterator[Frames]:
    """Open frames on the terminal."""
    with redirect_stdout(terminal), Frames(shown, uncaptured) as frames:
        yield frames


def epoch_of(trained: float, validated: float, accuracy: float = 0.5) -> Epoch:
    """Give an epoch with these losses."""
    validation = {"loss": validated, "accuracy": accuracy}
    return small_epoch(train={"loss": trained, "accuracy": 0.8}, validation=validation)


# the line


def test_line_tells_where_the_run_is(clock):
    """The line holds title, epoch, losses, accuracy, speed and the time left."""
    shown = tally_of(clock)
    shown.step([0], 1, 1, 10, 32)
    clock.now += 10
    shown.step([0], 1, 10, 10, 320)
    shown.epoch(0, [epoch_of(1.23456, 1.5, accuracy=0.721)])
    clock.now += 10
    shown.step([0], 2, 10, 10, 320)

    assert shown.line() == (
        "test[a] seed 0, epoch 2/4, loss 1.235, validation 1.5, accuracy 72.1%, 32/s, 0:21 left"
    )


def test_line_before_the_first_epoch_has_no_loss(clock):
    """Nothing is made up before there is an epoch."""
    shown = tally_of(clock, epochs=2)
    shown.step([0], 1, 1, 4, 32)
    clock.now += 61
    shown.step([0], 1, 2, 4, 64)

    assert shown.line() == "test[a] seed 0, epoch 1/2, 1/s, 6:06 left"


def test_line_of_a_forecast_has_no_accuracy(clock):
    """A forecast has losses alone."""
    shown = tally_of(clock)
    shown.step([0], 1, 1, 1, 8)
    shown.epoch(0, [small_epoch(train={"loss": 1.0}, validation={"loss": 1.1})])

    assert "validation 1.1, " in shown.line()
    assert "accuracy" not in shown.line()


def test_line_of_several_seeds_holds_what_each_says(clock):
    """Seeds that are trained at once share a line, with a loss and an accuracy of each."""
    shown = tally_of(clock)
    for seed, loss in ((0, 1.0), (1, 2.0), (2, 3.0)):
        shown.epoch(seed, [epoch_of(9.0, 9.0), epoch_of(loss, loss + 0.5, accuracy=loss / 10)])
    shown.step([0, 2], 3, 2, 2, 64)

    assert shown.line().startswith(
        "test[a] seeds 0, 2, epoch 3/4, loss 1 3, validation 1.5 3.5, accuracy 10.0% 30.0%, "
    )


def test_line_of_another_task_holds_its_scores(clock):
    """Any score that a task has is shown, one that is no share as the number it is."""
    shown = tally_of(clock)
    scores = {"loss": 0.5, "recall": 0.25, "perplexity": 12.5}
    shown.epoch(0, [small_epoch(validation=scores)])

    assert "validation 0.5, recall 0.25, perplexity 12.5, " in shown.line()


def test_time_left_counts_from_where_a_run_was_resumed(clock):
    """What an earlier attempt did tells nothing of how long the rest takes."""
    shown = tally_of(clock, epochs=10)
    shown.step([0], 6, 1, 2, 8)
    clock.now += 5
    shown.step([0], 6, 2, 2, 16)

    assert shown.line().endswith(" 0:40 left")


def test_first_step_tells_nothing_of_the_others(clock):
    """It may take as long as a hundred others: no time left is made up of it."""
    shown = tally_of(clock)
    clock.now += 60
    shown.step([0], 1, 1, 100, 10)
    first = shown.line()
    clock.now += 1
    shown.step([0], 1, 2, 100, 20)

    assert first == "test[a] seed 0, epoch 1/4, 0/s"
    assert shown.line().endswith(" 6:38 left")


def test_line_that_is_too_long_keeps_the_time_left(clock):
    """Speed goes first, then scores and losses; case, epoch and the time left stay."""
    shown = tally_of(clock)
    shown.step([0], 1, 1, 1, 8)
    shown.epoch(0, [epoch_of(1.0, 2.0)])
    clock.now += 10
    shown.step([0], 2, 1, 1, 8)

    lines = {shown.line(width=width) for width in range(10, 100)}
    assert sorted(lines, key=len) == [
        "test[a] seed 0, epoch 2/4, 0:20 left",
        "test[a] seed 0, epoch 2/4, loss 1, 0:20 left",
        "test[a] seed 0, epoch 2/4, loss 1, validation 2, 0:20 left",
        "test[a] seed 0, epoch 2/4, loss 1, validation 2, accuracy 50.0%, 0:20 left",
        "test[a] seed 0, epoch 2/4, loss 1, validation 2, accuracy 50.0%, 1/s, 0:20 left",
    ]


def test_line_tells_when_the_sweep_ends(clock):
    """Once runs have ended, the time that all others take stands behind that of this one."""
    unknown, known = tally_of(clock), tally_of(clock)
    unknown.sweep_left = partial(seconds_left, to_come=[2.0], pace=Pace())
    known.sweep_left = partial(seconds_left, to_come=[2.0], pace=Pace(cost=1.0, seconds=90.0))
    for shown in (unknown, known):
        shown.step([0], 1, 1, 1, 8)
        shown.share += 0.25
    clock.now += 10

    assert unknown.line().endswith("/s, 0:20 left")
    assert known.line().endswith("/s, 0:20 left, sweep 3:20 left")


def test_what_runs_took_counts_from_when_they_had_their_cores(clock):
    """Waiting is no part of a pace, nor is what an earlier attempt had done."""
    shown = tally_of(clock)
    shown.note("waiting for core-0")
    clock.now += 1000
    shown.begin()
    clock.now += 10
    shown.step([0], 4, 1, 1, 8)

    assert shown.spent(8.0) == Pace(cost=2.0, seconds=10.0)


def test_no_time_is_left_at_the_end(clock):
    """After the last step of the budget the line counts down to zero."""
    shown = tally_of(clock)
    clock.now += 100
    shown.step([0], 4, 5, 5, 50)

    assert shown.line().endswith(" 0:00 left")


def test_evaluation_does_not_slow_the_speed(clock):
    """Speed is that of the epoch's own steps, not of what lies between epochs."""
    shown = tally_of(clock)
    shown.step([0], 1, 2, 2, 20)
    clock.now += 1000
    shown.epoch(0, [small_epoch()])
    clock.now += 2
    shown.step([0], 2, 2, 2, 20)

    assert shown.speed == 10


def test_first_step_counts_with_its_time(clock):
    """One step of 10 examples in 5 seconds makes 2 a second, not billions."""
    shown = tally_of(clock)
    clock.now += 5
    shown.step([0], 1, 1, 2, 10)

    assert shown.speed == 2


# lines


def test_lines_are_seconds_apart(clock):
    """Epochs that follow each other within seconds share a line."""
    written: list[str] = []
    with Lines(tally_of(clock), written.append) as shown:
        for number in range(1, 5):
            shown.step([0], number, 1, 1, 10)
            clock.now += progress.SECONDS_BETWEEN_LINES / 2
            shown.epoch(0, [epoch_of(1.0, number)])

    assert [line.split(", ")[1] for line in written] == ["epoch 2/4", "epoch 4/4"]
    assert "validation 4" in written[-1]


def test_line_waits_for_all_seeds(clock):
    """Of seeds that are trained at once a line holds the same epoch, after the last one's."""
    written: list[str] = []
    with Lines(tally_of(clock), written.append) as shown:
        shown.step([0, 1], 1, 1, 1, 10)
        clock.now += progress.SECONDS_BETWEEN_LINES
        shown.epoch(0, [epoch_of(1.0, 2.0)])
        before = [*written]
        shown.epoch(1, [epoch_of(3.0, 4.0)])

    assert before == []
    assert ["loss 1 3, validation 2 4" in line for line in written] == [True]


def test_note_is_a_line_of_its_own(clock):
    """What is out of the ordinary is said at once, with case and seed."""
    written: list[str] = []
    with Lines(tally_of(clock), written.append) as shown:
        shown.note("waiting for another training")

    assert written == ["test[a] seed 0: waiting for another training"]


def test_short_run_writes_no_line(clock):
    """A run of less than some seconds needs no line."""
    written: list[str] = []
    with Lines(tally_of(clock), written.append) as shown:
        shown.step([0], 1, 1, 1, 10)
        shown.epoch(0, [small_epoch()])

    assert written == []


def test_long_preparation_is_told_now_and_then(clock):
    """What is prepared, how much of it, and the time that it takes: not before some seconds."""
    written: list[str] = []
    with Lines(tally_of(clock), written.append) as shown, told_to(shown.prepare):
        shown.begin()
        with counted("digits", 80_000, "pictures") as advance:
            for _ in range(8):
                advance(1000)
                clock.now += 1
            advance(4000)

    assert written == [
        "test[a] seed 0: preparing digits: 6,000 of 80,000 pictures, 1:01 left",
    ]


def test_short_preparation_is_not_told(clock):
    """What takes no two seconds needs no word, and nobody need listen."""
    told: list[str] = []
    with counted("digits", 10, "pictures") as advance:
        clock.now += 10
        advance(10)
    with told_to(told.append), counted("digits", 10, "pictures") as advance:
        clock.now += 1
        advance(10)

    assert told == []
    assert not is_shown()


# frames


def test_frame_is_drawn_and_wiped(clock, terminal):
    """The line stands on the terminal while the run lasts, and is gone afterwards."""
    with drawn(tally_of(clock), terminal) as shown:
        shown.step([0], 1, 1, 2, 10)
        during = terminal.getvalue()
    after = terminal.getvalue().removeprefix(during)

    assert "test[a] seed 0, epoch 1/4" in during
    assert ERASE_LINE in after
    assert "epoch" not in after.rpartition(ERASE_LINE)[2]


def test_frame_is_wiped_after_an_error(clock, terminal):
    """An error goes on its way, and leaves a clean terminal with its cursor."""

    def fail() -> None:
        with drawn(tally_of(clock), terminal) as shown:
            shown.step([0], 1, 1, 2, 10)
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        fail()

    assert "epoch" not in terminal.getvalue().rpartition(ERASE_LINE)[2]
    assert terminal.getvalue().rpartition("\x1b[?25")[2].startswith("h")


def test_frames_are_drawn_now_and_then(clock, terminal):
    """A thousand steps within a moment draw one frame; an epoch draws when it is due."""
    with drawn(tally_of(clock), terminal) as shown:
        for step in range(1, 1001):
            shown.step([0], 1, step, 1000, step)
        steps = terminal.getvalue().count("epoch 1/4")
        clock.now += 1
        shown.epoch(0, [epoch_of(0.125, 1.0)])

    assert steps == 1
    assert "loss 0.125" in terminal.getvalue()


def test_frame_fits_the_terminal(clock, terminal):
    """A line that is too long is cut: wiping it would leave its rest behind."""
    shown = tally_of(clock, id="x" * 300)
    with drawn(shown, terminal) as frames:
        frames.step([0], 1, 1, 2, 10)

    assert "x" * 79 in terminal.getvalue()
    assert "x" * 80 not in terminal.getvalue()


def test_frame_shows_what_is_prepared(clock, terminal):
    """A long preparation is drawn where the run is drawn afterwards."""
    with drawn(tally_of(clock), terminal) as shown:
        shown.begin()
        shown.prepare("preparing digits: 1 of 9 pictures, 0:08 left")
        clock.now += 1
        shown.step([0], 1, 1, 2, 10)

    assert "seed 0: preparing digits: 1 of 9 pictures" in terminal.getvalue()
    assert "epoch 1/4" in terminal.getvalue()


def test_frames_go_past_the_capture(clock, terminal):
    """Nothing is written while pytest captures output."""
    open_now: list[bool] = []
    write = terminal.write

    @contextmanager
    def opened():
        open_now.append(True)
        yield
        open_now.pop()

    def checked(text: str) -> int:
        assert open_now, text
        return write(text)

    terminal.write = checked
    with drawn(tally_of(clock), terminal, opened) as shown:
        shown.step([0], 1, 1, 2, 10)
        clock.now += 1
        shown.epoch(0, [small_epoch()])

    assert "loss 1, validation 1.1" in terminal.getvalue()


@pytest.mark.parametrize(
    ("terminal", "kind"),
    [(None, Silent), (SimpleNamespace(isatty=False), Lines)],
    ids=["no terminal", "a file"],
)
def test_what_shows_a_run_follows_from_where_it_is_shown(terminal, kind, clock):
    """A worker of pytest-xdist shows nothing, a file gets lines."""
    capture = SimpleNamespace(global_and_fixture_disabled=nullcontext)

    assert isinstance(progress_on(terminal, capture, tally_of(clock)), kind)


@pytest.mark.parametrize("kind", ["dumb", "unknown"])
def test_terminal_that_cannot_move_its_cursor_gets_lines(kind, clock, monkeypatch):
    """On a dumb terminal nothing can be drawn anew: it gets the lines that a file gets."""
    monkeypatch.setenv("TERM", kind)
    capture = SimpleNamespace(global_and_fixture_disabled=nullcontext)
    reporter = SimpleNamespace(isatty=True)

    assert isinstance(progress_on(reporter, capture, tally_of(clock)), Lines)


def test_terminal_gets_frames_on_a_line_of_their_own(clock, monkeypatch):
    """On a terminal the line that pytest has begun is ended first."""
    monkeypatch.setenv("TERM", "xterm")
    ended: list[bool] = []
    reporter = SimpleNamespace(isatty=True, ensure_newline=lambda: ended.append(True))
    capture = SimpleNamespace(global_and_fixture_disabled=nullcontext)

    assert isinstance(progress_on(reporter, capture, tally_of(clock)), Frames)
    assert ended == [True]


def test_silence(capsys):
    """A worker without a terminal shows nothing."""
    with Silent() as shown:
        shown.step([0], 1, 1, 1, 10)
        shown.epoch(0, [small_epoch()])

    assert capsys.readouterr() == ("", "")


# reports


def reporter(file: io.StringIO) -> SimpleNamespace:
    """Give what writes to pytest's terminal."""
    return SimpleNamespace(_tw=TerminalWriter(file))


def test_long_rendering_is_told_on_a_line_of_its_own(monkeypatch):
    """A report that takes seconds is said to be rendered, not as part of another line."""
    monkeypatch.setattr(progress, "SECONDS_BEFORE_WORD", 0.0)
    shown = reporter(io.StringIO())
    shown._tw.write("..")
    with rendering(3, shown):
        until(lambda: "cases" in shown._tw._file.getvalue())

    assert shown._tw._file.getvalue() == "..\nrendering the report of 3 cases\n"


def test_short_rendering_is_not_told():
    """A report that is there at once needs no word; without a terminal there is none."""
    shown = reporter(io.StringIO())
    with rendering(1, shown), rendering(1, None):
        pass

    assert shown._tw._file.getvalue() == ""
    assert not [thread for thread in threading.enumerate() if isinstance(thread, Timer)]
