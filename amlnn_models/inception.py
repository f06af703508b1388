"""Inception-V3 (Szegedy et al. 2015, arXiv:1512.00567) and -V4 (2016, arXiv:1602.07261).

timm's nets; their unpadded stems need pictures of at least 75 pixels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from amlnn_models.pictures import picture_cases
from amlnn_models.small_maps import quick_on_small_maps
from amlnn_models.weights import create
from pytest_amlnn.case import Recipe

SMALLEST = 75


def inception_v3(outputs: int, resolution: int, **start: Any) -> nn.Module:
    """Build Inception-V3 without its auxiliary head; ValueError under 75 pixels."""
    net = inception("inception_v3", outputs, resolution, **start)
    return net if start else redrawn(net)


def inception_v4(outputs: int, resolution: int, **start: Any) -> nn.Module:
    """Build Inception-V4; ValueError under 75 pixels."""
    return inception("inception_v4", outputs, resolution, **start)


def inception(name: str, outputs: int, resolution: int, **start: Any) -> nn.Module:
    """Build timm's net."""
    if resolution < SMALLEST:
        raise ValueError(
            f"{name} needs {SMALLEST} pixels or more, the recipe says {resolution}"
        )
    return quick_on_small_maps(create(name, outputs, **start))


def redrawn(net: nn.Module) -> nn.Module:
    """Draw weights anew as He et al. (2015, arXiv:1502.01852) do, and a head that says little.

    timm draws all of Inception-V3 with a deviation of 0.1, as TensorFlow's RMSProp wanted it:
    four times as wide, so that steps change less, and a head that is sure of what it guesses.
    """
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
    return net


QUICK = Recipe(epochs=2, learning_rate=0.002, optimizer="adamw", resolution=SMALLEST)
SEED = replace(
    QUICK,
    epochs=5,
    patience=2,
    learning_rate=0.001,
    weight_decay=0.05,
    flip=True,
    precision="bfloat16",
)
FULL = replace(
    SEED, epochs=30, patience=8, batch_size=64, label_smoothing=0.1, shift=6, crop=0.4
)
RECIPES = {"quick": QUICK, "seed": SEED, "full": FULL}
TUNED = {
    "seed": replace(SEED, optimizer="sgd", learning_rate=0.01, weight_decay=5e-5),
    "full": replace(
        FULL, epochs=6, optimizer="sgd", learning_rate=0.01, weight_decay=5e-5, resolution=128
    ),
}
"""From ImageNet weights."""

CASES = [
    *picture_cases("inception_v3", inception_v3, RECIPES, tuned=TUNED, flops_per_pixel=72_000),
    *picture_cases(
        "inception_v4",
        inception_v4,
        {**RECIPES, "quick": replace(QUICK, epochs=3, learning_rate=0.0005)},
        tuned=TUNED,
        flops_per_pixel=152_000,
        original={"test_accuracy": 0.0006, "test_loss": 5.2444, "epoch_seconds": 127},
    ),
]
