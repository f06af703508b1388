"""EfficientNet-Lite0 and -Lite2 (Liu 2020, github.com/tensorflow/tpu, efficientnet/lite).

timm's `tf_` variants, whose padding and norms are those of TensorFlow's weights.
"""

from __future__ import annotations

from torch import nn

from amlnn_models.pictures import picture_cases
from pytest_amlnn.case import Recipe


def efficientnet_lite0(outputs: int, resolution: int) -> nn.Module:
    """Build EfficientNet-Lite0; it takes any resolution."""
    return efficientnet_lite("tf_efficientnet_lite0", outputs)


def efficientnet_lite2(outputs: int, resolution: int) -> nn.Module:
    """Build EfficientNet-Lite2; it takes any resolution."""
    return efficientnet_lite("tf_efficientnet_lite2", outputs)


def efficientnet_lite(name: str, outputs: int) -> nn.Module:
    """Build timm's net as it is."""
    import timm  # only when a net is built: it takes two seconds

    net: nn.Module = timm.create_model(name, num_classes=outputs)
    return net


QUICK = Recipe(epochs=8, learning_rate=0.05, resolution=32)
SEED = Recipe(epochs=5, learning_rate=0.05, patience=2, weight_decay=1e-4, flip=True)
FULL = Recipe(
    epochs=60,
    learning_rate=0.1,
    batch_size=64,
    resolution=128,
    weight_decay=1e-4,
    label_smoothing=0.1,
    flip=True,
    shift=6,
    patience=8,
    precision_cuda="bfloat16",
)
RECIPES = {"quick": QUICK, "seed": SEED, "full": FULL}

CASES = [
    *picture_cases("efficientnet_lite0", efficientnet_lite0, RECIPES),
    *picture_cases("efficientnet_lite2", efficientnet_lite2, RECIPES),
]
