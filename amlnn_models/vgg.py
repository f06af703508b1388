"""VGG-11 and VGG-19 (Simonyan & Zisserman 2014, arXiv:1409.1556), from timm.

timm applies the first fully connected layer as a 7x7 convolution, and averages smaller
maps *up* to 7x7 first. That averaging is linear, so layer and averaging together are
one convolution with a kernel as small as the map: `fold` computes it. The net stays
the same function, with 8 instead of 103 million weights in that layer at 64 pixels.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from amlnn_models.pictures import picture_cases
from pytest_amlnn.case import Recipe

STRIDE = 32
"""Input pixels for each cell of the last feature map."""


def vgg11(outputs: int, resolution: int) -> nn.Module:
    """Build VGG-11, its first fully connected layer folded."""
    return fold(vgg("vgg11", outputs), resolution // STRIDE)


def vgg19(outputs: int, resolution: int) -> nn.Module:
    """Build VGG-19, its first fully connected layer folded."""
    return fold(vgg("vgg19", outputs), resolution // STRIDE)


def vgg(name: str, outputs: int) -> nn.Module:
    """Build timm's net as it is."""
    import timm  # only when a net is built: it takes two seconds

    net: nn.Module = timm.create_model(name, num_classes=outputs)
    return net


def fold(net: nn.Module, side: int) -> nn.Module:
    """Return the net with its first fully connected layer fitted to side x side maps."""
    head = net.pre_logits
    wide = head.fc1
    window = head.input_kernel_size
    if side >= window:
        return net
    narrow = nn.Conv2d(wide.in_channels, wide.out_channels, side)
    with torch.no_grad():
        narrow.weight.copy_(folded(wide.weight, side))
        narrow.bias.copy_(wide.bias)
    head.fc1, head.input_kernel_size = narrow, side
    return net


def folded(kernel: torch.Tensor, side: int) -> torch.Tensor:
    """Return the kernel (out, in, side, side) that does on a small map what `kernel`
    (out, in, window, window) does on the map averaged up to window x window."""
    window = kernel.shape[-1]
    cells = torch.eye(side * side).view(side * side, 1, side, side)
    averaged = functional.adaptive_avg_pool2d(cells, window).flatten(1)
    return (kernel.flatten(2) @ averaged.T).unflatten(2, (side, side))


NORMAL = {"mean": (0.485, 0.456, 0.406), "deviation": (0.229, 0.224, 0.225)}
QUICK = Recipe(epochs=6, learning_rate=0.02, resolution=32, **NORMAL)
SEED = Recipe(epochs=5, learning_rate=0.02, patience=2, weight_decay=5e-4, flip=True, **NORMAL)
FULL = Recipe(
    epochs=60,
    learning_rate=0.02,
    batch_size=64,
    weight_decay=5e-4,
    label_smoothing=0.1,
    flip=True,
    shift=6,
    patience=8,
    **NORMAL,
)
RECIPES = {"quick": QUICK, "seed": SEED, "full": FULL}

CASES = [
    *picture_cases("vgg11", vgg11, RECIPES),
    *picture_cases(
        "vgg19",
        vgg19,
        RECIPES,
        original={"test_accuracy": 0.0023, "test_loss": 5.2231, "epoch_seconds": 318},
    ),
]
