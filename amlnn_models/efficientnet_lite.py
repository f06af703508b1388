"""EfficientNet-Lite0 and -Lite2 (Liu 2020, github.com/tensorflow/tpu, efficientnet/lite).

timm's `tf_` variants, whose padding and norms are those of TensorFlow's weights.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from amlnn_models.pictures import picture_cases
from amlnn_models.small_maps import quick_on_small_maps
from pytest_amlnn.case import Recipe


def efficientnet_lite0(outputs: int, resolution: int) -> nn.Module:
    """Build EfficientNet-Lite0; it takes any resolution."""
    return efficientnet_lite("tf_efficientnet_lite0", outputs)


def efficientnet_lite2(outputs: int, resolution: int) -> nn.Module:
    """Build EfficientNet-Lite2; it takes any resolution."""
    return efficientnet_lite("tf_efficientnet_lite2", outputs)


def efficientnet_lite(name: str, outputs: int) -> nn.Module:
    """Build timm's net, with norms that follow short trainings too.

    TensorFlow's momentum of 0.01 would leave the running statistics near where they began.
    """
    import timm  # only when a net is built: it takes two seconds

    return quick_on_small_maps(timm.create_model(name, num_classes=outputs, bn_momentum=0.1))


QUICK = Recipe(epochs=4, learning_rate=0.004, optimizer="adamw", resolution=48)
SEED = replace(
    QUICK,
    epochs=5,
    patience=2,
    learning_rate=0.002,
    resolution=64,
    weight_decay=0.05,
    flip=True,
)
FULL = replace(
    SEED, epochs=60, patience=8, batch_size=64, resolution=128, label_smoothing=0.1, shift=6
)
RECIPES = {"quick": QUICK, "seed": SEED, "full": FULL}

CASES = [
    *picture_cases("efficientnet_lite0", efficientnet_lite0, RECIPES, flops_per_pixel=19_000),
    *picture_cases("efficientnet_lite2", efficientnet_lite2, RECIPES, flops_per_pixel=28_000),
]
