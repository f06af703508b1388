"""Train one case with one seed, from fresh weights to a tested net."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pytest_amlnn import checkpoint, classification, forecast, resume
from pytest_amlnn.case import Case, Recipe, to_plain
from pytest_amlnn.checkpoint import State
from pytest_amlnn.clock import Stopwatch
from pytest_amlnn.data import Data
from pytest_amlnn.device import (
    calibrate,
    computes_bfloat16,
    environment,
    peak_memory,
    reset_peak_memory,
    settled,
)
from pytest_amlnn.feeding import Batch, Feed, all_in_order, epoch_of_batches, seed_of, steps_of
from pytest_amlnn.optimization import clip, optimizer_of, rate, set_rate
from pytest_amlnn.progress import Progress
from pytest_amlnn.result import FINISHED, Epoch, Run
from pytest_amlnn.stopping import best_epoch, diverged, stop_reason

TASKS: dict[str, ModuleType] = {"classification": classification, "forecast": forecast}
Examples = dict[str, np.ndarray]

STEPS_BETWEEN_CHECKS = 50
"""Steps after which a loss that is no number is noticed; asking makes the device wait."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One training that ended, with all that is stored of it."""

    run: Run
    dataset: Mapping[str, object]
    """What the dataset says of itself, class words included."""
    examples: Examples = field(default_factory=dict)
    """For every test example what the net said of it; nothing where none was tested."""
    names: Sequence[str] = ()
    """Of the test examples, in their order."""


def begun(
    case: Case, *, id: str, seed: int, device: torch.device, contended: bool = False
) -> Run:
    """Return what is to be said of a run if nothing more is heard of it."""
    return Run(
        id=id,
        seed=seed,
        case=to_plain(case),
        status="crashed",
        reason="its process died",
        epochs=(),
        best_epoch=None,
        metrics={},
        parts={},
        data={"name": case.dataset},
        init=case.init,
        precision=precision_on(device, case.recipe),
        environment=environment(device, case.recipe.threads),
        calibration_seconds=None,
        contended=contended,
    )


def train(
    case: Case,
    data: Data,
    run: Run,
    *,
    device: torch.device,
    progress: Progress,
    place: Path | None = None,
) -> Outcome:
    """Train to early stopping, restore the best weights, test once.

    `run` is what `begun` gave. Equal cases, seeds, devices and versions of torch give equal
    numbers, bit for bit, however often the training was cut: `place` is the folder of its
    checkpoints, and it goes on from the newest. Raises StoreError where that is of another
    recipe or other data.
    """
    recipe, task, seed = case.recipe, TASKS[case.task], run.seed
    metrics: dict[str, Any] = {}
    examples: Examples = {}
    with settled(device, recipe.threads):
        calibration = calibrate(device)
        reset_peak_memory(device)
        watch = Stopwatch(device)
        with watch.part("prepare"):
            splits = data(seed)
            training, validation, testing = (
                task.feed(split, splits, recipe, device)
                for split in (splits.train, splits.validation, splits.test)
            )
        with watch.part("build"):
            torch.manual_seed(seed_of(seed))
            net = task.network(case.build(task.outputs(splits)), device)
            metrics |= size_of(net, training.batch(torch.arange(1)))
            state = State(
                net=net,
                optimizer=optimizer_of(net, recipe),
                best=copy.deepcopy(net.state_dict()),
                watch=watch,
            )
        epochs, about = state.epochs, resume.about(run, splits.facts)
        with watch.part("checkpoint"):
            if place:
                checkpoint.load(place, state, about=about)
        while not stop_reason(epochs, recipe):
            number = len(epochs) + 1
            with watch.part("train"):
                trained = train_epoch(state, training, case, seed, number, progress)
            with watch.part("evaluate"):
                validated = evaluate(net, validation, case)
            epochs.append(epoch_of(trained, validated, recipe, number, watch, epochs))
            progress.epoch(number, epochs[-1])
            with watch.part("checkpoint"):
                if best_epoch(epochs) == number:
                    state.best = copy.deepcopy(net.state_dict())
                if place and not diverged(epochs):
                    state.peak_memory_bytes = peak(state, device)
                    over = bool(stop_reason(epochs, recipe))
                    checkpoint.save(place, state, about=about, over=over)
        with watch.part("evaluate"):
            if not diverged(epochs):
                net.load_state_dict(state.best)
                answers, _ = predict(net, testing, recipe)
                scores, examples = task.score(answers, splits, recipe)
                metrics |= scores | learned(epochs)
        metrics |= costs(state, len(splits.train), device)
    complaint = task.implausible(examples, splits) if examples else None
    ended = replace(
        run,
        status="diverged" if diverged(epochs) else "implausible" if complaint else FINISHED,
        reason=complaint or stop_reason(epochs, recipe),
        epochs=tuple(epochs),
        best_epoch=best_epoch(epochs),
        metrics=metrics,
        parts=watch.parts,
        data=task.facts(splits),
        calibration_seconds=calibration,
    )
    return Outcome(run=ended, dataset=splits.facts, examples=examples, names=splits.test.names)


def out_of_memory(
    case: Case, data: Data, run: Run, device: torch.device, words: str
) -> Outcome:
    """Return the end of a run that asked for more memory than there is, in torch's words."""
    splits = data(run.seed)
    most = peak_memory(device) or 0
    reason = (
        f"{device} has no memory left at batch size {case.recipe.batch_size}, resolution"
        f" {case.recipe.resolution}, {run.precision}; at most {most / 2**30:.2f} GiB were in"
        f" use: {words.splitlines()[0]}"
    )
    facts = TASKS[case.task].facts(splits)
    ended = replace(run, status="oom", reason=reason, data=facts)
    return Outcome(run=ended, dataset=splits.facts)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What the steps of one epoch leave behind, summed up."""

    loss: float
    accuracy: float | None
    gradient_norm: float
    steps: int


def train_epoch(
    state: State, feed: Feed, case: Case, seed: int, number: int, progress: Progress
) -> Trained:
    """Take one step for each batch; sums stay on the device until the epoch is over."""
    recipe, task = case.recipe, TASKS[case.task]
    steps = steps_of(feed.count, recipe)
    net, optimizer = state.net, state.optimizer
    parameters = list(net.parameters())
    losses, hits, norms, seen = [], [], [], 0
    net.train()
    for step, (inputs, targets) in enumerate(epoch_of_batches(feed, recipe, seed, number)):
        set_rate(optimizer, rate(recipe, (number - 1 + (step + 0.5) / steps) / recipe.epochs))
        with precise(inputs.device, recipe):
            outputs = net(inputs)
        loss = task.loss(outputs, targets, recipe.label_smoothing)
        for parameter in parameters:  # optimizer.zero_grad does it in ten times as many calls
            parameter.grad = None
        loss.backward()
        norms.append(clip(parameters, recipe.clip_norm))
        optimizer.step()
        losses.append(loss.detach() * len(targets))
        hits.append(task.hits(outputs.detach(), targets))
        seen += len(targets)
        progress.step(number, step + 1, steps, seen)
        if step % STEPS_BETWEEN_CHECKS == 0 and not losses[-1].isfinite():
            break
    return Trained(
        loss=torch.stack(losses).sum().item() / seen,
        accuracy=None if hits[0] is None else torch.stack(hits).sum().item() / seen,
        gradient_norm=torch.stack(norms).mean().item(),
        steps=len(losses),
    )


def epoch_of(
    trained: Trained,
    validated: tuple[float, float | None],
    recipe: Recipe,
    number: int,
    watch: Stopwatch,
    earlier: Sequence[Epoch],
) -> Epoch:
    """Put together what is recorded of one epoch."""
    spent = {
        part: watch.parts[part] - math.fsum(epoch.seconds[part] for epoch in earlier)
        for part in ("train", "evaluate")
    }
    return Epoch(
        train_loss=trained.loss,
        train_accuracy=trained.accuracy,
        val_loss=validated[0],
        val_accuracy=validated[1],
        learning_rate=rate(recipe, (number - 0.5 / trained.steps) / recipe.epochs),
        gradient_norm=trained.gradient_norm,
        steps=trained.steps,
        seconds=spent,
    )


def precise(device: torch.device, recipe: Recipe) -> torch.autocast:
    """Compute in the recipe's precision for this kind of device."""
    lower = precision_on(device, recipe) == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=lower)


def precision_on(device: torch.device, recipe: Recipe) -> str:
    """Return the recipe's precision for this kind of device."""
    if device.type == "cuda":
        return recipe.precision_cuda
    saves = device.type == "cpu" and computes_bfloat16()
    return recipe.precision if saves else "float32"


def predict(net: nn.Module, feed: Feed, recipe: Recipe) -> Batch:
    """Return the net's outputs and the targets for all examples of a split, in order."""
    net.eval()
    outputs, targets = [], []
    with torch.inference_mode():
        for inputs, wanted in all_in_order(feed):
            with precise(inputs.device, recipe):
                outputs.append(net(inputs).float())
            targets.append(wanted)
    return torch.cat(outputs), torch.cat(targets)


def evaluate(net: nn.Module, feed: Feed, case: Case) -> tuple[float, float | None]:
    """Return loss and accuracy on a split; no accuracy for a forecast."""
    task = TASKS[case.task]
    outputs, targets = predict(net, feed, case.recipe)
    hits = task.hits(outputs, targets)
    loss = task.loss(outputs, targets).item()
    return loss, None if hits is None else hits.item() / len(targets)


def size_of(net: nn.Module, one: Batch) -> dict[str, int]:
    """Count parameters, and the operations of one example's forward pass.

    A multiply-add counts as 2. The pass is made on torch's `meta` device, which computes
    shapes alone: there recurrent cells are not hidden in fused kernels.
    """
    net.eval()
    state = {name: value.to("meta") for name, value in net.state_dict().items()}
    with torch.no_grad(), FlopCounterMode(display=False) as count:
        torch.func.functional_call(net, state, one[0].to("meta"))
    parameters = sum(p.numel() for p in net.parameters())
    return {"parameters": parameters, "flops_per_sample": count.get_total_flops()}


def learned(epochs: Sequence[Epoch]) -> dict[str, float | None]:
    """Return the accuracies of the epoch whose weights were kept."""
    kept = epochs[(best_epoch(epochs) or len(epochs)) - 1]
    if kept.train_accuracy is None:
        return {}
    return {"train_accuracy": kept.train_accuracy, "val_accuracy": kept.val_accuracy}


def costs(state: State, examples: int, device: torch.device) -> dict[str, float | int | None]:
    """Return what the run took in time and memory, over all attempts."""
    seconds = state.watch.parts["train"]
    return {
        "train_seconds": seconds,
        "wall_seconds": state.watch.wall_seconds,
        "seconds_per_step": seconds / sum(epoch.steps for epoch in state.epochs),
        "samples_per_second": examples * len(state.epochs) / seconds,
        "epochs": len(state.epochs),
        "peak_memory_bytes": peak(state, device),
    }


def peak(state: State, device: torch.device) -> int | None:
    """Return the largest peak of memory of all attempts, None where none is known."""
    known = [b for b in (state.peak_memory_bytes, peak_memory(device)) if b is not None]
    return max(known, default=None)
