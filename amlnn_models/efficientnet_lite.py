"""EfficientNet-Lite0 and -Lite2 (Liu 2020, github.com/tensorflow/tpu, efficientnet/lite).

timm's `tf_` variants, whose padding and norms are those of TensorFlow's weights.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from amlnn_models.pictures import picture_cases, recipe_from_imagenet, recipe_from_random
from amlnn_models.small_maps import quick_on_small_maps
from amlnn_models.weights import create
from pytest_amlnn import Recipe
from pytest_amlnn.recipe import Transforms, with_changes


def efficientnet_lite0(outputs: int, resolution: int, **start: Any) -> nn.Module:
    """Build EfficientNet-Lite0; it takes any resolution."""
    return efficientnet_lite("tf_efficientnet_lite0", outputs, **start)


def efficientnet_lite2(outputs: int, resolution: int, **start: Any) -> nn.Module:
    """Build EfficientNet-Lite2; it takes any resolution."""
    return efficientnet_lite("tf_efficientnet_lite2", outputs, **start)


def efficientnet_lite(name: str, outputs: int, **start: Any) -> nn.Module:
    """Build timm's net, with norms that follow short trainings too.

    TensorFlow's momentum of 0.01 would leave the running statistics near where they began.
    """
    return quick_on_small_maps(create(name, outputs, **start, bn_momentum=0.1))


QUICK = Recipe(
    epochs=4, learning_rate=0.004, optimizer="adamw", transforms=Transforms(resolution=48)
)
SEED = with_changes(
    QUICK,
    epochs=5,
    patience=2,
    learning_rate=0.002,
    resolution=64,
    weight_decay=0.05,
    flip=True,
)
LAB = with_changes(
    SEED, epochs=60, patience=8, batch_size=64, resolution=128, label_smoothing=0.1, shift=6
)
RECIPES = {
    "quick": QUICK,
    "seed": SEED,
    "lab": LAB,
    "full": recipe_from_random(learning_rate=0.1),
}
TUNED = {
    "seed": with_changes(
        SEED, learning_rate=0.0002, label_smoothing=0.1, shift=6, freeze_norms=True
    ),
    "lab": with_changes(
        LAB,
        epochs=5,
        learning_rate=0.0004,
        layer_decay=0.9,
        averaging=0.99,
        resolution=160,
        crop=0.5,
        freeze_norms=True,
        precision="bfloat16",
    ),
    "full": recipe_from_imagenet(learning_rate=0.0004),
}
"""From ImageNet weights."""

CASES = [
    *picture_cases(
        "efficientnet_lite0",
        efficientnet_lite0,
        RECIPES,
        tuned=TUNED,
        flops_per_pixel=19_000,
        at_size={200: {"epochs": 6, "batch_size": 16}},
    ),
    *picture_cases(
        "efficientnet_lite2",
        efficientnet_lite2,
        RECIPES,
        tuned=TUNED | {"lab": with_changes(TUNED["lab"], epochs=3, resolution=192)},
        flops_per_pixel=28_000,
        at_size={200: {"epochs": 10}},
    ),
]
