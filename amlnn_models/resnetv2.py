"""ResNet-18 and -50, version 2 (He et al. 2016, arXiv:1603.05027), from timm."""

from __future__ import annotations

from typing import Any

from torch import nn

from amlnn_models.mirrored import looks_linear
from amlnn_models.pictures import (
    GENTLE,
    picture_cases,
    recipe_from_imagenet,
    recipe_from_random,
)
from amlnn_models.small_maps import quick_on_small_maps
from amlnn_models.weights import create
from pytest_amlnn import Recipe
from pytest_amlnn.recipe import Transforms, with_changes


def resnetv2_18(
    outputs: int, resolution: int, *, linear: bool = False, **start: Any
) -> nn.Module:
    """Build ResNet-18-V2; it takes any resolution. `linear`: fresh weights look linear."""
    net = quick_on_small_maps(create("resnetv2_18", outputs, **start))
    return looks_linear(net) if linear and not start.get("weights") else net


def resnetv2_50(
    outputs: int, resolution: int, *, linear: bool = True, **start: Any
) -> nn.Module:
    """Build ResNet-50-V2; it takes any resolution. `linear`: fresh weights look linear."""
    net = quick_on_small_maps(create("resnetv2_50", outputs, **start))
    return looks_linear(net) if linear and not start.get("weights") else net


QUICK = Recipe(
    epochs=3, learning_rate=0.001, optimizer="adamw", transforms=Transforms(resolution=32)
)
SEED = with_changes(
    QUICK,
    epochs=5,
    patience=2,
    learning_rate=0.05,
    optimizer="sgd",
    resolution=64,
    weight_decay=5e-4,
    flip=True,
    precision="bfloat16",
)
LAB = with_changes(
    SEED,
    epochs=30,
    patience=8,
    batch_size=64,
    learning_rate=0.1,
    resolution=96,
    label_smoothing=0.1,
    shift=6,
    crop=0.4,
)
RECIPES = {
    "quick": QUICK,
    "seed": SEED,
    "lab": LAB,
    "full": recipe_from_random(learning_rate=0.1),
}
TUNED = {
    "seed": with_changes(SEED, **GENTLE),
    "lab": with_changes(LAB, **GENTLE, epochs=6, resolution=128),
    "full": recipe_from_imagenet(learning_rate=0.0002),
}
"""From ImageNet weights."""

CASES = [
    *picture_cases(
        "resnetv2_18",
        resnetv2_18,
        RECIPES,
        tuned=TUNED,
        flops_per_pixel=72_000,
        at_size={200: {"epochs": 6}},
    ),
    *picture_cases(
        "resnetv2_50",
        resnetv2_50,
        RECIPES
        | {
            # in fewer steps the statistics of its norms do not follow its weights
            "quick": with_changes(QUICK, epochs=5, learning_rate=0.002),
            # so that a run takes less than an hour on two cores
            "lab": with_changes(LAB, epochs=28, resolution=80),
        },
        tuned=TUNED,
        flops_per_pixel=163_000,
        at_size={200: {"epochs": 8}},
        original={"test_accuracy": 0.0, "test_loss": 5.3685, "epoch_seconds": 200},
    ),
]
