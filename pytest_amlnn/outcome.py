"""The end of a run: its best weights are tested once; or there was no memory left for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from pytest_amlnn.case import Case
from pytest_amlnn.data import SPLITS, Data, facts_of
from pytest_amlnn.device import Clock, deterministic, draw_from, is_out_of_memory, peak_memory
from pytest_amlnn.nets import explained
from pytest_amlnn.preparation import Setup, facts_of_task, open_data
from pytest_amlnn.result import FINISHED, Epoch, Run, best_epoch, diverged, stop_reason
from pytest_amlnn.state import State
from pytest_amlnn.steps import evaluate, seed_of


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


def finish(setup: Setup, case: Case, device: torch.device, clock: Clock) -> Outcome:
    """Return the end of a run: its best weights, tested once, where there is a test."""
    task, recipe = case.training.task, case.training.recipe
    state, splits, epochs = setup.state, setup.splits, setup.state.epochs
    scored = None
    draw_from(seed_of(setup.run.seed, len(epochs)))  # the same after a cut
    with clock.part("evaluate", state.spent):
        if epochs and not diverged(epochs) and setup.testing:
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
        data={**setup.said, "counts": counts_of(splits)} if setup.testing else setup.said,
    )
    answers = scored.answers if scored else {}
    names = splits.test.names if setup.testing else ()
    return Outcome(run=run, dataset=setup.dataset, answers=answers, names=names)


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
        "steps_per_epoch": state.epochs[0].steps,
        "peak_memory_bytes": peak(state, device),
    }


def peak(state: State, device: torch.device) -> int | None:
    """Return the largest peak of memory of all attempts, None where none is known."""
    known = [b for b in (state.peak_memory_bytes, peak_memory(device)) if b is not None]
    return max(known, default=None)


# memory


def out_of_memory(
    case: Case, data: Data, run: Run, device: torch.device, words: str
) -> Outcome:
    """Return the end of a run that asked for more memory than there is, in torch's words."""
    recipe, task = case.training.recipe, case.training.task
    most = peak_memory(device) or 0
    reason = (
        f"{device} has no memory left at batch size {recipe.batch_size}, resolution"
        f" {recipe.transforms.resolution}, {run.precision}; at most {most / 2**30:.2f} GiB were"
        f" in use: {words}"
    )
    ended = replace(run, status="oom", reason=reason)
    try:
        with deterministic(device, recipe.threads):
            splits = open_data(data, run.seed)
            said, baselines = facts_of_task(splits, task)
            dataset = facts_of(splits)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return Outcome(run=ended, dataset=run.data)  # the data are what is too large
    facts = {**said, "counts": counts_of(splits)}
    return Outcome(run=replace(ended, data=facts, baselines=baselines), dataset=dataset)


# data


def facts_of_data(case: Case, data: Data, seed: int, device: torch.device) -> dict[str, Any]:
    """Return what the data of a run say of themselves."""
    with deterministic(device, case.training.recipe.threads):
        return facts_of(open_data(data, seed))
