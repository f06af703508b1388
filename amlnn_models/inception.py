"""Inception-V3 (Szegedy et al. 2015, arXiv:1512.00567) and -V4 (2016, arXiv:1602.07261).

timm's nets; their unpadded stems need pictures of at least 75 pixels.
"""

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

SMALLEST = 75


def inception_v3(outputs: int, resolution: int, **start: Any) -> nn.Module:
    """Build Inception-V3 without its auxiliary head; ValueError under 75 pixels."""
    return inception("inception_v3", outputs, resolution, **start)


def inception_v4(outputs: int, resolution: int, **start: Any) -> nn.Module:
    """Build Inception-V4; ValueError under 75 pixels."""
    return inception("inception_v4", outputs, resolution, **start)


def inception(
    name: str, outputs: int, resolution: int, *, linear: bool = True, **start: Any
) -> nn.Module:
    """Build timm's net; `linear`: fresh weights look linear."""
    if resolution < SMALLEST:
        raise ValueError(
            f"{name} needs {SMALLEST} pixels or more, the recipe says {resolution}"
        )
    net = quick_on_small_maps(create(name, outputs, **start))
    return looks_linear(net) if linear and not start.get("weights") else net


QUICK = Recipe(
    epochs=2, learning_rate=0.002, optimizer="adamw", transforms=Transforms(resolution=SMALLEST)
)
SEED = with_changes(
    QUICK,
    epochs=5,
    patience=2,
    optimizer="sgd",
    learning_rate=0.05,
    clip_norm=1.0,
    weight_decay=5e-4,
    flip=True,
    precision="bfloat16",
)
LAB = with_changes(
    SEED, epochs=20, patience=6, batch_size=64, label_smoothing=0.1, shift=6, crop=0.4
)
RECIPES = {
    "quick": QUICK,
    "seed": SEED,
    "lab": LAB,
    "full": recipe_from_random(learning_rate=0.05),
}
TUNED = {
    "seed": with_changes(SEED, **GENTLE),
    "lab": with_changes(LAB, **GENTLE, epochs=6, resolution=128),
    "full": recipe_from_imagenet(learning_rate=0.0002),
}
"""From ImageNet weights."""

CASES = [
    *picture_cases(
        "inception_v3",
        inception_v3,
        RECIPES,
        tuned=TUNED,
        flops_per_pixel=72_000,
        at_size={200: {"epochs": 3}},
    ),
    *picture_cases(
        "inception_v4",
        inception_v4,
        {**RECIPES, "quick": with_changes(QUICK, epochs=3, learning_rate=0.0005)},
        tuned=TUNED,
        flops_per_pixel=152_000,
        at_size={200: {"epochs": 4}},
        original={"test_accuracy": 0.0006, "test_loss": 5.2444, "epoch_seconds": 127},
    ),
]
