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

from pytest_amlnn.case import Case
from pytest_amlnn.data import SPLITS, Data, DataError, Weights, facts_of
from pytest_amlnn.device import (
    Clock,
    calibrate,
    deterministic,
    environment,
    peak_memory,
    reset_peak_memory,
)
from pytest_amlnn.identity import case_to_plain
from pytest_amlnn.nets import explained, own_random_state
from pytest_amlnn.preparation import Setup, facts_of_task, groups_of, set_up, validate
from pytest_amlnn.progress import Progress
from pytest_amlnn.recipe import Recipe
from pytest_amlnn.result import (
    FINISHED,
    Epoch,
    Run,
    best_epoch,
    diverged,
    stop_reason,
    task_to_plain,
)
from pytest_amlnn.state import State, save
from pytest_amlnn.steps import Steps, Trained, evaluate, precision_on, rate, train_epoch
from pytest_amlnn.tasks import Scored


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One training that ended, with all that is stored of it."""

    run: Run
    dataset: Mapping[str, object]
    """What the dataset says of itself, class words included."""
    answers: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What the net said of each test example; nothing where none was tested."""
    names: Sequence[str] = ()
    """Of the test examples, in their order."""


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

    `runs` are what `initial_run` gave. Equal trainings, seeds, devices, versions of torch give
    equal numbers, bit for bit, whichever runs are trained at once, and however often the
    training was cut: `places` are the folders of their checkpoints, and each resumes from its
    newest. Raises DataError for splits that cannot be trained on, StoreError for a checkpoint
    of another training.
    """
    recipe, task = case.training.recipe, case.training.task
    with deterministic(device, recipe.threads), own_random_state():
        calibration = calibrate(device)
        reset_peak_memory(device)
        clock = Clock(device)
        setups = [
            set_up(case, data, run, device, clock, place, weights)
            for run, place in zip_longest(runs, places)
        ]
        for group in groups_of(setups, case):
            going = group
            while going:
                for setup in [one for one in going if one.over(recipe)]:
                    end = finish(setup, case, device, clock)
                    run = replace(end.run, calibration_seconds=calibration, together=len(group))
                    yield replace(end, run=run)
                    clock.skip()
                going = [one for one in going if not one.over(recipe)]
                if not going:
                    break
                spent = [one.state.spent for one in going]
                with clock.part("train", *spent), explained("training", going[0].given):
                    steps = [Steps(s.state, s.training, recipe, s.run.seed) for s in going]
                    trained = train_epoch(steps, task, recipe, progress)
                with clock.part("evaluate", *spent):
                    validated = validate(going, case)
                for setup, learned, scored in zip(going, trained, validated, strict=True):
                    setup.state.epochs.append(epoch_of(setup.state, learned, scored, recipe))
                    progress.epoch(setup.run.seed, setup.state.epochs)
                    with clock.part("checkpoint", setup.state.spent):
                        keep(setup, recipe, device)


def initial_run(
    case: Case,
    *,
    id: str,
    seed: int,
    device: torch.device,
    data: Data | None = None,
    weights: Weights | None = None,
    contended: bool = False,
) -> Run:
    """Return the record that is left of a run if the process dies.

    Raises DataError for a case that starts from trained weights and was given none, and for
    one that starts at random and was given some; IdentityError for a training that cannot be
    told from another one.
    """
    training = case.training
    if training.start != "random" and weights is None:
        raise DataError(
            f"the case starts from {training.start} weights and was given none: call"
            " train(case, data, weights)"
        )
    if training.start == "random" and weights is not None:
        raise DataError(
            f"the case starts at random and was given the weights {weights.tag}: say which"
            ' ones they are, as in Training(start="imagenet"), or call train(case, data)'
        )
    start = f"{training.start}:{weights.tag}:{weights.sha256}" if weights else training.start
    return Run(
        id=id,
        seed=seed,
        case=case_to_plain(case, data),
        task=task_to_plain(training.task),
        status="crashed",
        reason="its process died",
        epochs=(),
        best_epoch=None,
        metrics={},
        parts={},
        data={"name": training.data.name},
        init=start,
        weights=weights.facts if weights else {},
        precision=precision_on(device, training.recipe),
        environment=environment(device, training.recipe.threads),
        calibration_seconds=None,
        contended=contended,
    )


# after each epoch


def epoch_of(state: State, trained: Trained, scored: Scored, recipe: Recipe) -> Epoch:
    """Put together what is recorded of the epoch that is over."""
    spent = {
        part: state.spent.parts[part] - math.fsum(epoch.seconds[part] for epoch in state.epochs)
        for part in ("train", "evaluate")
    }
    number = len(state.epochs) + 1
    return Epoch(
        train={"loss": trained.loss, **trained.scores},
        validation={
            name: float(v) for name, v in {"loss": scored.loss, **scored.scores}.items()
        },
        learning_rate=rate(recipe, (number - 0.5 / trained.steps) / recipe.epochs),
        gradient_norm=trained.gradient_norm,
        steps=trained.steps,
        seconds=spent,
    )


def keep(setup: Setup, recipe: Recipe, device: torch.device) -> None:
    """Keep the best weights so far, and write a checkpoint."""
    state = setup.state
    if best_epoch(state.epochs) == len(state.epochs):
        state.best = copy.deepcopy(state.evaluated.state_dict())
    if setup.place and not diverged(state.epochs):
        state.peak_memory_bytes = peak(state, device)
        over = bool(stop_reason(state.epochs, recipe))
        save(setup.place, state, identity=setup.identity, over=over)


# after the last epoch


def finish(setup: Setup, case: Case, device: torch.device, clock: Clock) -> Outcome:
    """Return the end of a run: its best weights, tested once."""
    task, recipe = case.training.task, case.training.recipe
    state, splits, epochs = setup.state, setup.splits, setup.state.epochs
    scored = None
    with clock.part("evaluate", state.spent):
        if epochs and not diverged(epochs):
            state.net.load_state_dict(state.best)
            score = task.score("test", splits, recipe)
            with explained("the test", setup.given):
                (scored,) = evaluate([state.net], [setup.testing], [score], recipe)
    metrics: dict[str, Any] = {**setup.size, **state.start}
    complaint = setup.state.implausible if not epochs else ""
    if scored is not None:
        metrics |= {name: float(value) for name, value in scored.metrics.items()}
        metrics |= scores_of_best(epochs, task.metrics)
        complaint = task.implausible(scored, splits)
    if epochs:
        metrics |= costs(state, len(splits.train), device)
    run = replace(
        setup.run,
        status="implausible" if complaint else "diverged" if diverged(epochs) else FINISHED,
        reason=complaint or stop_reason(epochs, recipe),
        epochs=tuple(epochs),
        best_epoch=best_epoch(epochs),
        metrics=metrics,
        baselines=setup.baselines,
        parts=state.spent.parts,
        data={**setup.said, "counts": counts_of(splits)},
    )
    answers = scored.answers if scored else {}
    return Outcome(run=run, dataset=setup.dataset, answers=answers, names=splits.test.names)


def counts_of(splits: Any) -> dict[str, int]:
    """Return how many examples each split has."""
    return {name: len(getattr(splits, name)) for name in SPLITS}


def scores_of_best(epochs: Sequence[Epoch], metrics: Sequence[Any]) -> dict[str, float]:
    """Return those scores of the epoch whose weights were kept that are metrics of the task."""
    kept = epochs[(best_epoch(epochs) or len(epochs)) - 1]
    named = {f"train_{name}": value for name, value in kept.train.items()}
    named |= {f"val_{name}": value for name, value in kept.validation.items()}
    return {metric.name: named[metric.name] for metric in metrics if metric.name in named}


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


def out_of_memory(
    case: Case, data: Data, run: Run, device: torch.device, words: str
) -> Outcome:
    """Return the end of a run that asked for more memory than there is, in torch's words."""
    splits, recipe = data(run.seed), case.training.recipe
    most = peak_memory(device) or 0
    reason = (
        f"{device} has no memory left at batch size {recipe.batch_size}, resolution"
        f" {recipe.transforms.resolution}, {run.precision}; at most {most / 2**30:.2f} GiB were"
        f" in use: {words.splitlines()[0]}"
    )
    task = case.training.task
    said, baselines = facts_of_task(splits, task)
    facts = {**said, "counts": counts_of(splits)}
    ended = replace(run, status="oom", reason=reason, data=facts, baselines=baselines)
    return Outcome(run=ended, dataset=facts_of(splits))
