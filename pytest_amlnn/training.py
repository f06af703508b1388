"""Train a case, with one seed or with several at once, from fresh weights to tested nets."""

from __future__ import annotations

import copy
import math
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from time import process_time

import torch

from pytest_amlnn.case import Case
from pytest_amlnn.checkpoint import save
from pytest_amlnn.data import Data, DataError, Weights
from pytest_amlnn.device import (
    Clock,
    calibrate,
    deterministic,
    environment,
    reset_peak_memory,
)
from pytest_amlnn.identity import case_to_plain
from pytest_amlnn.nets import explained
from pytest_amlnn.outcome import Outcome, finish, peak
from pytest_amlnn.preparation import Setup, groups_of, set_up, validate
from pytest_amlnn.progress import Progress
from pytest_amlnn.recipe import Recipe
from pytest_amlnn.result import (
    Epoch,
    Run,
    best_epoch,
    diverged,
    stop_reason,
    task_to_plain,
)
from pytest_amlnn.settings import refuse_changes, settings_of
from pytest_amlnn.state import State
from pytest_amlnn.steps import (
    Steps,
    Trained,
    precision_on,
    rate,
    train_epoch,
)
from pytest_amlnn.tasks import Scored


def train(
    case: Case,
    data: Data,
    runs: Sequence[Run],
    *,
    device: torch.device,
    progress: Progress,
    places: Sequence[Path] = (),
    weights: Weights | None = None,
    tested: bool = True,
) -> Generator[Outcome, None, None]:
    """Train to early stopping, restore the best weights, test once; yield runs as they end.

    `runs` are what `initial_run` gave. Equal trainings, seeds, devices, versions of torch give
    equal numbers, bit for bit, whichever runs are trained at once, and however often the
    training was cut: `places` are the folders of their checkpoints, and each resumes from its
    newest. Unless `tested`, nothing is read of the test split. Raises DataError for splits that
    cannot be trained on, StoreError for a checkpoint of another training, SettingError for a
    process that cannot compute these numbers.
    """
    outcomes = train_all(case, data, runs, device, progress, places, weights, tested)
    with closing(outcomes):
        while True:  # whoever takes the outcomes has the settings of before meanwhile
            with deterministic(device, case.training.recipe.threads):
                outcome = next(outcomes, None)
            if outcome is None:
                return
            yield outcome


def train_all(
    case: Case,
    data: Data,
    runs: Sequence[Run],
    device: torch.device,
    progress: Progress,
    places: Sequence[Path],
    weights: Weights | None,
    tested: bool,
) -> Generator[Outcome, None, None]:
    """Yield what `train` yields, in a process that has the settings of a training."""
    recipe, task = case.training.recipe, case.training.task
    calibration = calibrate(device)
    reset_peak_memory(device)
    clock = Clock(device)
    setups = []
    for run, place in zip_longest(runs, places):
        setup = set_up(case, data, run, device, clock, place, weights, tested=tested)
        setups.append(setup)
        refuse_changes(settings_of(recipe.threads))  # before hours are trained in vain
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
                before = process_time()
                trained = train_epoch(steps, task, recipe, progress)
                busy = (process_time() - before) / len(going)
            with clock.part("evaluate", *spent):
                validated = validate(going, case)
            for setup, learned, scored in zip(going, trained, validated, strict=True):
                epoch = epoch_of(setup.state, learned, scored, recipe, busy)
                setup.state.epochs.append(epoch)
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


def epoch_of(
    state: State, trained: Trained, scored: Scored, recipe: Recipe, busy: float
) -> Epoch:
    """Put together what is recorded of the epoch that is over.

    `busy` are the seconds that processors worked on its training.
    """
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
        seconds={**spent, "processor": busy},
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
