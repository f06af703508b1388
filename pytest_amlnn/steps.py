"""One epoch of one run, or of several at once: its batches, a step for each, the evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pytest_amlnn.device import computes_bfloat16, draw_from
from pytest_amlnn.recipe import Recipe

if TYPE_CHECKING:
    from pytest_amlnn.graphs import Forward
    from pytest_amlnn.progress import Progress
    from pytest_amlnn.state import State
    from pytest_amlnn.tasks import Score, Scored, Task

Batch = tuple[Tensor, Tensor]
"""Inputs and targets, on the device."""

EVALUATION_BATCH = 256
STEPS_BETWEEN_CHECKS = 50
"""Steps after which a loss that is no number is noticed; asking makes the device wait."""
FEW_WEIGHTS = 100_000


# batches


@dataclass(frozen=True, kw_only=True)
class Feed:
    """Where a net's batches of a split come from."""

    count: int
    """Examples of the split."""
    batch: Callable[..., Batch]
    """Takes the numbers of the chosen examples (n,), and for training a generator, from
    which augmentation is drawn."""


def feed_of_tensors(inputs: np.ndarray, targets: np.ndarray, device: torch.device) -> Feed:
    """Return what gives rows of inputs (n, ...) and targets (n, ...), kept on the device."""
    whole = [torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in (inputs, targets)]

    def batch(chosen: Tensor, generator: torch.Generator | None = None) -> Batch:
        rows = chosen.to(device)
        return whole[0][rows], whole[1][rows]

    return Feed(count=len(inputs), batch=batch)


def seed_of(*numbers: int) -> int:
    """Return an independent seed for each combination of numbers, such as (run, epoch)."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def steps_in_epoch(examples: int, recipe: Recipe) -> int:
    """Return the steps of an epoch; a last batch of one is left out: norms need two."""
    full, rest = divmod(examples, recipe.batch_size)
    return full + (rest > 1)


def shuffled_batches(feed: Feed, recipe: Recipe, seed: int, epoch: int) -> Iterator[Batch]:
    """Yield the training batches of one epoch; every draw follows from (seed, epoch)."""
    drawn = seed_of(seed, epoch)
    draw_from(drawn)  # for dropout, and whatever else a net draws
    generator = torch.Generator().manual_seed(drawn)
    order = torch.randperm(feed.count, generator=generator)
    size = recipe.batch_size
    for step in range(steps_in_epoch(feed.count, recipe)):
        yield feed.batch(order[step * size : (step + 1) * size], generator)


def batches_in_order(feed: Feed) -> Iterator[Batch]:
    """Yield every example once, in large batches, without augmentation."""
    for start in range(0, feed.count, EVALUATION_BATCH):
        yield feed.batch(torch.arange(start, min(start + EVALUATION_BATCH, feed.count)))


class Rows:
    """A preallocated tensor, filled batch by batch.

    Small tensors that stay would be put between the large ones that a step frees, until no
    room is as large as the next step wants: memory would grow with the number of steps.
    """

    def __init__(self, count: int) -> None:
        self.count, self.filled = count, 0
        self.whole = torch.empty(0)

    def append(self, rows: Tensor) -> None:
        """Copy the next rows, (n, ...), to those before them."""
        if not self.filled:
            self.whole = rows.new_empty((self.count, *rows.shape[1:]))
        self.whole[self.filled : self.filled + len(rows)] = rows
        self.filled += len(rows)

    @property
    def filled_rows(self) -> Tensor:
        """All rows so far."""
        return self.whole[: self.filled]


# training


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The steps of one epoch, summed up."""

    loss: float
    scores: dict[str, float]
    gradient_norm: float
    steps: int


class Steps:
    """The steps of a run's epoch; what they leave stays on the device until it is over."""

    def __init__(
        self,
        state: State,
        feed: Feed,
        recipe: Recipe,
        seed: int,
        rate_at: Callable[[float], float] | None = None,
    ) -> None:
        self.rate_at = rate_at or partial(rate, recipe)
        self.net, self.optimizer, self.average = state.net, state.optimizer, state.average
        self.forward: Forward = state.forward or state.net
        self.parameters = [*self.net.parameters()]
        self.seed, self.epoch = seed, len(state.epochs) + 1
        self.count = steps_in_epoch(feed.count, recipe)
        self.batches = shuffled_batches(feed, recipe, seed, self.epoch)
        self.losses, self.norms = Rows(self.count), Rows(self.count)
        self.scores: dict[str, Rows] = {}
        self.examples = 0

    def take(
        self, loss: Tensor, scores: dict[str, Tensor], recipe: Recipe, examples: int
    ) -> None:
        """Step along the gradients that are there, and note what the batch said."""
        progress = (self.epoch - 1 + (self.losses.filled + 0.5) / self.count) / recipe.epochs
        set_rate(self.optimizer, self.rate_at(progress))
        norm = clip(self.parameters, recipe.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.net)
        self.losses.append((loss.detach() * examples)[None])
        self.norms.append(norm[None])
        for name, total in scores.items():
            self.scores.setdefault(name, Rows(self.count)).append(total[None])
        self.examples += examples

    @property
    def trained(self) -> Trained:
        """All of them together."""
        return Trained(
            loss=self.losses.filled_rows.sum().item() / self.examples,
            scores={
                name: rows.filled_rows.sum().item() / self.examples
                for name, rows in self.scores.items()
            },
            gradient_norm=self.norms.filled_rows.mean().item(),
            steps=self.losses.filled,
        )


def train_epoch(
    runs: Sequence[Steps], task: Task, recipe: Recipe, progress: Progress
) -> list[Trained]:
    """Take a step for each batch, with all runs at once; return what each one learned."""
    for run in runs:
        run.net.train()
        for norm in norms_of(run.net):
            if recipe.freeze_norms or is_frozen(norm):
                norm.eval()
    going = runs
    for step in range(runs[0].count):
        inputs, targets = zip(*(next(run.batches) for run in going), strict=True)
        with precise(inputs[0].device, recipe):
            outputs = forward_many([run.forward for run in going], inputs)
        pairs = [*zip(outputs, targets, strict=True)]
        losses = [task.loss(output, target, recipe) for output, target in pairs]
        for run in going:  # optimizer.zero_grad does it in ten times as many calls
            for parameter in run.parameters:
                parameter.grad = None
        torch.autograd.backward(losses)
        for run, loss, (output, target) in zip(going, losses, pairs, strict=True):
            scores = task.training_scores(output.detach(), target)
            run.take(loss, scores, recipe, len(target))
        tell(progress, going, step + 1)
        if step % STEPS_BETWEEN_CHECKS == 0:
            going = [run for run in going if run.losses.filled_rows[-1].isfinite()]
            if not going:
                break
    return [run.trained for run in runs]


def tell(progress: Progress, runs: Sequence[Steps], step: int) -> None:
    """Tell how far the runs are, by the one that is least far."""
    seeds, epoch = [run.seed for run in runs], min(run.epoch for run in runs)
    progress.step(seeds, epoch, step, runs[0].count, sum(run.examples for run in runs))


def norms_of(net: nn.Module) -> list[Any]:
    """Return the net's batch norms."""
    return [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def is_frozen(layer: nn.Module) -> bool:
    """Return whether a layer has weights and none of them is trained."""
    weights = [*layer.parameters()]
    return bool(weights) and not any(weight.requires_grad for weight in weights)


def forward_many(nets: Sequence[Forward], inputs: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return the outputs of each net for its inputs, at once if the nets know how to.

    A net's class that does has `forward_many(nets, inputs)`, and no net's bits depend there on
    which others are with it.
    """
    at_once: Callable[..., Sequence[Tensor]] | None = getattr(
        type(nets[0]), "forward_many", None
    )
    if at_once is not None and len(nets) > 1:
        return at_once(nets, inputs)
    return [net(given) for net, given in zip(nets, inputs, strict=True)]


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


def clip(parameters: Sequence[nn.Parameter], limit: float | None) -> Tensor:
    """Return the norm of the whole gradient, after scaling it down to the limit."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if sum(gradient.numel() for gradient in gradients) < FEW_WEIGHTS:
        # one copy of a small net's gradient takes less time than a call for each tensor
        norm = nn.utils.get_total_norm([torch.cat([g.flatten() for g in gradients])])
    else:
        norm = nn.utils.get_total_norm(gradients)
    if limit is not None:
        nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return norm


# evaluation


def evaluate(
    nets: Sequence[nn.Module], feeds: Sequence[Feed], scores: Sequence[Score], recipe: Recipe
) -> list[Scored]:
    """Return what each net's outputs for its split are worth."""
    for net in nets:
        net.eval()
    # not in inference mode: a tensor that a net keeps from there could not be trained with
    with torch.no_grad():
        for batch in zip(*map(batches_in_order, feeds), strict=True):
            inputs, targets = zip(*batch, strict=True)
            with precise(inputs[0].device, recipe):
                outputs = forward_many(nets, inputs)
            for score, output, target in zip(scores, outputs, targets, strict=True):
                score.add(output.float(), target)
        return [score.result() for score in scores]


# precision


def precise(device: torch.device, recipe: Recipe) -> torch.autocast:
    """Compute in the recipe's precision for this kind of device."""
    lower = precision_on(device, recipe) == "bfloat16"
    # no net uses a weight twice, and what is captured as a graph must not be cached
    return torch.autocast(device.type, torch.bfloat16, enabled=lower, cache_enabled=False)


def precision_on(device: torch.device, recipe: Recipe) -> str:
    """Return the recipe's precision for this kind of device."""
    if device.type == "cuda":
        return recipe.precision_cuda
    saves = device.type == "cpu" and computes_bfloat16()
    return recipe.precision if saves else "float32"
