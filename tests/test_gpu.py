"""Nets of pictures on a GPU, beside the CPU."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import amlnn_models
from amlnn_datasets import shapes
from pytest_amlnn import training
from pytest_amlnn.case import discover
from pytest_amlnn.data import Pictures
from pytest_amlnn.progress import Silent
from pytest_amlnn.result import Run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU")

CASES = {
    case.model: case
    for case in discover(amlnn_models)
    if (case.profile, case.dataset, case.size) == ("quick", "shapes", 200)
}


def data(seed: int) -> Pictures:
    """Return a few drawn pictures."""
    return shapes.splits(size=200, classes=10, validation=10)


def trained(model: str, device: str, **changes: Any) -> Run:
    """Train for one epoch."""
    case = CASES[model]
    case = replace(case, recipe=replace(case.recipe, epochs=1, **changes))
    place = torch.device(device, 0) if device == "cuda" else torch.device(device)
    begun = training.begun(case, id="test", seed=0, device=place)
    (outcome,) = training.train(case, data, [begun], device=place, progress=Silent())
    return outcome.run


@pytest.mark.parametrize("model", CASES)
def test_net_learns_on_a_gpu_as_on_the_cpu(model):
    """An epoch's training loss is within 3 % of the CPU's; convolutions are in TF32 there."""
    there, here = (
        trained(model, device, precision_cuda="float32").epochs[0].train_loss
        for device in ("cuda", "cpu")
    )

    assert there == pytest.approx(here, rel=0.03)


@pytest.mark.parametrize("model", CASES)
def test_net_learns_the_same_twice(model):
    """In bfloat16, with augmentation, two runs on a GPU are equal bit for bit."""
    changes = {"flip": True, "shift": 2, "crop": 0.5}
    first, second = (trained(model, "cuda", **changes) for _ in range(2))

    for metric in ("train_loss", "val_loss", "gradient_norm"):
        assert getattr(first.epochs[0], metric) == getattr(second.epochs[0], metric)
    assert first.metrics["test_loss"] == second.metrics["test_loss"]
