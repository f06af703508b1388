"""Inception-V3 (Szegedy et al. 2015, arXiv:1512.00567) and -V4 (2016, arXiv:1602.07261).

timm's nets as they are: their unpadded stems need pictures of at least 75 pixels.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from amlnn_models.pictures import picture_cases
from amlnn_models.small_maps import quick_on_small_maps
from pytest_amlnn.case import Recipe

SMALLEST = 75


def inception_v3(outputs: int, resolution: int) -> nn.Module:
    """Build Inception-V3 without its auxiliary head; ValueError under 75 pixels."""
    return inception("inception_v3", outputs, resolution)


def inception_v4(outputs: int, resolution: int) -> nn.Module:
    """Build Inception-V4; ValueError under 75 pixels."""
    return inception("inception_v4", outputs, resolution)


def inception(name: str, outputs: int, resolution: int) -> nn.Module:
    """Build timm's net."""
    import timm  # only when a net is built: it takes two seconds

    if resolution < SMALLEST:
        raise ValueError(
            f"{name} needs {SMALLEST} pixels or more, the recipe says {resolution}"
        )
    return quick_on_small_maps(timm.create_model(name, num_classes=outputs))


# SGD leaves these stems, drawn wide by timm, at chance for epochs; AdamW does not
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
FULL = replace(SEED, epochs=60, patience=8, batch_size=64, label_smoothing=0.1, shift=6)
RECIPES = {"quick": QUICK, "seed": SEED, "full": FULL}

CASES = [
    *picture_cases("inception_v3", inception_v3, RECIPES, flops_per_pixel=72_000),
    *picture_cases(
        "inception_v4",
        inception_v4,
        {**RECIPES, "quick": replace(QUICK, epochs=3, learning_rate=0.0005)},
        flops_per_pixel=152_000,
        original={"test_accuracy": 0.0006, "test_loss": 5.2444, "epoch_seconds": 127},
    ),
]
