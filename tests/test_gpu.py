"""Nets of pictures on a GPU, beside the CPU."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from small_cases import CPU, GPU, needs_cuda, trained

import amlnn_models
from pytest_amlnn import Run, discover
from pytest_amlnn.recipe import with_changes

pytestmark = needs_cuda

CASES = {
    case.training.model: case
    for case in discover(amlnn_models)
    if (case.profile, case.training.data.name, case.size) == ("quick", "shapes", 200)
}


def one_epoch(model: str, device: torch.device, **changes: Any) -> Run:
    """Train a net of the quick profile for one epoch."""
    case, training = CASES[model], CASES[model].training
    recipe = with_changes(training.recipe, epochs=1, **changes)
    case = replace(case, training=replace(training, recipe=recipe))
    return trained(case, training.data, device=device).run


@pytest.mark.parametrize("model", CASES)
def test_net_learns_on_a_gpu_as_on_the_cpu(model):
    """An epoch's training loss is within 3 % of the CPU's; convolutions are in TF32 there."""
    there, here = (
        one_epoch(model, device, precision_cuda="float32").epochs[0].train["loss"]
        for device in (GPU, CPU)
    )

    assert there == pytest.approx(here, rel=0.03)


@pytest.mark.parametrize("model", CASES)
def test_net_learns_the_same_twice(model):
    """In bfloat16, with augmentation, two runs on a GPU are equal bit for bit."""
    changes = {"flip": True, "shift": 2, "crop": 0.5}
    first, second = (one_epoch(model, GPU, **changes) for _ in range(2))

    for part in ("train", "validation", "gradient_norm"):
        assert getattr(first.epochs[0], part) == getattr(second.epochs[0], part)
    assert first.metrics["test_loss"] == second.metrics["test_loss"]
