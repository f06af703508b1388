"""A plain training loop around a timm model: a folder of JPEGs and a DataLoader."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any

import timm
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from peers.workers import serve

BATCH = 32
CLASSES = 8
NAMES = {"efficientnet_lite0": "tf_efficientnet_lite0"}

ready: dict[str, Any] = {}


def build(model: str) -> nn.Module:
    """Return timm's net with the weights of seed 0, channels last."""
    torch.manual_seed(0)
    net: nn.Module = timm.create_model(NAMES.get(model, model), num_classes=CLASSES)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def endless(folder: str, resolution: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield shuffled batches, decoded by two workers."""
    steps = [
        transforms.Resize((resolution, resolution)),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.5] * 3, [0.5] * 3),
    ]
    pictures = ImageFolder(folder, transforms.Compose(steps))
    loader = DataLoader(
        pictures, BATCH, shuffle=True, drop_last=True, num_workers=2, persistent_workers=True
    )
    while True:
        yield from loader


def prepare(model: str, resolution: int, folder: str, precision: str, optimizer: str) -> None:
    """Build and warm up, in this precision, with torch's optimizer as it comes."""
    net = build(model).train()
    settings: dict[str, Any] = {"lr": 0.001, "weight_decay": 5e-4}
    if optimizer == "sgd":
        settings["momentum"] = 0.9
    kind = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[optimizer]
    ready.update(
        net=net,
        batches=endless(folder, resolution),
        optimizer=kind(net.parameters(), **settings),
        precision=precision,
    )
    train(4 * BATCH)


def train(images: int) -> float:
    """Return the pictures a second over so many of them."""
    net, optimizer = ready["net"], ready["optimizer"]
    lower = ready["precision"] == "bfloat16"
    start, steps = perf_counter(), images // BATCH
    for _ in range(steps):
        inputs, labels = next(ready["batches"])
        inputs = inputs.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=lower):
            loss = nn.functional.cross_entropy(net(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return steps * BATCH / (perf_counter() - start)


if __name__ == "__main__":
    serve({"prepare": prepare, "train": train})
