"""Train a case, with one seed or with several at once, from fresh weights to tested nets."""

from __future__ import annotations

import copy
import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pytest_amlnn import checkpoint, resume
from pytest_amlnn.case import Case, Recipe, to_plain
from pytest_amlnn.checkpoint import State
from pytest_amlnn.clock import Clock, Spent
from pytest_amlnn.data import Data, DataError, Weights
from pytest_amlnn.device import (
    calibrate,
    environment,
    peak_memory,
    reset_peak_memory,
    settled,
)
from pytest_amlnn.feeding import Batch, Feed, seed_of
from pytest_amlnn.graphs import captured
from pytest_amlnn.optimization import average_of, optimizer_of, rate
from pytest_amlnn.progress import Progress
from pytest_amlnn.result import FINISHED, Epoch, Run
from pytest_amlnn.starting import refresh_norms, standardise
from pytest_amlnn.statistics import IMPLAUSIBLE, chance_of_so_many
from pytest_amlnn.steps import (
    TASKS,
    Steps,
    Trained,
    evaluate,
    precise,
    precision_on,
    predict,
    train_epoch,
)
from pytest_amlnn.stopping import best_epoch, diverged, stop_reason

Examples = dict[str, np.ndarray]


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
    case: Case,
    *,
    id: str,
    seed: int,
    device: torch.device,
    weights: Weights | None = None,
    contended: bool = False,
) -> Run:
    """Return what is to be said of a run if nothing more is heard of it.

    Raises DataError for a case that starts from trained weights and was given none, and for
    one that starts at random and was given some.
    """
    if case.init != "random" and weights is None:
        raise DataError(
            f"the case starts from {case.init} weights and was given none: call"
            " train(case, data, weights)"
        )
    if case.init == "random" and weights is not None:
        raise DataError(
            f"the case starts at random and was given the weights {weights.tag}: say which"
            ' ones they are, as in Case(init="imagenet"), or call train(case, data)'
        )
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
        init=f"{case.init}:{weights.tag}:{weights.sha256}" if weights else case.init,
        weights=weights.facts if weights else {},
        precision=precision_on(device, case.recipe),
        environment=environment(device, case.recipe.threads),
        calibration_seconds=None,
        contended=contended,
    )


@dataclass(frozen=True, kw_only=True)
class Member:
    """A run under way, alone or together with others."""

    run: Run
    splits: Any
    training: Feed
    validation: Feed
    testing: Feed
    state: State
    size: Mapping[str, int]
    """Parameters, and operations of an example."""
    place: Path | None
    """Folder of its checkpoints."""
    knows_classes: bool = False
    """Its net starts from weights that tell the classes apart."""

    @property
    def epochs(self) -> list[Epoch]:
        """Those that are over."""
        return self.state.epochs

    @property
    def about(self) -> dict[str, Any]:
        """What its numbers follow from."""
        return resume.about(self.run, self.splits.facts)


def train(
    case: Case,
    data: Data,
    runs: Sequence[Run],
    *,
    device: torch.device,
    progress: Progress,
    places: Sequence[Path] = (),
    weights: Weights | None = None,
) -> Generator[Outcome, None, None]:
    """Train to early stopping, restore the best weights, test once; yield runs as they end.

    `runs` are what `begun` gave. Equal cases, seeds, devices and versions of torch give equal
    numbers, bit for bit, whichever runs are trained together, and however often the training
    was cut: `places` are the folders of their checkpoints, and each goes on from its newest.
    Raises StoreError where that is of another recipe or other data.
    """
    recipe = case.recipe
    with settled(device, recipe.threads):
        calibration = calibrate(device)
        reset_peak_memory(device)
        clock = Clock(device)
        members = [
            member_of(case, data, run, device, clock, place, weights)
            for run, place in zip_longest(runs, places)
        ]
        counts = {(member.training.count, member.validation.count) for member in members}
        at_once = case.together and len(counts) == 1
        groups = [members] if at_once else [[member] for member in members]
        for group in groups:
            going = group
            while going:
                for member in [one for one in going if end_of(one, case)]:
                    outcome = tested(member, case, device, clock)
                    run = replace(
                        outcome.run, calibration_seconds=calibration, together=len(group)
                    )
                    yield replace(outcome, run=run)
                    clock.skip()
                going = [one for one in going if not end_of(one, case)]
                if going:
                    one_epoch(going, case, device, clock, progress)


def member_of(
    case: Case,
    data: Data,
    run: Run,
    device: torch.device,
    clock: Clock,
    place: Path | None = None,
    weights: Weights | None = None,
) -> Member:
    """Return a run that is ready for its next epoch."""
    recipe, task, spent = case.recipe, TASKS[case.task], Spent()
    with clock.part("prepare", spent):
        splits = data(run.seed)
        training, validation, testing = (
            task.feed(split, splits, recipe, device)
            for split in (splits.train, splits.validation, splits.test)
        )
    with clock.part("build", spent):
        torch.manual_seed(seed_of(run.seed))
        start = task.start(splits, weights) if weights else {}
        net = task.network(case.build(task.outputs(splits), **start), device)
        state = State(
            net=net,
            optimizer=optimizer_of(net, recipe),
            average=average_of(net, recipe),
            best=copy.deepcopy(net.state_dict()),
            spent=spent,
        )
        size = size_of(net, training.batch(torch.arange(1)))
    member = Member(
        run=run,
        splits=splits,
        training=training,
        validation=validation,
        testing=testing,
        state=state,
        size=size,
        place=place,
        knows_classes=weights is not None and weights.know_classes,
    )
    with clock.part("checkpoint", spent):
        if place:
            checkpoint.load(place, state, about=member.about)
    if not state.epochs:
        with clock.part("prepare", spent):
            if recipe.standardise and not weights:
                standardise(net, training, recipe)
            if recipe.refresh_norms:
                refresh_norms(net, training, recipe)
    if weights and not state.epochs:
        with clock.part("evaluate", spent):
            ((loss, accuracy),) = evaluate([net], [validation], case)
            state.start["start_loss"] = loss
            if accuracy is not None:
                state.start["start_accuracy"] = accuracy
    if case.together and device.type == "cuda" and training.count >= recipe.batch_size:
        with clock.part("compile", spent), precise(device, recipe):
            inputs, _ = training.batch(torch.arange(recipe.batch_size))
            state.forward = captured(net, inputs)
    return member


def one_epoch(
    members: Sequence[Member],
    case: Case,
    device: torch.device,
    clock: Clock,
    progress: Progress,
) -> None:
    """Train each for one epoch more, see what it learned, and write a checkpoint."""
    spent = [member.state.spent for member in members]
    with clock.part("train", *spent):
        steps = [
            Steps(member.state, member.training, case.recipe, member.run.seed)
            for member in members
        ]
        trained = train_epoch(steps, case, progress)
    with clock.part("evaluate", *spent):
        nets = [member.state.judged for member in members]
        validated = evaluate(nets, [member.validation for member in members], case)
    for member, learned, found in zip(members, trained, validated, strict=True):
        state, number = member.state, len(member.epochs) + 1
        state.epochs.append(epoch_of(state, learned, found, case.recipe))
        progress.epoch(number, state.epochs[-1])
        with clock.part("checkpoint", state.spent):
            if best_epoch(state.epochs) == number:
                state.best = copy.deepcopy(state.judged.state_dict())
            if member.place and not diverged(state.epochs):
                state.peak_memory_bytes = peak(state, device)
                over = bool(stop_reason(state.epochs, case.recipe))
                checkpoint.save(member.place, state, about=member.about, over=over)


def tested(member: Member, case: Case, device: torch.device, clock: Clock) -> Outcome:
    """Return the end of a run: its best weights, tested once."""
    task, state, splits = TASKS[case.task], member.state, member.splits
    epochs = state.epochs
    metrics: dict[str, Any] = {**member.size, **state.start}
    complaint = lost_start(member)
    examples: Examples = {}
    with clock.part("evaluate", state.spent):
        if epochs and not diverged(epochs):
            state.net.load_state_dict(state.best)
            ((answers, _),) = predict([state.net], [member.testing], case.recipe)
            scores, examples = task.score(answers, splits, case.recipe)
            metrics |= scores | accuracies(epochs)
    if epochs:
        metrics |= costs(state, len(splits.train), device)
    if examples:
        complaint = task.implausible(examples, splits)
    ended = replace(
        member.run,
        status="implausible" if complaint else "diverged" if diverged(epochs) else FINISHED,
        reason=complaint or stop_reason(epochs, case.recipe),
        epochs=tuple(epochs),
        best_epoch=best_epoch(epochs),
        metrics=metrics,
        parts=state.spent.parts,
        data=task.facts(splits),
    )
    return Outcome(run=ended, dataset=splits.facts, examples=examples, names=splits.test.names)


def end_of(member: Member, case: Case) -> str:
    """Say why a run is over; nothing as long as it goes on."""
    return lost_start(member) or stop_reason(member.epochs, case.recipe)


def lost_start(member: Member) -> str:
    """Say why trained weights are not what they should be: the net begins at chance.

    Pictures too few to tell even a perfect net from chance tell nothing.
    """
    accuracy = member.state.start.get("start_accuracy")
    if member.epochs or accuracy is None or not member.knows_classes:
        return ""
    count, chance = member.validation.count, 1 / len(member.splits.classes)
    right = round(accuracy * count)
    if chance_of_so_many(count, count, chance) >= IMPLAUSIBLE:
        return ""
    if chance_of_so_many(right, count, chance) < IMPLAUSIBLE:
        return ""
    return (
        f"before training {accuracy:.4f} of {count} validation pictures were right, and chance"
        f" is {chance:.4f}: the weights are of another variant of the net, the recipe's mean"
        " and deviation are not theirs, rows of their head do not follow the class order, or"
        " its resolution is too far from that they were made at"
    )


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


def epoch_of(
    state: State, trained: Trained, validated: tuple[float, float | None], recipe: Recipe
) -> Epoch:
    """Put together what is recorded of the epoch that is over."""
    spent = {
        part: state.spent.parts[part] - math.fsum(epoch.seconds[part] for epoch in state.epochs)
        for part in ("train", "evaluate")
    }
    number = len(state.epochs) + 1
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


def accuracies(epochs: Sequence[Epoch]) -> dict[str, float | None]:
    """Return the accuracies of the epoch whose weights were kept."""
    kept = epochs[(best_epoch(epochs) or len(epochs)) - 1]
    if kept.train_accuracy is None:
        return {}
    return {"train_accuracy": kept.train_accuracy, "val_accuracy": kept.val_accuracy}


def costs(state: State, examples: int, device: torch.device) -> dict[str, float | int | None]:
    """Return what the run took in time and memory, over all attempts."""
    seconds = state.spent.parts["train"]
    return {
        "train_seconds": seconds,
        "wall_seconds": state.spent.wall_seconds,
        "seconds_per_step": seconds / sum(epoch.steps for epoch in state.epochs),
        "samples_per_second": examples * len(state.epochs) / seconds,
        "epochs": len(state.epochs),
        "peak_memory_bytes": peak(state, device),
    }


def peak(state: State, device: torch.device) -> int | None:
    """Return the largest peak of memory of all attempts, None where none is known."""
    known = [b for b in (state.peak_memory_bytes, peak_memory(device)) if b is not None]
    return max(known, default=None)
