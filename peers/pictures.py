"""Convolutional nets as this project trains them, and what the machine could do at most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import nn

import amlnn_models
from amlnn_datasets import shapes
from amlnn_models.vgg import fold_kernel
from peers import timm_loop
from peers.timm_loop import BATCH, CLASSES
from peers.workers import serve
from pytest_amlnn import CLASSIFICATION, Training, discover
from pytest_amlnn.device import deterministic
from pytest_amlnn.preparation import size_of
from pytest_amlnn.progress import Silent
from pytest_amlnn.recipe import with_changes
from pytest_amlnn.state import State, optimizer_of
from pytest_amlnn.steps import Steps, precise, precision_on, train_epoch

CPU = torch.device("cpu")
CONVOLUTIONS = (
    (64, 64, 3, 64), (128, 128, 3, 32), (256, 256, 3, 16), (512, 512, 3, 8), (1024, 256, 1, 16),
)  # fmt: skip
"""Channels in and out, side of the kernel, side of the maps."""


def training_of(model: str, resolution: int) -> Training:
    """Return the training of the full profile at another resolution, by batches of 32."""
    training = next(
        case.training
        for case in discover(amlnn_models)
        if (case.profile, case.training.model) == ("lab", model)
    )
    recipe = with_changes(training.recipe, batch_size=BATCH, resolution=resolution)
    build = partial(training.build, resolution=resolution)
    return replace(training, recipe=recipe, build=build)


def state_of(training: Training) -> State:
    """Return the net with the weights of seed 0, and its optimizer."""
    torch.manual_seed(0)
    net = CLASSIFICATION.network(training.build(CLASSES), CPU)
    return State(net=net, optimizer=optimizer_of(net, training.recipe), best={})


ready: dict[str, Any] = {}


def prepare(model: str, resolution: int) -> dict[str, Any]:
    """Build and warm up; return the operations of a picture, precision and optimizer."""
    training = training_of(model, resolution)
    ready["recipe"], ready["state"] = training.recipe, state_of(training)
    with deterministic(CPU, training.recipe.threads):
        one = torch.zeros(1, 3, resolution, resolution)
        size = size_of(ready["state"].net, (one, torch.zeros(1)))
    train(4 * BATCH)
    return {
        "flops": size["flops_per_sample"],
        "precision": precision_on(CPU, training.recipe),
        "optimizer": training.recipe.optimizer,
    }


def train(images: int) -> float:
    """Return the pictures a second of an epoch on so many of them, feeding included."""
    recipe, state = ready["recipe"], ready["state"]
    splits = shapes.splits(size=images, classes=CLASSES, validation=1)
    with deterministic(CPU, recipe.threads):
        feed = CLASSIFICATION.feed(splits.train, splits, recipe, CPU)
        start = perf_counter()
        steps = Steps(state, feed, recipe, 0)
        (trained,) = train_epoch([steps], CLASSIFICATION, recipe, Silent())
        return trained.steps * BATCH / (perf_counter() - start)


def difference(model: str, resolution: int) -> dict[str, float]:
    """Return how far our net and timm's are apart from the same weights on the same pictures.

    As shares: of the loss, and of the gradient of the first kernel, in which every other
    layer had its part. In float32: bfloat16's rounding would hide a difference in the nets.
    """
    training = training_of(model, resolution)
    splits = shapes.splits(size=4 * CLASSES, classes=CLASSES, validation=1)
    recipe, found = with_changes(training.recipe, precision="float32", label_smoothing=0.0), []
    with deterministic(CPU, recipe.threads):
        feed = CLASSIFICATION.feed(splits.train, splits, recipe, CPU)
        inputs, labels = feed.batch(torch.arange(BATCH))
        for net in same_weights(timm_loop.build(model), state_of(training).net):
            net.train()
            with precise(CPU, recipe):
                logits = net(inputs)
            loss = CLASSIFICATION.loss(logits, labels, recipe)
            loss.backward()
            kernel = next(p for p in net.parameters() if p.ndim == 4)
            found.append((loss.detach(), kernel.grad))
    theirs, ours = found
    return {
        name: ((one - other).norm() / one.norm()).item()
        for name, one, other in zip(("loss", "gradient"), theirs, ours, strict=True)
    }


def same_weights(theirs: nn.Module, ours: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Give our net the weights of timm's; VGG's first fully connected layer is folded."""
    wanted = {name: value.shape for name, value in ours.state_dict().items()}
    weights = {
        name: value if value.shape == wanted[name] else fold_kernel(value, wanted[name][-1])
        for name, value in theirs.state_dict().items()
    }
    ours.load_state_dict(weights)
    return theirs, ours


def floor(precision: str) -> dict[str, float]:
    """Return the best rates in GFLOP/s: of convolutions there and back, and of a product."""
    kind = getattr(torch, precision)
    with deterministic(CPU, 2):
        rates = [convolution_rate(*shape, kind) for shape in CONVOLUTIONS]
        factor = torch.randn(1536, 1536, dtype=kind)
        product = rate_of(lambda: factor @ factor, 2 * len(factor) ** 3)
    return {"convolution": max(rates), "product": product}


def convolution_rate(inputs: int, outputs: int, kernel: int, side: int, kind: Any) -> float:
    """Return the GFLOP/s of one convolution, forward and both ways back."""
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, dtype=kind)
    conv = conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    maps = torch.randn(BATCH, inputs, side, side, dtype=kind)
    maps = maps.to(memory_format=torch.channels_last).requires_grad_()
    back = torch.randn_like(conv(maps))

    def there_and_back() -> None:
        conv.weight.grad = maps.grad = None
        conv(maps).backward(back)

    flops = 3 * 2 * BATCH * inputs * outputs * kernel**2 * side**2
    return rate_of(there_and_back, flops)


def rate_of(compute: Callable[[], object], flops: int) -> float:
    """Return the GFLOP/s of the fastest of three."""
    seconds = []
    for _ in range(4):
        start = perf_counter()
        compute()
        seconds.append(perf_counter() - start)
    return flops / min(seconds[1:]) / 1e9


if __name__ == "__main__":
    serve({"prepare": prepare, "train": train, "difference": difference, "floor": floor})
