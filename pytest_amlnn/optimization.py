"""Steps: the optimizer, how long its steps are, and how long a gradient may be."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pytest_amlnn.case import Recipe

FEW_WEIGHTS = 100_000


def rate(recipe: Recipe, progress: float) -> float:
    """Return the learning rate at `progress` in 0..1: up in a line, down in a half cosine."""
    if progress < recipe.warmup:
        return recipe.learning_rate * progress / recipe.warmup
    annealed = (progress - recipe.warmup) / (1 - recipe.warmup)
    return recipe.learning_rate * (1 + math.cos(math.pi * annealed)) / 2


def set_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Use this learning rate from now on, or a layer's share of it."""
    for group in optimizer.param_groups:
        group["lr"] = value * group.get("lr_scale", 1.0)


def optimizer_of(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimizer; weight decay leaves biases and norms alone."""
    weights = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if not recipe.weight_decay:  # every group costs calls
        groups = [{"params": [*net.parameters()], "weight_decay": 0.0}]
    if recipe.layer_decay < 1:
        from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]

        if not hasattr(net, "group_matcher"):
            raise ValueError(
                f"recipe: layer_decay is {recipe.layer_decay}, but {type(net).__name__} does"
                " not tell its layers apart: it needs timm's group_matcher"
            )

        groups = param_groups_layer_decay(
            net, weight_decay=recipe.weight_decay, layer_decay=recipe.layer_decay
        )
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            groups,
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.momentum > 0,
            fused=True,
        )
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.learning_rate, fused=True)


def average_of(net: nn.Module, recipe: Recipe) -> AveragedModel | None:
    """Return the moving average of a net's weights and statistics, if the recipe has one."""
    if not recipe.averaging:
        return None
    following = get_ema_multi_avg_fn(recipe.averaging)  # type: ignore[no-untyped-call]
    return AveragedModel(net, multi_avg_fn=following, use_buffers=True)


def clip(parameters: Sequence[nn.Parameter], limit: float | None) -> Tensor:
    """Return the norm of the whole gradient, after scaling it down to the limit."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if sum(gradient.numel() for gradient in gradients) < FEW_WEIGHTS:
        # one copy of a small net's gradient takes less time than a call for each part
        norm = nn.utils.get_total_norm([torch.cat([g.flatten() for g in gradients])])
    else:
        norm = nn.utils.get_total_norm(gradients)
    if limit is not None:
        nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return norm
