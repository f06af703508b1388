"""Convolutions on maps of a few pixels, computed as matrix products on the CPU.

Pictures of 64 pixels leave maps of 8, 4, 2 or 1 to the last layers of nets that were made
for 224. oneDNN (3.x, in torch 2.11 to 2.15) is slow there: it computes with the padding, and
where a map is smaller than the kernel it has no fast code for the gradients. Here every cell of
a kernel is one product over the pixels that it reaches, and cells that reach none cost nothing.
Depthwise convolutions have no such product; the gradient of their kernel is two.

In bfloat16 oneDNN has no fast code for the way back of depthwise convolutions with a stride or
a kernel of 5x5, either: those are computed in float32 whatever the recipe's precision.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

SMALL = 4
"""Height and width of an output up to which products are faster than oneDNN."""
SMALL_FOR_GRADIENTS, MANY_CHANNELS = 8, 256
"""The same for the gradients alone, of convolutions of so many channels and more."""

Sizes = tuple[int, ...]
Convolved = Callable[[Tensor], Tensor]
Cell = tuple[int, int, tuple[slice, slice], tuple[slice, slice]]
"""Row and column of a kernel, and rows and columns of output and input that they join."""


class Products(nn.Conv2d):
    """A convolution that is quick on small maps, too."""

    def forward(self, maps: Tensor) -> Tensor:
        """Map (n, in, height, width) to (n, out, height, width) as nn.Conv2d does."""
        largest = max(sides_of(maps, self.weight, self.stride, self.padding))  # type: ignore[arg-type]
        many = min(self.weight.shape[:2]) >= MANY_CHANNELS and self.weight[0, 0].numel() > 1
        small = largest <= (SMALL_FOR_GRADIENTS if many else SMALL)
        if not small or maps.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(maps)
        kernel = self.weight
        if torch.is_autocast_enabled("cpu"):
            lower = torch.get_autocast_dtype("cpu")
            maps, kernel = maps.to(lower), kernel.to(lower)
        with torch.autocast("cpu", enabled=False):
            convolved: Tensor = CellByCell.apply(maps, kernel, self.stride, self.padding)
            if self.bias is not None:
                convolved = convolved + self.bias.to(convolved.dtype)[:, None, None]
            return convolved


def sides_of(maps: Tensor, kernel: Tensor, stride: Sizes, padding: Sizes) -> Sizes:
    """Return height and width of what a convolution gives."""
    sizes = zip(maps.shape[2:], kernel.shape[2:], stride, padding, strict=True)
    return tuple((size + 2 * pad - side) // step + 1 for size, side, step, pad in sizes)


class Dense(nn.Conv2d):
    """A convolution whose kernel covers its whole input, computed as a matrix product."""

    def forward(self, maps: Tensor) -> Tensor:
        """Map (n, in, side, side) to (n, out, 1, 1); channels last, as the weights lie."""
        inputs, weight = (x.permute(0, 2, 3, 1).flatten(1) for x in (maps, self.weight))
        return functional.linear(inputs, weight, self.bias)[:, :, None, None]


class CellByCell(torch.autograd.Function):
    """A convolution as the sum over the kernel's cells, each a product over what it joins."""

    @staticmethod
    def forward(
        context: Any, maps: Tensor, kernel: Tensor, stride: Sizes, padding: Sizes
    ) -> Tensor:
        """Convolve maps (n, in, height, width) with a kernel (out, in, height, width)."""
        sides = sides_of(maps, kernel, stride, padding)
        shapes = tuple(maps.shape[2:]), tuple(kernel.shape[2:]), sides
        context.save_for_backward(maps, kernel)
        context.cells = cells(*shapes, stride, padding)
        if max(sides) > SMALL:
            return functional.conv2d(maps, kernel, None, stride, padding)
        pixels, whole = maps.permute(0, 2, 3, 1), (len(maps), *sides, len(kernel))
        total = None
        for row, column, there, here in context.cells:
            read = pixels[:, *here]
            product = read.reshape(-1, maps.shape[1]) @ kernel[:, :, row, column].T
            total = accumulate(total, product.view(*read.shape[:3], len(kernel)), there, whole)
        assert total is not None  # every output has a cell that reaches it
        return total.to(maps.dtype).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> Any:
        """Return the gradients of maps and kernel."""
        maps, kernel = context.saved_tensors
        pixels, arriving = maps.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
        by_kernel, by_maps = torch.zeros_like(kernel), None
        for row, column, there, here in context.cells:
            read, came = pixels[:, *here], arriving[:, *there].reshape(-1, len(kernel))
            block = by_kernel[:, :, row, column]
            torch.mm(came.T, read.reshape(-1, maps.shape[1]), out=block)
            if context.needs_input_grad[0]:
                product = came @ kernel[:, :, row, column]
                by_maps = accumulate(by_maps, product.view(read.shape), here, pixels.shape)
        if by_maps is not None:
            by_maps = by_maps.to(maps.dtype).permute(0, 3, 1, 2)
        return by_maps, by_kernel, None, None


def accumulate(
    total: Tensor | None, product: Tensor, where: tuple[slice, slice], shape: Sizes
) -> Tensor:
    """Return the sum so far with a product added to a part of it, in float32.

    What would be added to zeros everywhere is the sum itself.
    """
    if total is None and product.shape == shape:
        return product.float()
    if total is None:
        total = torch.zeros(shape)
    total[:, *where] += product
    return total


@cache
def cells(
    sizes: Sizes, kernels: Sizes, sides: Sizes, stride: Sizes, padding: Sizes
) -> list[Cell]:
    """Return the cells of a kernel that reach any pixel, those that reach most first."""
    rows, columns = (
        [(cell, *joined) for cell in range(kernel) if (joined := joins(cell, *rest))]
        for kernel, *rest in zip(kernels, sizes, sides, stride, padding, strict=True)
    )
    found = [
        (row, column, (there, over), (here, from_))
        for row, there, here in rows
        for column, over, from_ in columns
    ]
    return sorted(found, key=lambda cell: -length(cell[2][0]) * length(cell[2][1]))


def joins(
    cell: int, size: int, side: int, stride: int, padding: int
) -> tuple[slice, slice] | None:
    """Return which rows of an output a kernel's row gives, and of which of the input's."""
    first = max(0, -(-(padding - cell) // stride))
    last = min(side - 1, (size - 1 + padding - cell) // stride)
    if last < first:
        return None
    start, end = (place * stride + cell - padding for place in (first, last))
    return slice(first, last + 1), slice(start, end + 1, stride)


def length(part: slice) -> int:
    """Return how many places a slice of an output holds."""
    return int(part.stop - part.start)


class Depthwise(nn.Conv2d):
    """A depthwise convolution of stride 1 whose gradient is quick on small maps, too."""

    def forward(self, maps: Tensor) -> Tensor:
        """Map (n, channels, height, width) to the same shape."""
        side = self.weight.shape[-1]
        small = max(maps.shape[2:]) < side
        if maps.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(maps)
        if small:
            return in_float32(lambda maps: SmallMap.apply(maps, self.weight), maps)
        return in_float32(super().forward, maps) if side > 3 else super().forward(maps)


class Strided(nn.Conv2d):
    """A depthwise convolution with a stride, padded as TensorFlow does."""

    def forward(self, maps: Tensor) -> Tensor:
        """Map (n, channels, height, width) to as many channels on a map as small as the stride
        makes it, rounded up."""
        from timm.layers.conv2d_same import conv2d_same  # loaded where timm made the net

        stride = self.stride[0], self.stride[1]
        convolved: Convolved = partial(
            conv2d_same, weight=self.weight, stride=stride, groups=self.groups
        )
        if maps.device.type != "cpu" or not torch.is_grad_enabled():
            return convolved(maps)
        return in_float32(convolved, maps)


def in_float32(convolved: Convolved, maps: Tensor) -> Tensor:
    """Return what a layer makes of maps, computed in float32 even under autocast."""
    if not torch.is_autocast_enabled("cpu"):
        return convolved(maps)
    with torch.autocast("cpu", enabled=False):
        return convolved(maps.float()).to(torch.get_autocast_dtype("cpu"))


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
    """Return the net with convolutions that are quick on small maps in place of its own.

    Names, weights and what they compute stay.
    """
    for layer in [*net.modules()]:
        for name, conv in layer.named_children():
            if isinstance(conv, nn.Conv2d) and (kind := kind_for(conv)):
                setattr(layer, name, like(conv, kind))
    return net


def kind_for(conv: nn.Conv2d) -> type[nn.Conv2d] | None:
    """Return the class that can compute what a convolution does; None where none can."""
    plain = conv.dilation == (1, 1) and not isinstance(conv.padding, str)
    alone = conv.groups == conv.in_channels == conv.out_channels and conv.bias is None
    if type(conv).__name__ == "Conv2dSame":  # timm's: a hint of its type would import timm
        return Strided if plain and alone else None
    if type(conv) is not nn.Conv2d:
        return None
    if plain and conv.groups == 1 and conv.padding_mode == "zeros":
        return Products
    side = conv.kernel_size[0]
    depthwise = (
        plain
        and alone
        and (conv.kernel_size, conv.stride) == ((side, side), (1, 1))
        and conv.padding == (side // 2, side // 2)
        and side % 2 == 1
    )
    return Depthwise if depthwise else None


def like(conv: nn.Conv2d, kind: type[nn.Conv2d]) -> nn.Conv2d:
    """Return a layer of another class with the settings and weights of a convolution."""
    layer = kind(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        groups=conv.groups,
        bias=conv.bias is not None,
        device="meta",
    )
    layer.weight, layer.bias = conv.weight, conv.bias
    return layer
