"""The state of a training between two epochs: net, optimizer, average, best weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pytest_amlnn.device import Spent
from pytest_amlnn.graphs import Forward
from pytest_amlnn.recipe import Recipe
from pytest_amlnn.result import (
    Epoch,
    best_epoch,
)

Tensors = dict[str, Tensor]


@dataclass(kw_only=True)
class State:
    """All that changes from one epoch to the next."""

    net: nn.Module
    optimizer: torch.optim.Optimizer
    best: Tensors
    """The weights of the best epoch."""
    average: AveragedModel | None = None
    """Of the weights of all steps."""
    spent: Spent = field(default_factory=Spent)
    epochs: list[Epoch] = field(default_factory=list)
    peak_memory_bytes: int | None = None
    forward: Forward | None = None
    """Computes the net in training, where that was captured."""
    start: dict[str, float | None] = field(default_factory=dict)
    """Metrics of trained weights on the validation split before the first step."""
    implausible: str = ""
    """Why those weights are not what they should be."""

    @property
    def evaluated(self) -> nn.Module:
        """The net that is validated and tested: the averaged one, if there is one."""
        return self.net if self.average is None else self.average.module


# optimizer and average


TRAINED_STAGES = {"last_stage": 2, "head": 1}
"""So many of the last groups of parameters are trained: the head is one."""


def freeze(net: nn.Module, recipe: Recipe) -> None:
    """Have no gradients computed for layers that the recipe does not train.

    Raises ValueError for a net that timm cannot tell the stages of.
    """
    if recipe.trained == "all":
        return
    from timm.models import group_parameters

    refuse_without_layers(net, f"trained is {recipe.trained}")
    stages = group_parameters(net, net.group_matcher(coarse=True))  # type: ignore[operator]
    parameters = dict(net.named_parameters())
    for stage in sorted(stages)[: -TRAINED_STAGES[recipe.trained]]:
        for name in stages[stage]:
            if name in parameters:  # and no buffer
                parameters[name].requires_grad_(False)


def refuse_without_layers(net: nn.Module, asked: str) -> None:
    """Raise ValueError for a net whose layers timm cannot tell apart."""
    if not hasattr(net, "group_matcher"):
        raise ValueError(
            f"recipe: {asked}, but {type(net).__name__} does not tell its layers apart: it"
            " needs timm's group_matcher"
        )


def optimizer_of(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimizer; weight decay leaves biases and norms alone."""
    trained = [p for p in net.parameters() if p.requires_grad]
    weights = [p for p in trained if p.ndim > 1]
    others = [p for p in trained if p.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if not recipe.weight_decay:  # every group costs calls
        groups = [{"params": trained, "weight_decay": 0.0}]
    if recipe.layer_decay < 1:
        groups = groups_by_layer(net, recipe)
    real = all(p.is_floating_point() for p in net.parameters())  # no complex one is fused
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            groups,
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.momentum > 0,
            fused=real,
        )
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.learning_rate, fused=real)


def groups_by_layer(net: nn.Module, recipe: Recipe) -> Any:
    """Return groups of parameters whose learning rates decay from the last layer to the first.

    Raises ValueError for a net that timm cannot tell the layers of.
    """
    from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]

    refuse_without_layers(net, f"layer_decay is {recipe.layer_decay}")
    return param_groups_layer_decay(
        net, weight_decay=recipe.weight_decay, layer_decay=recipe.layer_decay
    )


def average_of(net: nn.Module, recipe: Recipe) -> AveragedModel | None:
    """Return the moving average of a net's weights and statistics, if the recipe has one."""
    if not recipe.averaging:
        return None
    following = get_ema_multi_avg_fn(recipe.averaging)  # type: ignore[no-untyped-call]
    return AveragedModel(net, multi_avg_fn=following, use_buffers=True)


# tensors


def tensors_of(state: State, *, over: bool) -> Tensors:
    """Return what has to be stored to go on: as little as that takes.

    With `over` there is no epoch to come: the best weights are all that is asked for.
    """
    best = {f"best.{name}": tensor for name, tensor in state.best.items()}
    if over:
        return best
    found = {f"net.{name}": tensor for name, tensor in state.net.state_dict().items()}
    if state.average is not None:
        averaged = state.average.state_dict()
        found |= {f"average.{name}": tensor for name, tensor in averaged.items()}
    for number, slots in state.optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{number}.{name}": value for name, value in slots.items()}
    return found if best_epoch(state.epochs) == len(state.epochs) else found | best


def slots_of(optimizer: torch.optim.Optimizer) -> Tensors:
    """Return tensors like those that an optimizer may hold, by the names of `tensors_of`."""
    sgd = isinstance(optimizer, torch.optim.SGD)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    found: Tensors = {}
    for number, parameter in enumerate(parameters):
        for slot in ("momentum_buffer",) if sgd else ("exp_avg", "exp_avg_sq"):
            found[f"{number}.{slot}"] = parameter
        if not sgd:
            found[f"{number}.step"] = torch.tensor(0.0)
    return found


def restore(state: State, tensors: Tensors) -> None:
    """Put stored tensors back into net, optimizer and best weights."""
    newest, averaged = below("net", tensors), below("average", tensors)
    best = below("best", tensors) or below("module", averaged) or newest
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    for name, value in below("optimizer", tensors).items():
        number, _, slot = name.partition(".")
        parameter = parameters[int(number)]
        state.optimizer.state[parameter][slot] = like(parameter, value)
    state.net.load_state_dict(newest or best)
    if state.average is not None and averaged:
        state.average.load_state_dict(averaged)
    state.best = {name: like(old, best[name]) for name, old in state.best.items()}


def below(prefix: str, tensors: Tensors) -> Tensors:
    """Return the tensors whose names begin so, without that beginning."""
    start = f"{prefix}."
    return {
        name.removeprefix(start): value
        for name, value in tensors.items()
        if name.startswith(start)
    }


def like(model: Tensor, value: Tensor) -> Tensor:
    """Return a copy of the value that lies in memory as the model does.

    Fused optimizers walk through parameters and their state side by side.
    """
    if value.shape != model.shape:
        return value.to(model.device)
    return torch.empty_like(model, dtype=value.dtype).copy_(value).detach()
