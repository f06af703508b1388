"""One epoch of one run, or of several at once: a step for each batch, and the evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor, nn

from pytest_amlnn import classification, forecast
from pytest_amlnn.case import Case, Recipe
from pytest_amlnn.checkpoint import State
from pytest_amlnn.device import computes_bfloat16
from pytest_amlnn.feeding import Batch, Feed, all_in_order, epoch_of_batches, steps_of
from pytest_amlnn.graphs import Forward
from pytest_amlnn.optimization import clip, rate, set_rate
from pytest_amlnn.progress import Progress

TASKS: dict[str, ModuleType] = {"classification": classification, "forecast": forecast}

STEPS_BETWEEN_CHECKS = 50
"""Steps after which a loss that is no number is noticed; asking makes the device wait."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What the steps of one epoch leave behind, summed up."""

    loss: float
    accuracy: float | None
    gradient_norm: float
    steps: int


class Rows:
    """Rows that come in parts, in one tensor that is there from the first part on.

    Small tensors that stay would be put between the large ones that a step frees, until no
    room is as large as the next step wants: memory would grow with the number of steps.
    """

    def __init__(self, count: int) -> None:
        self.count, self.filled = count, 0
        self.whole = torch.empty(0)

    def append(self, part: Tensor) -> None:
        """Copy the next rows, (n, ...), to those before them."""
        if not self.filled:
            self.whole = part.new_empty((self.count, *part.shape[1:]))
        self.whole[self.filled : self.filled + len(part)] = part
        self.filled += len(part)

    @property
    def found(self) -> Tensor:
        """All rows so far."""
        return self.whole[: self.filled]


class Steps:
    """The steps of a run's epoch; what they leave stays on the device until it is over."""

    def __init__(self, state: State, feed: Feed, recipe: Recipe, seed: int) -> None:
        self.net, self.optimizer, self.average = state.net, state.optimizer, state.average
        self.forward = state.forward or state.net
        self.parameters = [*self.net.parameters()]
        self.number = len(state.epochs) + 1
        self.count = steps_of(feed.count, recipe)
        self.batches = epoch_of_batches(feed, recipe, seed, self.number)
        self.losses, self.hits, self.norms = (Rows(self.count) for _ in range(3))
        self.seen = 0

    def keep(self, loss: Tensor, hits: Tensor | None, norm: Tensor, examples: int) -> None:
        """Keep what a step left: its mean loss, hits where the task has any, gradient norm."""
        self.losses.append((loss.detach() * examples)[None])
        self.norms.append(norm[None])
        if hits is not None:
            self.hits.append(hits[None])
        self.seen += examples

    @property
    def summed(self) -> Trained:
        """All of them together."""
        hits = self.hits.found
        return Trained(
            loss=self.losses.found.sum().item() / self.seen,
            accuracy=hits.sum().item() / self.seen if len(hits) else None,
            gradient_norm=self.norms.found.mean().item(),
            steps=self.losses.filled,
        )


def train_epoch(runs: Sequence[Steps], case: Case, progress: Progress) -> list[Trained]:
    """Take a step for each batch, with all runs at once, and return what each one learned."""
    recipe, task = case.recipe, TASKS[case.task]
    for each in runs:
        each.net.train()
        for norm in norms_of(each.net) if recipe.freeze_norms else ():
            norm.eval()
    going, count = runs, runs[0].count
    for step in range(count):
        inputs, targets = zip(*(next(each.batches) for each in going), strict=True)
        with precise(inputs[0].device, recipe):
            outputs = computed([each.forward for each in going], inputs)
        losses = [
            task.loss(*pair, recipe.label_smoothing)
            for pair in zip(outputs, targets, strict=True)
        ]
        for each in going:  # optimizer.zero_grad does it in ten times as many calls
            for parameter in each.parameters:
                parameter.grad = None
        torch.autograd.backward(losses)
        for each, loss, output, target in zip(going, losses, outputs, targets, strict=True):
            share = (each.number - 1 + (step + 0.5) / count) / recipe.epochs
            set_rate(each.optimizer, rate(recipe, share))
            length = clip(each.parameters, recipe.clip_norm)
            each.optimizer.step()
            if each.average is not None:
                each.average.update_parameters(each.net)
            each.keep(loss, task.hits(output.detach(), target), length, len(target))
        least = min(each.number for each in going)
        progress.step(least, step + 1, count, sum(each.seen for each in going))
        if step % STEPS_BETWEEN_CHECKS == 0:
            going = [each for each in going if each.losses.found[-1].isfinite()]
            if not going:
                break
    return [each.summed for each in runs]


def norms_of(net: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """Return the net's batch norms."""
    return [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def computed(nets: Sequence[Forward], inputs: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return the outputs of each net for its inputs, at once if the nets know how to.

    A net's class that does has `together(nets, inputs)`, and no net's bits depend there on
    which others are with it.
    """
    together: Callable[..., Sequence[Tensor]] | None = getattr(type(nets[0]), "together", None)
    if together is not None and len(nets) > 1:
        return together(nets, inputs)
    return [net(given) for net, given in zip(nets, inputs, strict=True)]


def predict(nets: Sequence[nn.Module], feeds: Sequence[Feed], recipe: Recipe) -> list[Batch]:
    """Return each net's outputs and the targets for all examples of its split, in order."""
    found = [(Rows(feed.count), Rows(feed.count)) for feed in feeds]
    for net in nets:
        net.eval()
    with torch.inference_mode():
        for batch in zip(*map(all_in_order, feeds), strict=True):
            inputs, targets = zip(*batch, strict=True)
            with precise(inputs[0].device, recipe):
                outputs = computed(nets, inputs)
            for rows, output, target in zip(found, outputs, targets, strict=True):
                rows[0].append(output.float())
                rows[1].append(target)
        return [(outputs.found, targets.found) for outputs, targets in found]


def evaluate(
    nets: Sequence[nn.Module], feeds: Sequence[Feed], case: Case
) -> list[tuple[float, float | None]]:
    """Return each net's loss and accuracy on its split; no accuracy for a forecast."""
    task, found = TASKS[case.task], []
    for outputs, targets in predict(nets, feeds, case.recipe):
        hits = task.hits(outputs, targets)
        accuracy = None if hits is None else hits.item() / len(targets)
        found.append((task.loss(outputs, targets).item(), accuracy))
    return found


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
