"""Recurrent nets as this project trains them, with its own cells or with torch's."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

import amlnn_models
from amlnn_models import cells
from peers.workers import serve
from pytest_amlnn import FORECAST, Training, discover
from pytest_amlnn.device import deterministic
from pytest_amlnn.progress import Silent
from pytest_amlnn.state import State, optimizer_of
from pytest_amlnn.steps import Steps, train_epoch

CPU = torch.device("cpu")
MODELS = ("lstm", "gru", "birnn", "deep_rnn")
SIZES = (1000, 3000)
SEEDS = (0, 1, 2)
PARTS = ("train", "validation", "test")


@cache
def training_of(model: str, size: int) -> Training:
    """Return that of the seed profile: window 50, 50 units, batch 32, 10 epochs."""
    (found,) = (
        case.training
        for case in discover(amlnn_models)
        if (case.profile, case.training.model, case.size) == ("seed", model, size)
    )
    return found


def save_series(file: Path) -> dict[str, Any]:
    """Write the windows that the nets are fed, and return what else a peer has to know."""
    arrays = {}
    for size, seed in product(SIZES, SEEDS):
        training = training_of("gru", size)
        splits = training.data(seed)
        for part in PARTS:
            split = getattr(splits, part)
            feed = FORECAST.feed(split, splits, training.recipe, CPU)
            inputs, targets = feed.batch(torch.arange(feed.count))
            arrays |= {
                f"{size}-{seed}-{part}-x": inputs.numpy(),
                f"{size}-{seed}-{part}-y": targets.numpy(),
            }
        arrays[f"{size}-{seed}-scale"] = np.asarray(splits.scale)
    np.savez(file, **arrays)
    recipe = training.recipe
    return {
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "learning_rate": recipe.learning_rate,
        "warmup": recipe.warmup,
        "clip_norm": recipe.clip_norm,
        "units": 50,
    }


def epoch_of(model: str, seeds: Sequence[int]) -> Callable[[], float]:
    """Return what trains an epoch on 3,000 points with all seeds at once.

    It says how long a step took, for each seed.
    """
    training = training_of(model, 3000)
    recipe, feeds, states = training.recipe, [], []
    for seed in seeds:
        splits = training.data(seed)
        feeds.append(FORECAST.feed(splits.train, splits, recipe, CPU))
        torch.manual_seed(seed)
        net = training.build(1)
        states.append(State(net=net, optimizer=optimizer_of(net, recipe), best={}))

    def epoch() -> float:
        start = perf_counter()
        steps = [
            Steps(state, feed, recipe, seed)
            for state, feed, seed in zip(states, feeds, seeds, strict=True)
        ]
        trained = train_epoch(steps, FORECAST, recipe, Silent())
        return (perf_counter() - start) / sum(each.steps for each in trained)

    return epoch


ready: dict[str, Callable[[], float]] = {}


def prepare(model: str, seeds: Sequence[int]) -> None:
    """Build and warm up."""
    ready["epoch"] = epoch_of(model, seeds)
    epoch()


def epoch() -> float:
    """Return the seconds of a training step, over one epoch."""
    with deterministic(CPU, 1):
        return ready["epoch"]()


if __name__ == "__main__":
    if os.environ.get("PEERS_CELLS") == "torch":
        cells.fits = lambda *_: False
    serve({"prepare": prepare, "epoch": epoch})
