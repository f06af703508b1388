"""What a worker of pytest-xdist leaves in the run directory of how far it is."""

from __future__ import annotations

import errno
import math
from pathlib import Path
from time import perf_counter

import pytest
from small_runs import small_epoch

from pytest_amlnn import disk, heartbeats, store
from pytest_amlnn.heartbeats import Beats, Heartbeat, Place, read_heartbeats
from pytest_amlnn.tally import Tally
from pytest_amlnn.time_left import Pace

SWEEP = "1234"


def place(out: Path, worker: str = "gw0", sweep: str = SWEEP) -> Place:
    return Place(out=out, worker=worker, sweep=sweep)


def beats_of(where: Place, said: list[str] | None = None, ended: Pace | None = None) -> Beats:
    """Give what leaves the heartbeats of a run of 4 epochs."""
    tally = Tally(id="test[a]", seeds=[0, 1], epochs=4, shares={"accuracy"})
    return Beats(tally, where, lambda: ended or Pace(), (said or []).append)


def only(out: Path) -> Heartbeat:
    """Give the one heartbeat that can be read."""
    (beat,) = read_heartbeats(out, SWEEP)
    return beat


def test_what_a_worker_says_is_read(tmp_path, monkeypatch):
    """Case, seeds, epoch, losses, scores and the seconds left come as they were left."""
    monkeypatch.setattr(heartbeats, "SECONDS_BETWEEN_BEATS", 0.0)
    with beats_of(place(tmp_path), ended=Pace(cost=2.0, seconds=3.0)) as beats:
        beats.begin()
        beats.step([0, 1], 1, 1, 2, 32)
        beats.step([0, 1], 1, 2, 2, 64)
        for seed in (0, 1):
            beats.epoch(seed, [small_epoch(validation={"loss": 1.5, "accuracy": 0.25})])
        beat = only(tmp_path)

    assert beat.standing.line().startswith(
        "test[a] seeds 0, 1, epoch 1/4, loss 1 1, validation 1.5 1.5, accuracy 25.0% 25.0%, "
    )
    assert 0 < beat.standing.seconds_left < 60
    assert (beat.worker, beat.ended) == ("gw0", Pace(cost=2.0, seconds=3.0))


def test_worker_says_what_it_does_before_the_first_step(tmp_path):
    """Waiting, preparing and what is prepared are told apart from training."""
    stages = []
    with beats_of(place(tmp_path)) as beats:
        stages.append(only(tmp_path).standing)
        beats.begin()
        stages.append(only(tmp_path).standing)
        beats.left = -math.inf
        beats.prepare("preparing digits: 1 of 9 pictures, 0:08 left")
        stages.append(only(tmp_path).standing)

    assert [(each.line().partition(": ")[2], each.waiting) for each in stages] == [
        ("waiting for its turn", True),
        ("preparing", False),
        ("preparing digits: 1 of 9 pictures, 0:08 left", False),
    ]
    assert only(tmp_path).standing is None


def test_note_is_written_for_the_user_too(tmp_path):
    """Whoever waits for cores is told at once who has them."""
    said: list[str] = ["before"]
    with beats_of(place(tmp_path), said) as beats:
        beats.note("waiting for core-0")

        assert only(tmp_path).standing.stage == "waiting for core-0"
    assert said == ["before", "test[a] seeds 0, 1: waiting for core-0"]


def test_thousand_steps_leave_one_heartbeat(tmp_path, monkeypatch):
    """Steps and epochs that follow each other within a second share a heartbeat."""
    written: list[object] = []
    beats = beats_of(place(tmp_path))
    monkeypatch.setattr(Place, "write", lambda *given: written.append(given))
    beats.left = perf_counter()
    for step in range(1000):
        beats.step([0, 1], 1, step + 1, 1000, step)
        beats.epoch(1, [small_epoch()])

    assert len(written) <= 1


def test_loss_that_is_no_number_is_said(tmp_path):
    """A run that diverges leaves heartbeats like any other."""
    with beats_of(place(tmp_path)) as beats:
        beats.step([0, 1], 1, 2, 2, 64)
        nan = small_epoch(train={"loss": math.nan}, validation={"loss": math.inf})
        beats.epoch(0, [nan])
        beats.beat()

        assert only(tmp_path).standing.losses == ("loss nan", "validation inf")


def test_folder_that_cannot_be_written_breaks_nothing(tmp_path):
    """A file in the folder's place, or a link: nothing is left, and training goes on."""
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / store.HEARTBEATS).touch()
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / store.HEARTBEATS).symlink_to(tmp_path)
    for name in ("file", "link"):
        with beats_of(place(tmp_path / name)) as beats:
            beats.beat()

        assert read_heartbeats(tmp_path / name, SWEEP) == []
    assert not [*tmp_path.glob("*.json")]


def test_full_disk_breaks_nothing(tmp_path, monkeypatch):
    """A disk without room keeps the last heartbeat, and no half of the next one."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with beats_of(place(tmp_path)) as beats:
        monkeypatch.setattr(disk.Path, "open", full)
        beats.begin()

        assert only(tmp_path).standing.waiting
        assert len([*(tmp_path / store.HEARTBEATS).iterdir()]) == 1


def test_heartbeats_are_not_forced_to_the_disk(tmp_path, monkeypatch):
    """No training waits for a disk because of them."""
    monkeypatch.setattr(disk, "sync", lambda path: pytest.fail(f"{path} is synced"))
    with beats_of(place(tmp_path)) as beats:
        beats.beat()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"worker": 1}', b"\xff", b" " * (heartbeats.LARGEST + 1)]
)
def test_damaged_heartbeats_are_left_out(tmp_path, content):
    """What is no heartbeat shows nothing, and the others are shown all the same."""
    place(tmp_path).write(None, Pace())
    (tmp_path / store.HEARTBEATS / f"gw1-{SWEEP}.json").write_bytes(content)

    assert only(tmp_path).worker == "gw0"


def test_other_sweeps_in_the_folder_are_not_shown(tmp_path):
    """Two sweeps share a run directory, and each shows its own workers."""
    place(tmp_path).write(None, Pace())
    place(tmp_path, sweep="5678").write(None, Pace())

    assert len(read_heartbeats(tmp_path, SWEEP)) == 1


def test_tidying_removes_heartbeats(tmp_path):
    """Nothing is left of them once the sweep is over; what a link leads to stays."""
    place(tmp_path / "out").write(None, Pace())
    store.tidy(tmp_path / "out")
    (tmp_path / "kept").mkdir()
    (tmp_path / "out" / store.HEARTBEATS).symlink_to(tmp_path / "kept")
    store.tidy(tmp_path / "out")

    assert (tmp_path / "kept").is_dir()
    assert [path.name for path in (tmp_path / "out").iterdir()] == [store.HEARTBEATS]
