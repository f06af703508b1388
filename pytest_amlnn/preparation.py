"""What happens to a run before its first epoch: data, net, checkpoint, first statistics."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pytest_amlnn.case import Case
from pytest_amlnn.checkpoint import load
from pytest_amlnn.data import SPLITS, Data, DataError, Weights, facts_of
from pytest_amlnn.device import Clock, Spent, draw_from
from pytest_amlnn.facts import plain_facts
from pytest_amlnn.graphs import capture_training_pass
from pytest_amlnn.identity import identity_of
from pytest_amlnn.nets import build_net, described, explained, try_training
from pytest_amlnn.operations import size_of
from pytest_amlnn.recipe import Recipe
from pytest_amlnn.result import Run, stop_reason
from pytest_amlnn.state import State, average_of, freeze, optimizer_of
from pytest_amlnn.steps import (
    EVALUATION_BATCH,
    Feed,
    evaluate,
    norms_of,
    precise,
    seed_of,
    steps_in_epoch,
)
from pytest_amlnn.tasks import Scored, Task

LEAST_DEVIATION = 1e-6
"""Of a channel's outputs, below which there is nothing to scale."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What one run is trained with."""

    run: Run
    splits: Any
    training: Feed
    validation: Feed
    testing: Feed | None
    """None where the test split is not read."""
    state: State
    size: Mapping[str, int | None]
    """Parameters, and operations of an example."""
    said: Mapping[str, Any]
    """What the record says of the data: as plain data, like all that follows."""
    dataset: Mapping[str, Any]
    """What the dataset says of itself."""
    baselines: Mapping[str, float]
    """What follows from the data alone."""
    place: Path | None
    """Folder of its checkpoints."""
    given: str
    """What its net is given, in words."""

    @property
    def identity(self) -> dict[str, Any]:
        """What its numbers follow from."""
        return {"seed": self.run.seed, **identity_of(self.run, self.dataset)}

    def over(self, recipe: Recipe) -> str:
        """Say why training is over; nothing as long as it goes on."""
        started = bool(self.state.epochs)
        return stop_reason(self.state.epochs, recipe) if started else self.state.implausible


def set_up(
    case: Case,
    data: Data,
    run: Run,
    device: torch.device,
    clock: Clock,
    place: Path | None = None,
    weights: Weights | None = None,
    *,
    tested: bool = True,
) -> Setup:
    """Return a run that is ready for its next epoch: the first, or one after a checkpoint."""
    recipe, task, spent = case.training.recipe, case.training.task, Spent()
    with clock.part("prepare", spent):
        splits = open_data(data, run.seed)
        feeds = feeds_of(splits, task, recipe, device, tested=tested)
        said, baselines = facts_of_task(splits, task) if tested else ({}, {})
        training = feeds["train"]
        first = training.batch(torch.arange(min(2, recipe.batch_size, training.count)))
    with clock.part("build", spent):
        state = fresh_state(case, splits, run.seed, first[0], weights, spent)
        size = size_of(state.net, first[0][:1])
        loss = partial(task.loss, recipe=recipe)
        with precise(device, recipe):
            try_training(state.net, first, task.output_shape(splits), loss)
    setup = Setup(
        run=run,
        splits=splits,
        training=training,
        validation=feeds["validation"],
        testing=feeds.get("test"),
        state=state,
        size=size,
        said=said,
        dataset=facts_of(splits),
        baselines=baselines,
        place=place,
        given=described(state.net, first),
    )
    with clock.part("checkpoint", spent):
        if place:
            load(place, state, identity=setup.identity)
    if not state.epochs:
        measure_start(setup, case, clock, weights)
    if case.cuda_graphs and device.type == "cuda" and training.count >= recipe.batch_size:
        with clock.part("compile", spent), precise(device, recipe):
            inputs, _ = training.batch(torch.arange(recipe.batch_size))
            state.forward = capture_training_pass(state.net, inputs)
    return setup


def open_data(data: Data, seed: int) -> Any:
    """Return the splits of a run; all that they draw at random follows from its seed."""
    draw_from(seed_of(seed))
    return data(seed)


def feeds_of(
    splits: Any, task: Task, recipe: Recipe, device: torch.device, *, tested: bool
) -> dict[str, Feed]:
    """Return what gives batches of the splits that are read, once they are checked."""
    if tested:  # it looks at the test split, as facts and baselines do
        task.check(splits, recipe)
    check_steps(len(splits.train), recipe)
    parts = SPLITS if tested else ("train", "validation")
    return {name: feed_of(name, splits, task, recipe, device) for name in parts}


def feed_of(name: str, splits: Any, task: Task, recipe: Recipe, device: torch.device) -> Feed:
    """Return what gives batches of a split; DataError, in words, where there is nothing."""
    try:
        return task.feed(getattr(splits, name), splits, recipe, device)
    except (TypeError, ValueError) as error:
        (line, *_) = str(error).splitlines() or [type(error).__name__]
        raise DataError(f"{name} split: no batches can be made of it: {line}") from error


def facts_of_task(splits: Any, task: Task) -> tuple[dict[str, Any], dict[str, float]]:
    """Return what the record says of the data, and what follows from them alone."""
    try:
        return plain_facts(task.facts(splits)), {
            name: float(value) for name, value in task.baselines(splits).items()
        }
    except (TypeError, ValueError) as error:
        raise DataError(f"the task's facts or baselines cannot be stored: {error}") from error


def check_steps(examples: int, recipe: Recipe) -> None:
    """Refuse a training split that makes no batch; DataError."""
    if not steps_in_epoch(examples, recipe):
        raise DataError(
            f"train split: {examples} example makes no batch of {recipe.batch_size}: a batch of"
            " one is left out, since norms need two"
        )


def fresh_state(
    case: Case,
    splits: Any,
    seed: int,
    inputs: Tensor,
    weights: Weights | None,
    spent: Spent,
) -> State:
    """Return a net with its first weights, and its optimizer; both follow from the seed.

    `inputs` are two examples, on the device.
    """
    training, recipe, task = case.training, case.training.recipe, case.training.task
    start = task.builder_arguments(splits, weights) if weights else {}
    build = partial(training.build, task.outputs(splits), **start)
    net = task.network(build_net(build, seed_of(seed), inputs), inputs.device)
    with explained("making the optimizer, and the copies that it averages"):
        freeze(net, recipe)
        return State(
            net=net,
            optimizer=optimizer_of(net, recipe),
            average=average_of(net, recipe),
            best=copy.deepcopy(net.state_dict()),
            spent=spent,
        )


def measure_start(setup: Setup, case: Case, clock: Clock, weights: Weights | None) -> None:
    """Scale or estimate what the recipe asks for, and evaluate trained weights."""
    recipe, state = case.training.recipe, setup.state
    with clock.part("prepare", state.spent), explained("the first pass", setup.given):
        if recipe.standardise and not weights:
            standardise(state.net, setup.training, recipe)
        if recipe.refresh_norms:
            refresh_norms(state.net, setup.training, recipe)
    if weights is None:
        return
    with clock.part("evaluate", state.spent):
        (scored,) = validate([setup], case, [state.net])
        said = {"loss": scored.loss, **scored.scores}
        state.start = {f"start_{name}": float(value) for name, value in said.items()}
    if weights.know_classes:
        state.implausible = case.training.task.implausible_start(scored, setup.splits)


def groups_of(setups: Sequence[Setup], case: Case) -> list[list[Setup]]:
    """Return which runs are trained at once: all, where the case can be and sizes agree."""
    counts = {(setup.training.count, setup.validation.count) for setup in setups}
    at_once = case.seeds_at_once and len(counts) == 1
    return [[*setups]] if at_once else [[setup] for setup in setups]


def validate(
    setups: Sequence[Setup], case: Case, nets: Sequence[nn.Module] = ()
) -> list[Scored]:
    """Return what the validation split says of each net, by default as it is evaluated."""
    recipe, task = case.training.recipe, case.training.task
    scores = [task.score("validation", s.splits, recipe) for s in setups]
    nets = nets or [setup.state.evaluated for setup in setups]
    with explained("evaluation", setups[0].given):
        return evaluate(nets, [setup.validation for setup in setups], scores, recipe)


# first statistics


def shuffled_indices(feed: Feed) -> Tensor:
    """Return the numbers of all examples, shuffled, so that a batch holds many classes."""
    return torch.randperm(feed.count, generator=torch.Generator().manual_seed(0))


def refresh_norms(net: nn.Module, feed: Feed, recipe: Recipe) -> None:
    """Estimate the statistics of batch norms anew, on these examples at this resolution.

    Plain averages over batches of the training split, as in torch's `update_bn`. The batches
    are shuffled: the variance among pictures of a few classes is smaller than among all. A last
    batch of one is left out: it has none.
    """
    norms = norms_of(net)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average
    net.train()
    with torch.no_grad():
        for chosen in torch.split(shuffled_indices(feed), EVALUATION_BATCH):
            if len(chosen) == 1:
                continue
            inputs, _ = feed.batch(chosen)
            with precise(inputs.device, recipe):
                net(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def standardise(net: nn.Module, feed: Feed, recipe: Recipe) -> None:
    """Scale and shift layers so that each channel of each has mean 0 and deviation 1.

    Measured on one shuffled batch of training examples, layer after layer, in one pass: what a
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
        inputs, _ = feed.batch(shuffled_indices(feed)[:EVALUATION_BATCH])
        net(inputs)
    for hook in hooks:
        hook.remove()
