"""Seeds that are trained at once: each run is the one that it would have been alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
import torch
from small_cases import line_case
from sweeps import lasting
from torch import nn

from amlnn_datasets import series
from amlnn_datasets.series import Series
from amlnn_models import cells
from amlnn_models.recurrent import Forecaster
from pytest_amlnn import (
    Case,
    Epoch,
    Forecast,
    Recipe,
    Result,
    Run,
    device,
    steps,
    store,
)
from pytest_amlnn.device import Clock, Spent
from pytest_amlnn.engines import inline
from pytest_amlnn.job import Job
from pytest_amlnn.progress import Silent
from pytest_amlnn.result import to_plain

CPU = torch.device("cpu")
KINDS = {
    "gru": partial(cells.GRU, num_layers=2),
    "birnn": partial(cells.RNN, bidirectional=True),
    "lstm": cells.LSTM,
}


def forecaster(outputs: int, *, kind: str) -> nn.Module:
    """Build a small recurrent net."""
    return Forecaster(KINDS[kind](1, 6, batch_first=True), outputs)


def recurrent(kind: str = "gru", **changes: object) -> Case:
    """Return a case whose seeds stop after different numbers of epochs."""
    recipe = {"epochs": 20, "learning_rate": 0.03, "optimizer": "adam", "patience": 2}
    build = partial(forecaster, kind=kind)
    return line_case(kind, build=build, seeds_at_once=True, **{**recipe, **changes})


def data(seed: int) -> Series:
    """Return a short series."""
    return series.splits(preset="ar", points=150, longest=150, test=60, window=8, seed=seed)


class Cut(Silent):
    """A progress that ends the process' training at an epoch's end, as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        self.number = number

    def epoch(self, seed: int, epochs: Sequence[Epoch]) -> None:
        """Interrupt."""
        if len(epochs) == self.number:
            raise KeyboardInterrupt


def compute(
    case: Case, out: Path, seeds: list[int], *, data=data, progress: Silent | None = None
) -> list[Run]:
    """Compute runs as a sweep does."""
    job = Job(
        case=case,
        data=data,
        id=f"test[{case}]",
        seeds=tuple(seeds),
        out=out,
        device="cpu",
        facts={"profile": "quick", "engine": "inline"},
    )
    return [*inline.compute(job, lambda lacking: progress or Silent())]


def bits_of(run: Run) -> object:
    """Return all of a run that must not depend on what it was trained with."""
    return lasting(to_plain(run))


@pytest.mark.parametrize(
    "kind", ["gru", *(pytest.param(k, marks=pytest.mark.slow) for k in ("birnn", "lstm"))]
)
def test_no_run_depends_on_which_are_with_it(kind, tmp_path):
    """One, two and three seeds at once, which stop at different epochs: equal bits."""
    case = recurrent(kind)
    alone = [compute(case, tmp_path / "alone", [seed])[0] for seed in range(3)]
    pair = compute(case, tmp_path / "pair", [2, 0])
    three = compute(case, tmp_path / "three", [0, 1, 2])

    assert len({len(run.epochs) for run in alone}) > 1
    assert [run.seed for run in pair] == [2, 0]
    assert [bits_of(run) for run in pair] == [bits_of(alone[2]), bits_of(alone[0])]
    assert [bits_of(run) for run in three] == [bits_of(run) for run in alone]
    for seed in range(3):
        one, other = (
            store.run_file(tmp_path / where, f"test[{case}]", seed).with_suffix(".safetensors")
            for where in ("alone", "three")
        )
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.slow
def test_run_that_goes_on_finds_others_at_other_epochs(tmp_path):
    """Three are cut, one of them lost its checkpoints: together again, each ends as alone."""
    case = recurrent()
    expected = [bits_of(run) for run in compute(case, tmp_path / "straight", [0, 1, 2])]
    with pytest.raises(KeyboardInterrupt):
        compute(case, tmp_path / "cut", [0, 1, 2], progress=Cut(4))
    lost = store.place(tmp_path / "cut", f"test[{case}]", 1)
    checkpoints = [*lost.glob("0*.safetensors")]
    for file in checkpoints:
        file.unlink()
    runs = compute(case, tmp_path / "cut", [0, 1, 2])

    assert checkpoints
    assert [run.attempts for run in runs] == [2, 2, 2]
    assert [bits_of(replace(run, attempts=1)) for run in runs] == expected
    assert not (tmp_path / "cut" / "checkpoints" / store.key(f"test[{case}]")).exists()


def test_stored_run_leaves_the_others_together(tmp_path):
    """A run that ended before is kept, and the rest is trained at once."""
    case = recurrent(epochs=2)
    (first,) = compute(case, tmp_path, [1])
    runs = compute(case, tmp_path, [0, 1, 2])

    assert runs[1] == first
    assert [run.together for run in runs] == [2, 1, 2]


class Unchecked(Forecast):
    """A task that trains on whatever there is."""

    def check(self, splits: Series, recipe: Recipe) -> None:
        """Refuse nothing."""


def test_run_that_diverges_takes_no_other_with_it(tmp_path):
    """A loss that is no number ends its own run alone; the others end as without it."""

    def broken(seed: int) -> Series:
        splits = data(seed)
        if seed != 1:
            return splits
        targets = np.full_like(splits.train.targets, 1e300)  # no float32 can hold it
        return replace(splits, train=replace(splits.train, targets=targets))

    case = recurrent(epochs=3, task=Unchecked())
    runs = compute(case, tmp_path / "broken", [0, 1, 2], data=broken)
    whole = compute(case, tmp_path / "whole", [0, 2], data=broken)

    assert [run.status for run in runs] == ["finished", "diverged", "finished"]
    assert len(runs[1].epochs) == 1
    assert [bits_of(runs[0]), bits_of(runs[2])] == [bits_of(run) for run in whole]


def test_seconds_are_shared_out(tmp_path):
    """Each run has its share: parts add up to the run's time, and all runs' to the whole."""
    case = recurrent(epochs=12, patience=12)
    start = perf_counter()
    runs = compute(case, tmp_path, [0, 1, 2])
    whole = perf_counter() - start
    walls = [run.metrics["wall_seconds"] for run in runs]

    for run in runs:
        assert run.together == 3
        assert sum(run.parts.values()) == pytest.approx(run.metrics["wall_seconds"], rel=0.05)
    assert 0.5 * whole < sum(walls) < whole


def test_clock_counts_a_share_for_each(monkeypatch):
    """Each run has its share of a part and the time before it; what is skipped is nobody's."""
    times = iter([0.0, 1.0, 7.0, 9.0, 10.0, 12.0])  # made, part, skipped, part
    monkeypatch.setattr(device, "perf_counter", lambda: next(times))
    one, other = Spent(), Spent()
    shared = Clock(CPU)
    with shared.part("train", one, other):
        pass
    shared.skip()
    with shared.part("evaluate", one):
        pass

    assert (one.parts["train"], other.parts["train"], one.parts["evaluate"]) == (3.0, 3.0, 2.0)
    assert (one.wall_seconds, other.wall_seconds) == (3.5 + 3.0, 3.5)


def test_times_at_once_have_no_interval(tmp_path):
    """Shares of one time tell nothing of how times differ from run to run; errors do."""
    runs = compute(recurrent(epochs=2), tmp_path, [0, 1, 2])
    metrics = Result(id="x", runs=tuple(runs)).metrics

    assert metrics["train_seconds"].mean is not None
    assert (metrics["train_seconds"].sd, metrics["train_seconds"].low) == (None, None)
    assert metrics["test_mse"].low is not None


@pytest.mark.parametrize("kind", KINDS)
def test_lower_precision_leaves_cells_as_they_are(kind, tmp_path, monkeypatch):
    """Under bfloat16 the cells, whose sums need it, stay in float32; the head does not."""
    monkeypatch.setattr(steps, "computes_bfloat16", lambda: True)
    (run,) = compute(recurrent(kind, epochs=2, precision="bfloat16"), tmp_path, [0])

    assert (run.status, run.precision) == ("finished", "bfloat16")


def test_cases_that_cannot_are_trained_one_by_one(tmp_path):
    """Nets without a way to be computed together are trained in turn."""
    runs = compute(replace(recurrent(epochs=2), seeds_at_once=False), tmp_path, [0, 1])

    assert [run.together for run in runs] == [1, 1]


def test_seeds_with_unequal_data_are_trained_one_by_one(tmp_path):
    """A seed that has more data than another would take more steps."""

    def uneven(seed: int) -> Series:
        points = 150 + 10 * seed
        return series.splits(preset="ar", points=points, longest=200, test=60, window=8, seed=0)

    case = recurrent(epochs=2)
    runs = compute(case, tmp_path / "both", [0, 1], data=uneven)
    alone = [compute(case, tmp_path / "alone", [seed], data=uneven)[0] for seed in range(2)]

    assert [run.together for run in runs] == [1, 1]
    assert [bits_of(run) for run in runs] == [bits_of(run) for run in alone]
