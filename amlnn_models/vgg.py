"""VGG-11 and VGG-19 (Simonyan & Zisserman 2014, arXiv:1409.1556), from timm.

timm applies the first fully connected layer as a 7x7 convolution, and averages smaller
maps *up* to 7x7 first. That averaging is linear, so layer and averaging together are
one convolution with a kernel as small as the map: `fold` computes it. The net stays
the same function, with 8 instead of 103 million weights in that layer at 64 pixels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from amlnn_models.mirrored import looks_linear
from amlnn_models.pictures import (
    GENTLE,
    picture_cases,
    recipe_from_imagenet,
    recipe_from_random,
)
from amlnn_models.small_maps import Dense, quick_on_small_maps
from amlnn_models.weights import create
from pytest_amlnn import Recipe
from pytest_amlnn.recipe import Transforms, with_changes

STRIDE = 32
"""Input pixels for each cell of the last feature map."""


def vgg11(outputs: int, resolution: int, **start: Any) -> nn.Module:
    """Build VGG-11, its first fully connected layer folded."""
    return vgg("vgg11", outputs, resolution, **start)


def vgg19(outputs: int, resolution: int, **start: Any) -> nn.Module:
    """Build VGG-19, its first fully connected layer folded."""
    return vgg("vgg19", outputs, resolution, **start)


def vgg(
    name: str, outputs: int, resolution: int, *, linear: bool = True, **start: Any
) -> nn.Module:
    """Build timm's net and fold it; `linear`: fresh weights look linear."""
    net = fold(quick_on_small_maps(create(name, outputs, **start)), resolution // STRIDE)
    return looks_linear(net) if linear and not start.get("weights") else net


def fold(net: Any, side: int) -> nn.Module:
    """Return the net with its fully connected layers fitted to side x side maps."""
    head = net.pre_logits
    if side <= head.input_kernel_size:
        head.fc1 = dense(fold_kernel(head.fc1.weight.detach(), side), head.fc1.bias)
        head.fc2 = dense(head.fc2.weight.detach(), head.fc2.bias)
        head.input_kernel_size = side
    whole: nn.Module = net
    return whole


def dense(kernel: Tensor, bias: nn.Parameter) -> Dense:
    """Return a dense layer with these weights."""
    layer = Dense(kernel.shape[1], kernel.shape[0], kernel.shape[2], device="meta")
    layer.weight, layer.bias = nn.Parameter(kernel), bias
    return layer


def fold_kernel(kernel: Tensor, side: int) -> Tensor:
    """Return the kernel (out, in, side, side) that does on a small map what `kernel`
    (out, in, window, window) does on the map averaged up to window x window."""
    window = kernel.shape[-1]
    cells = torch.eye(side * side).view(side * side, 1, side, side)
    averaged = functional.adaptive_avg_pool2d(cells, window).flatten(1)
    return (kernel.flatten(2) @ averaged.T).reshape(*kernel.shape[:2], side, side)


IMAGENET: dict[str, Any] = {
    "mean": (0.485, 0.456, 0.406),
    "deviation": (0.229, 0.224, 0.225),
}
"""What pictures were normalised by when the weights of ImageNet were trained."""
QUICK = Recipe(
    epochs=3,
    batch_size=16,
    learning_rate=0.02,
    clip_norm=1.0,
    standardise=True,
    transforms=Transforms(resolution=32, **IMAGENET),
)
SEED = with_changes(
    QUICK,
    epochs=5,
    patience=2,
    batch_size=32,
    resolution=64,
    weight_decay=5e-4,
    flip=True,
    precision="bfloat16",
)
LAB = with_changes(SEED, epochs=8, patience=6, label_smoothing=0.1, shift=3, crop=0.7)
RECIPES = {
    "quick": QUICK,
    "seed": SEED,
    "lab": LAB,
    "full": recipe_from_random(learning_rate=0.02, standardise=True),
}
TUNED = {
    "seed": with_changes(SEED, **GENTLE),
    "lab": with_changes(LAB, **GENTLE, shift=6, epochs=6, batch_size=64, resolution=128),
    "full": recipe_from_imagenet(learning_rate=0.0001, **IMAGENET),
}
"""From ImageNet weights."""

CASES = [
    *picture_cases(
        "vgg11",
        vgg11,
        RECIPES | {"lab": with_changes(LAB, resolution=96)},
        tuned=TUNED,
        flops_per_pixel=335_000,
    ),
    *picture_cases(
        "vgg19",
        vgg19,
        # in the same time more epochs on fewer pixels teach a deep net more
        RECIPES | {"lab": with_changes(LAB, epochs=10, resolution=48, crop=1.0)},
        tuned=TUNED,
        flops_per_pixel=815_000,
        original={"test_accuracy": 0.0023, "test_loss": 5.2231, "epoch_seconds": 318},
    ),
]
