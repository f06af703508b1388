"""Runs computed in this process: once each, whoever asks, whatever happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from small_cases import linear, small_case, squares
from sweeps import Repository, lasting
from torch import Tensor, nn

from pytest_amlnn import Case, Run, leases, store
from pytest_amlnn.answers import DamagedAnswers
from pytest_amlnn.case import CaseError
from pytest_amlnn.disk import PART
from pytest_amlnn.engines import inline
from pytest_amlnn.job import Job
from pytest_amlnn.progress import Silent
from pytest_amlnn.result import to_plain

ROOM: list[str] = []
"""Something stands here where there is memory enough."""


class Hungry(nn.Module):
    """A net that asks for more memory than there is, at a batch of its second epoch."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.net, self.batches = linear(outputs), 0

    def forward(self, pictures: Tensor) -> Tensor:
        """Fail as torch does."""
        self.batches += 1
        if (
            self.batches == 5 and not ROOM
        ):  # the first epoch has two, and one in validation; one is counted
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        outputs: Tensor = self.net(pictures)
        return outputs


def compute(case: Case, out, seed: int = 0, **changes: object) -> Run:
    """Compute a run of a case on squares; `changes` replace fields of the job."""
    job = Job(
        case=case,
        data=changes.pop("data", squares()),
        id=f"test_small[{case}]",
        seeds=(seed,),
        out=out,
        device="cpu",
        facts={"profile": "quick", "engine": "inline"},
        **changes,
    )
    (run,) = inline.compute(job, lambda seeds: Silent())
    return run


def bits_of(run: Run) -> object:
    """Return all of a run that must not differ."""
    return lasting(to_plain(run))


def test_stored_run_is_not_trained_again(tmp_path):
    """What is stored is returned as it is."""
    first = compute(small_case(), tmp_path)
    second = compute(small_case(), tmp_path)

    assert first.metrics == second.metrics
    assert second.attempts == 1


def test_checkpoints_of_a_stored_run_are_removed(tmp_path):
    """Checkpoints that a kill left beside a stored run are gone after the next look at it."""
    compute(small_case(), tmp_path)
    left = store.place(tmp_path, "test_small[linear]", 0) / "0003.safetensors"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"left")
    compute(small_case(), tmp_path)

    assert not left.parent.parent.exists()


def test_out_of_memory_is_a_status(tmp_path):
    """A run that has no memory left is stored with the numbers, and the next one runs."""
    run = compute(small_case(build=Hungry), tmp_path)

    assert run.status == "oom"
    assert "cpu has no memory left at batch size 32, resolution 8, float32" in run.reason
    assert "GiB were in use: CUDA out of memory. Tried to allocate 20.00 GiB." in run.reason
    assert compute(small_case(), tmp_path, seed=1).status == "finished"
    assert [stored.status for stored in store.load_runs(tmp_path)] == ["oom", "finished"]


def test_out_of_memory_is_tried_again(tmp_path, monkeypatch):
    """A run that had no memory left goes on, where there is more, and ends in the same bits."""
    case = small_case(build=Hungry)
    assert compute(case, tmp_path).status == "oom"
    assert compute(case, tmp_path).attempts == 1
    store.forget_crashed(tmp_path)  # as --amlnn-resume does
    monkeypatch.setattr(f"{__name__}.ROOM", ["enough"])
    run = compute(case, tmp_path)

    assert (run.status, run.attempts) == ("finished", 2)
    assert bits_of(run) == bits_of(compute(case, tmp_path / "straight"))


def no_memory_of_torch(batches: int) -> None:
    """Ask torch for more memory than any machine has."""
    if batches == 5:
        torch.empty(2**60, dtype=torch.uint8)


def no_memory_of_numpy(batches: int) -> None:
    """Ask numpy for more memory than any machine has."""
    if batches == 5:
        np.empty(2**60, dtype=np.uint8)


def no_memory_of_python(batches: int) -> None:
    """Run out of memory without a word."""
    if batches == 5:
        raise MemoryError


def too_small(batches: int) -> None:
    """Fail for another reason."""
    if batches == 5:
        torch.ones(2) @ torch.ones(3)


class Greedy(Hungry):
    """A net that asks for memory in one of several ways."""

    def __init__(self, outputs: int, ask: Callable[[int], None]) -> None:
        super().__init__(outputs)
        self.ask = ask

    def forward(self, pictures: Tensor) -> Tensor:
        """Ask, and compute."""
        self.batches += 1
        self.ask(self.batches)
        outputs: Tensor = self.net(pictures)
        return outputs


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (no_memory_of_torch, "DefaultCPUAllocator: can't allocate memory"),
        (no_memory_of_numpy, "Unable to allocate"),
        (no_memory_of_python, "MemoryError"),
    ],
)
def test_out_of_memory_on_a_cpu_is_a_status(tmp_path, ask, words):
    """Whoever says that there is no memory left, the run is stored as it is on a GPU."""
    run = compute(small_case(build=partial(Greedy, ask=ask)), tmp_path)

    assert run.status == "oom"
    assert run.reason.startswith("cpu has no memory left at batch size 32, resolution 8, ")
    assert words in run.reason
    assert [stored.status for stored in store.load_runs(tmp_path)] == ["oom"]


def test_other_errors_stay_themselves(tmp_path):
    """An error of torch that speaks of no memory is no lack of it."""
    with pytest.raises(CaseError, match="in too_small .*(inconsistent|mismatch)"):
        compute(small_case(build=partial(Greedy, ask=too_small)), tmp_path)

    assert store.load_runs(tmp_path) == []


def huge_data(seed: int) -> None:
    """Open data that no memory holds."""
    no_memory_of_numpy(5)


def test_data_that_no_memory_holds_are_a_status(tmp_path):
    """Where the data themselves are too large, the run is stored without their facts."""
    run = compute(small_case(), tmp_path, data=huge_data)

    assert (run.status, run.data) == ("oom", {"name": "squares"})
    assert "Unable to allocate" in run.reason


def test_run_that_did_not_wait_is_contended(tmp_path, monkeypatch):
    """A run that was told not to wait, and shares its cores, says that times say little."""
    monkeypatch.setattr(leases, "machine_cores", lambda: [7])
    queue = leases.Queue(tell=print, who="another")
    with leases.lease("cpu", 1, queue):
        shared = compute(small_case(), tmp_path, wait=False)
    alone = compute(small_case(), tmp_path, seed=1, wait=False)

    assert (shared.contended, alone.contended) == (True, False)


def test_attempts_are_counted(tmp_path):
    """Every attempt counts, also one that left nothing but the note that it began."""
    from pytest_amlnn import training

    case, device = small_case(), torch.device("cpu")
    run = training.initial_run(case, id=f"test_small[{case}]", seed=0, device=device)
    assert store.begin(tmp_path, run).attempts == 1
    assert store.begin(tmp_path, run).attempts == 2

    assert compute(case, tmp_path).attempts == 3
    assert not [*(tmp_path / "checkpoints").iterdir()]


def test_what_was_half_written_is_removed(tmp_path):
    """Files that a killed process left half-written are gone once the run is."""
    compute(small_case(), tmp_path, seed=1)
    left = [
        tmp_path / "runs" / "test_small_linear" / f"{PART}99",
        tmp_path / "checkpoints" / "test_small_linear" / "0" / f"{PART}98",
    ]
    for file in left:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"half")
    compute(small_case(), tmp_path)

    assert not any(file.exists() for file in left)


@pytest.mark.parametrize("content", [None, b"", b"damaged"], ids=["gone", "emptied", "other"])
def test_run_whose_answers_are_damaged_is_repeated(content, tmp_path):
    """A finished run is kept with its answers or not at all, and ends in the same bits."""
    first = compute(small_case(), tmp_path)
    file = store.run_file(tmp_path, first.id, 0).with_suffix(".safetensors")
    whole = file.read_bytes()
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.warns(DamagedAnswers, match=r"0\.safetensors .*: its run is repeated"):
        second = compute(small_case(), tmp_path)

    assert bits_of(second) == bits_of(first)
    assert file.read_bytes() == whole


@pytest.mark.slow
def test_two_sweeps_share_the_work(repository: Repository):
    """Two sweeps in one folder at once compute every run once, and both are green."""
    alone = repository.run()
    expected = repository.numbers()
    both = [repository.start("--amlnn-out=shared", "--amlnn-resume") for _ in range(2)]

    assert alone[0] == 0
    assert [sweep.wait() for sweep in both] == [0, 0], both[0].text() + both[1].text()
    assert repository.numbers("shared") == expected
    files = (repository.folder / "shared").glob("runs/*/*.json")
    assert [json.loads(file.read_text())["attempts"] for file in files] == [1] * 4
