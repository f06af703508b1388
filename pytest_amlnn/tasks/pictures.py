"""Batches of pictures, normalised, resized and augmented on the device."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms.v2 import CutMix, MixUp, RandomChoice

from pytest_amlnn.data import Split
from pytest_amlnn.recipe import Recipe, Transforms
from pytest_amlnn.steps import Batch, Feed

RATIO = math.log(4 / 3)
"""Of a crop's sides at most, as a logarithm."""


def feed_of_pictures(split: Split, classes: int, recipe: Recipe, device: torch.device) -> Feed:
    """Return what gives inputs (n, 3, resolution, resolution) and labels (n,).

    A GPU keeps the whole split, as uint8; elsewhere pictures are read from the memory map
    as they are wanted. With a generator they are augmented, on the device.
    """
    transforms = recipe.transforms
    labels = torch.from_numpy(split.targets.astype("int64")).to(device)
    if device.type == "cuda":
        kept = torch.from_numpy(split.inputs[split.rows]).to(device)

    mixes = [MixUp(alpha=transforms.mixup, num_classes=classes)] if transforms.mixup else []
    if transforms.cutmix:
        mixes.append(CutMix(alpha=transforms.cutmix, num_classes=classes))
    mix = RandomChoice(mixes) if mixes else None

    def batch(chosen: Tensor, generator: torch.Generator | None = None) -> Batch:
        if device.type == "cuda":
            pixels = kept[chosen.to(device)]
        else:
            pixels = torch.from_numpy(split.inputs[split.rows[chosen.numpy()]]).to(device)
        targets = labels[chosen.to(device)]
        if generator is None or not augments(transforms):
            return resize(normalise(pixels, transforms), transforms.resolution), targets
        images = augment(pixels, transforms, generator)
        if mix is None:
            return images, targets
        # torchvision draws from the global state, which other runs draw from as well
        drawn = int(torch.randint(2**63 - 1, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(drawn)
            pair: Batch = mix(images, targets)
        return pair

    return Feed(count=len(split), batch=batch)


def augments(transforms: Transforms) -> bool:
    """Return whether training pictures are changed at random."""
    crops, moves = transforms.crop < 1, transforms.flip or transforms.shift
    return bool(crops or moves or transforms.mixup or transforms.cutmix)


def augment(pixels: Tensor, transforms: Transforms, generator: torch.Generator) -> Tensor:
    """Return (n, height, width, 3) uint8 as `normalise` does, each picture changed at random.

    It is mirrored, moved and cropped in the same sampling that resizes it, edges repeated.
    """
    count, height, width, _ = pixels.shape

    def uniform(low: float, high: float, *sizes: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *sizes, generator=generator)

    # area and ratio of the crop's sides as in torchvision's RandomResizedCrop, the ratio kept
    # to what a crop of that area can have within the picture
    area = uniform(transforms.crop, 1.0, 1)
    ratio = torch.exp(uniform(-1.0, 1.0, 1) * RATIO).clamp(area, 1 / area)
    sides = torch.cat([(area * ratio).sqrt(), (area / ratio).sqrt()], 1)
    mirrored = torch.where(uniform(0, 1) < (0.5 if transforms.flip else 0.0), -1.0, 1.0)
    whole = uniform(-1, 1, 2)
    shifts = uniform(-1, 1, 2) * 2 * transforms.shift / torch.tensor([width, height])
    centers = whole * (1 - sides) + shifts
    # rows of an affine map from output to input, both in -1..1
    maps = torch.zeros(count, 2, 3)
    maps[:, 0, 0], maps[:, 1, 1], maps[:, :, 2] = sides[:, 0] * mirrored, sides[:, 1], centers
    images = normalise(pixels, transforms)
    if max(height, width) > transforms.resolution:  # sampling alone would skip pixels
        images = resize(images, transforms.resolution)
    shape = [count, 3, transforms.resolution, transforms.resolution]
    grid = functional.affine_grid(maps.to(pixels.device), shape, align_corners=False)
    sampled = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return sampled.contiguous(memory_format=torch.channels_last)


def normalise(pixels: Tensor, transforms: Transforms) -> Tensor:
    """Return (n, height, width, 3) uint8 as floats, a channels-last (n, 3, height, width)."""
    mean = torch.tensor(transforms.mean, device=pixels.device).view(3, 1, 1) * 255
    deviation = torch.tensor(transforms.deviation, device=pixels.device).view(3, 1, 1) * 255
    return (pixels.permute(0, 3, 1, 2) - mean) / deviation


def resize(images: Tensor, size: int) -> Tensor:
    """Return pictures (n, 3, height, width) as (n, 3, size, size)."""
    if images.shape[2:] == (size, size):
        return images
    shrunk = size < max(images.shape[2:])  # there is nothing to smooth in larger pictures
    larger = functional.interpolate(images, (size, size), mode="bilinear", antialias=shrunk)
    return larger.contiguous(memory_format=torch.channels_last)


def channels_last(net: nn.Module, device: torch.device) -> nn.Module:
    """Put a net on the device, in the memory format that convolutions are fastest in."""
    return net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
