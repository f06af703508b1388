"""Depthwise convolutions on maps that are smaller than their kernel.

There oneDNN (3.x, in torch 2.11 to 2.15) computes the gradient of the kernel without its fast
code: 20 to 40 ms where a map of 6 x 6 takes 3. Two matrix products do it in less than one.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


class Depthwise(nn.Conv2d):
    """A depthwise convolution of stride 1 whose gradient is quick on small maps, too."""

    def forward(self, maps: Tensor) -> Tensor:
        """Map (n, channels, height, width) to the same shape."""
        small = max(maps.shape[2:]) < self.weight.shape[-1]
        if not small or maps.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(maps)
        convolved: Tensor = SmallMap.apply(maps, self.weight)
        return convolved


class SmallMap(torch.autograd.Function):
    """A depthwise convolution, padded so that maps keep their size."""

    @staticmethod
    def forward(context: Any, maps: Tensor, kernel: Tensor) -> Tensor:
        """Convolve maps (n, channels, height, width) with kernels (channels, 1, side, side)."""
        context.save_for_backward(maps, kernel)
        return functional.conv2d(maps, kernel, None, 1, kernel.shape[-1] // 2, 1, len(kernel))

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of maps and kernel."""
        maps, kernel = context.saved_tensors
        channels, _, side, _ = kernel.shape
        height, width = maps.shape[2:]
        # how much every cell of the input goes with every cell of the output, by channel
        cells = by_channel(maps) @ by_channel(gradient).transpose(1, 2)
        kernels = cells.flatten(1) @ displacements(height, width, side)
        before, *_ = torch.ops.aten.convolution_backward(
            gradient, maps, kernel, None, [1, 1], [side // 2] * 2, [1, 1], False, [0, 0],
            channels, [True, False, False],
        )  # fmt: skip
        return before, kernels.view_as(kernel)


def by_channel(maps: Tensor) -> Tensor:
    """Return maps (n, channels, height, width) as (channels, height * width, n), contiguous.

    A product of many matrices copies each of them where they are not.
    """
    return maps.permute(1, 2, 3, 0).flatten(1, 2).contiguous()


@cache
def displacements(height: int, width: int, side: int) -> Tensor:
    """Return which cell of the kernel joins which two cells of the maps.

    Of shape (height * width * height * width, side * side): 1 where the kernel's cell leads
    from the output's to the input's, else 0.
    """
    cells = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    across = cells[:, None] - cells[None, :] + side // 2
    inside = ((across >= 0) & (across < side)).all(2)
    where = (across[..., 0] * side + across[..., 1]).clamp(0, side * side - 1)
    joined = functional.one_hot(where, side * side) * inside[..., None]
    return joined.flatten(0, 1).float()


def quick_on_small_maps(net: nn.Module) -> nn.Module:
    """Return the net with `Depthwise` in place of its depthwise convolutions of stride 1."""
    for layer in [*net.modules()]:
        for name, conv in layer.named_children():
            if type(conv) is nn.Conv2d and fits(conv):
                setattr(layer, name, like(conv))
    return net


def fits(conv: nn.Conv2d) -> bool:
    """Return whether `Depthwise` can take the place of a convolution."""
    side = conv.kernel_size[0]
    return (
        conv.groups == conv.in_channels == conv.out_channels
        and conv.bias is None
        and (conv.kernel_size, conv.stride, conv.dilation) == ((side, side), (1, 1), (1, 1))
        and conv.padding == (side // 2, side // 2)
        and side % 2 == 1
    )


def like(conv: nn.Conv2d) -> Depthwise:
    """Return a `Depthwise` with the weights of a convolution."""
    side, channels = conv.kernel_size[0], conv.in_channels
    layer = Depthwise(
        channels, channels, side, padding=side // 2, groups=channels, bias=False, device="meta"
    )
    layer.weight = conv.weight
    return layer
