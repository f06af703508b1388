"""What pictures with labels mean to training: batches, loss, scores."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pytest_amlnn.case import Recipe
from pytest_amlnn.data import Pictures, Split
from pytest_amlnn.feeding import Batch, Feed
from pytest_amlnn.statistics import IMPLAUSIBLE, chance_of_so_few

Examples = dict[str, np.ndarray]


def outputs(splits: Pictures) -> int:
    """Return the number of outputs that a net needs: one a class."""
    return len(splits.classes)


def facts(splits: Pictures) -> dict[str, object]:
    """Return what each run's record says of the pictures; class words stand elsewhere."""
    said = {name: fact for name, fact in splits.facts.items() if name != "words"}
    return {**said, "classes": list(splits.classes)}


def feed(split: Split, splits: Pictures, recipe: Recipe, device: torch.device) -> Feed:
    """Return what gives inputs (n, 3, resolution, resolution) and labels (n,).

    A GPU keeps the whole split, as uint8; elsewhere pictures are read from the memory map
    as they are wanted. With a generator they are augmented, on the device, as uint8.
    """
    labels = torch.from_numpy(split.targets).to(device)
    if device.type == "cuda":
        kept = torch.from_numpy(split.inputs[split.rows]).to(device)

    def batch(chosen: Tensor, generator: torch.Generator | None = None) -> Batch:
        if device.type == "cuda":
            pixels = kept[chosen.to(device)]
        else:
            pixels = torch.from_numpy(split.inputs[split.rows[chosen.numpy()]]).to(device)
        if generator is not None and (recipe.flip or recipe.shift):
            pixels = augment(pixels, recipe, generator)
        return normalise(pixels, recipe), labels[chosen.to(device)]

    return Feed(count=len(split), batch=batch)


def augment(pixels: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Mirror and move each picture of (n, height, width, 3) by chance, edges repeated."""
    count, height, width, _ = pixels.shape
    moves = torch.randint(-recipe.shift, recipe.shift + 1, (2, count, 1), generator=generator)
    mirrored = torch.rand(count, 1, generator=generator) < (0.5 if recipe.flip else 0.0)
    rows = (torch.arange(height) + moves[0]).clamp(0, height - 1)
    columns = (torch.arange(width) + moves[1]).clamp(0, width - 1)
    columns = torch.where(mirrored, columns.flip(1), columns)
    picture = torch.arange(count, device=pixels.device)[:, None, None]
    return pixels[
        picture, rows[:, :, None].to(pixels.device), columns[:, None].to(pixels.device)
    ]


def normalise(pixels: Tensor, recipe: Recipe) -> Tensor:
    """Return (n, height, width, 3) uint8 as resized floats, a channels-last (n, 3, ...)."""
    mean = torch.tensor(recipe.mean, device=pixels.device).view(3, 1, 1) * 255
    deviation = torch.tensor(recipe.deviation, device=pixels.device).view(3, 1, 1) * 255
    images = (pixels.permute(0, 3, 1, 2) - mean) / deviation
    size = (recipe.resolution, recipe.resolution)
    if images.shape[2:] == size:
        return images
    shrunk = size < tuple(images.shape[2:])  # there is nothing to smooth in larger pictures
    resized = functional.interpolate(images, size, mode="bilinear", antialias=shrunk)
    return resized.contiguous(memory_format=torch.channels_last)


def loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy."""
    return functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)


def hits(logits: Tensor, labels: Tensor) -> Tensor | None:
    """Return how many examples are classified right."""
    return (logits.argmax(1) == labels).sum()


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
