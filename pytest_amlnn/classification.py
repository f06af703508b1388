"""What pictures with labels mean to training: batches, loss, scores."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms.v2 import CutMix, MixUp, RandomChoice

from pytest_amlnn.case import Recipe
from pytest_amlnn.data import Pictures, Split, Weights
from pytest_amlnn.feeding import Batch, Feed
from pytest_amlnn.statistics import IMPLAUSIBLE, chance_of_so_few

Examples = dict[str, np.ndarray]

RATIO = math.log(4 / 3)
"""Of a crop's sides at most, as a logarithm."""


def outputs(splits: Pictures) -> int:
    """Return the number of outputs that a net needs: one a class."""
    return len(splits.classes)


def start(splits: Pictures, weights: Weights) -> dict[str, object]:
    """Return what a net's builder needs besides to start from trained weights."""
    return {"weights": weights, "classes": splits.classes}


def facts(splits: Pictures) -> dict[str, object]:
    """Return what each run's record says of the pictures; class words stand elsewhere."""
    said = {name: fact for name, fact in splits.facts.items() if name != "words"}
    return {**said, "classes": list(splits.classes)}


def feed(split: Split, splits: Pictures, recipe: Recipe, device: torch.device) -> Feed:
    """Return what gives inputs (n, 3, resolution, resolution) and labels (n,).

    A GPU keeps the whole split, as uint8; elsewhere pictures are read from the memory map
    as they are wanted. With a generator they are augmented, on the device.
    """
    labels = torch.from_numpy(split.targets).to(device)
    if device.type == "cuda":
        kept = torch.from_numpy(split.inputs[split.rows]).to(device)

    count = len(splits.classes)
    mixes = [MixUp(alpha=recipe.mixup, num_classes=count)] if recipe.mixup else []
    mixes += [CutMix(alpha=recipe.cutmix, num_classes=count)] if recipe.cutmix else []
    mix = RandomChoice(mixes) if mixes else None

    def batch(chosen: Tensor, generator: torch.Generator | None = None) -> Batch:
        if device.type == "cuda":
            pixels = kept[chosen.to(device)]
        else:
            pixels = torch.from_numpy(split.inputs[split.rows[chosen.numpy()]]).to(device)
        classes = labels[chosen.to(device)]
        if generator is None or not augments(recipe):
            return resized(normalised(pixels, recipe), recipe.resolution), classes
        images = augmented(pixels, recipe, generator)
        if mix is None:
            return images, classes
        # torchvision draws from the global state, which other runs draw from as well
        drawn = int(torch.randint(2**63 - 1, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(drawn)
            pair: Batch = mix(images, classes)
        return pair

    return Feed(count=len(split), batch=batch)


def augments(recipe: Recipe) -> bool:
    """Return whether training pictures are changed by chance."""
    return bool(recipe.flip or recipe.shift or recipe.crop < 1 or recipe.mixup or recipe.cutmix)


def augmented(pixels: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Return (n, height, width, 3) uint8 as `normalised` does, each picture changed by chance.

    It is mirrored, moved and cropped in the same sampling that resizes it, edges repeated.
    """
    count, height, width, _ = pixels.shape

    def uniform(low: float, high: float, *sizes: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *sizes, generator=generator)

    # area and ratio of the crop's sides as in torchvision's RandomResizedCrop, the ratio kept
    # to what a crop of that area can have within the picture
    area = uniform(recipe.crop, 1.0, 1)
    ratio = torch.exp(uniform(-1.0, 1.0, 1) * RATIO).clamp(area, 1 / area)
    sides = torch.cat([(area * ratio).sqrt(), (area / ratio).sqrt()], 1)
    mirrored = torch.where(uniform(0, 1) < (0.5 if recipe.flip else 0.0), -1.0, 1.0)
    whole = uniform(-1, 1, 2)
    shifts = uniform(-1, 1, 2) * 2 * recipe.shift / torch.tensor([width, height])
    centers = whole * (1 - sides) + shifts
    # rows of an affine map from output to input, both in -1..1
    maps = torch.zeros(count, 2, 3)
    maps[:, 0, 0], maps[:, 1, 1], maps[:, :, 2] = sides[:, 0] * mirrored, sides[:, 1], centers
    images = normalised(pixels, recipe)
    if max(height, width) > recipe.resolution:  # sampling alone would skip pixels
        images = resized(images, recipe.resolution)
    shape = [count, 3, recipe.resolution, recipe.resolution]
    grid = functional.affine_grid(maps.to(pixels.device), shape, align_corners=False)
    sampled = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return sampled.contiguous(memory_format=torch.channels_last)


def normalised(pixels: Tensor, recipe: Recipe) -> Tensor:
    """Return (n, height, width, 3) uint8 as floats, a channels-last (n, 3, height, width)."""
    mean = torch.tensor(recipe.mean, device=pixels.device).view(3, 1, 1) * 255
    deviation = torch.tensor(recipe.deviation, device=pixels.device).view(3, 1, 1) * 255
    return (pixels.permute(0, 3, 1, 2) - mean) / deviation


def resized(images: Tensor, size: int) -> Tensor:
    """Return pictures (n, 3, height, width) as (n, 3, size, size)."""
    if images.shape[2:] == (size, size):
        return images
    shrunk = size < max(images.shape[2:])  # there is nothing to smooth in larger pictures
    larger = functional.interpolate(images, (size, size), mode="bilinear", antialias=shrunk)
    return larger.contiguous(memory_format=torch.channels_last)


def loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy."""
    return functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)


def hits(logits: Tensor, labels: Tensor) -> Tensor | None:
    """Return how many examples are classified right."""
    wanted = labels if labels.ndim == 1 else labels.argmax(1)
    return (logits.argmax(1) == wanted).sum()


def score(
    logits: Tensor, splits: Pictures, recipe: Recipe
) -> tuple[dict[str, float], Examples]:
    """Return the test metrics, and for each test example what the net said of it."""
    labels = torch.from_numpy(splits.test.targets)
    logits = logits.float().cpu()
    confidences, ranked = logits.softmax(1).topk(min(5, logits.shape[1]))
    right = ranked == labels[:, None]
    metrics = {
        "test_accuracy": right[:, 0].sum().item() / len(labels),
        "test_top5": right.any(1).sum().item() / len(labels),
        "test_loss": functional.cross_entropy(logits, labels).item(),
    }
    examples = {
        "label": labels.numpy(),
        "predicted": ranked[:, 0].contiguous().numpy(),
        "top5": ranked.numpy(),
        "confidence": confidences[:, 0].contiguous().numpy(),
        "top5_confidence": confidences.numpy(),
    }
    return metrics, examples


def implausible(examples: Examples, splits: Pictures) -> str | None:
    """Say why no honest run gives these answers: accuracy far below chance."""
    right = int((examples["predicted"] == examples["label"]).sum())
    count, chance = len(examples["label"]), 1 / len(splits.classes)
    if chance_of_so_few(right, count, chance) >= IMPLAUSIBLE:
        return None
    return (
        f"test accuracy {right / count:.4f} ({right} of {count}) is significantly below"
        f" chance, {chance:.4f}: the label map is broken; check that train and test name"
        " their classes in the same order"
    )


def network(net: nn.Module, device: torch.device) -> nn.Module:
    """Put a net on the device, in the memory format that convolutions are fastest in."""
    return net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
