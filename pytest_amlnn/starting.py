"""What a net starts from: statistics and scales found on pictures before the first step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pytest_amlnn.case import Recipe
from pytest_amlnn.feeding import EVALUATION_BATCH, Feed
from pytest_amlnn.steps import norms_of, precise

LEAST_DEVIATION = 1e-6
"""Of a channel's outputs, below which there is nothing to scale."""


def mixed(feed: Feed) -> Tensor:
    """Return the numbers of all examples in an order that mixes their classes."""
    return torch.randperm(feed.count, generator=torch.Generator().manual_seed(0))


def refresh_norms(net: nn.Module, feed: Feed, recipe: Recipe) -> None:
    """Estimate the statistics of batch norms anew, on these pictures at this resolution.

    Plain averages over batches of the training split, as in torch's `update_bn`. The batches
    are mixed: the variance among pictures of a few classes is smaller than among all. A last
    batch of one is left out: it has none.
    """
    norms = norms_of(net)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average
    net.train()
    with torch.no_grad():
        for chosen in torch.split(mixed(feed), EVALUATION_BATCH):
            if len(chosen) == 1:
                continue
            inputs, _ = feed.batch(chosen)
            with precise(inputs.device, recipe):
                net(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def standardise(net: nn.Module, feed: Feed, recipe: Recipe) -> None:
    """Scale and shift layers so that each channel of each has mean 0 and deviation 1.

    Measured on one mixed batch of training pictures, layer after layer, in one pass: what a
    batch norm does at its first step, put into weights and biases once. It lets deep nets
    without norms tell pictures apart from the first step on (Krahenbuhl et al. 2016,
    arXiv:1511.06856, section 3.1). Layers without a bias are left as they are, and so is
    the last one, so that all classes begin as likely.
    """
    layers = [
        m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear) and m.bias is not None
    ][:-1]

    def scale(layer: nn.Conv2d | nn.Linear, _: object, outputs: Tensor) -> Tensor:
        channel = 1 if isinstance(layer, nn.Conv2d) else outputs.ndim - 1
        deviation, mean = torch.std_mean(
            outputs.float(), [d for d in range(outputs.ndim) if d != channel]
        )
        factor = 1 / deviation.clamp(min=LEAST_DEVIATION)
        layer.weight.data.mul_(factor.view(-1, *[1] * (layer.weight.ndim - 1)))
        assert layer.bias is not None  # only such were chosen
        layer.bias.data.copy_((layer.bias - mean) * factor)
        shape = [-1 if d == channel else 1 for d in range(outputs.ndim)]
        return (outputs - mean.view(shape)) * factor.view(shape)

    hooks = [layer.register_forward_hook(scale) for layer in layers]
    net.eval()
    with torch.no_grad():
        inputs, _ = feed.batch(mixed(feed)[:EVALUATION_BATCH])
        net(inputs)
    for hook in hooks:
        hook.remove()
