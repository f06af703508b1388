"""The learning-rate range test: one short training in which the learning rate rises.

Smith 2017 (arXiv:1506.01186, section 3.3). Number of steps, smoothing, end and choice are those
of fastai's `lr_find`, which calls the choice `valley` (docs.fast.ai/callback.schedule.html).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch

from pytest_amlnn.case import Case
from pytest_amlnn.data import Data, Weights
from pytest_amlnn.device import Clock, deterministic
from pytest_amlnn.preparation import set_up
from pytest_amlnn.progress import Progress
from pytest_amlnn.result import Run
from pytest_amlnn.search import Search
from pytest_amlnn.steps import Feed, Steps, seed_of, train_epoch

STEPS = 100
KEPT = 0.98
"""Share of itself that the moving average of the losses keeps each step."""
EXPLODED = 4.0
"""A loss that is so many times the lowest one ends the curve."""

Curve = tuple[tuple[float, float], ...]
"""Each step's learning rate, and the smoothed loss there."""


def short_case(case: Case) -> Case:
    """Return a case as long as a range test: one epoch of `STEPS` batches."""
    recipe = replace(case.training.recipe, epochs=1)
    training = replace(case.training, recipe=recipe)
    return replace(case, training=training, size=STEPS * recipe.batch_size)


def range_test(
    case: Case,
    data: Data,
    run: Run,
    search: Search,
    *,
    device: torch.device,
    progress: Progress,
    weights: Weights | None = None,
) -> Curve:
    """Return the curve of one training of a `short_case`; nothing but its train split is read
    of the data."""
    recipe, task = case.training.recipe, case.training.task
    with deterministic(device, recipe.threads):
        setup = set_up(case, data, run, device, Clock(device), None, weights, tested=False)
        recipe = replace(recipe, batch_size=min(recipe.batch_size, setup.training.count))
        feed = drawn(setup.training, STEPS * recipe.batch_size, run.seed)
        rate_at = partial(rising_rate, search)
        steps = Steps(setup.state, feed, recipe, run.seed, rate_at)
        train_epoch([steps], task, recipe, progress)
        losses = (steps.losses.filled_rows / recipe.batch_size).tolist()
    rates = [rate_at((step + 0.5) / STEPS) for step in range(len(losses))]
    return curve_of(rates, losses)


def drawn(feed: Feed, count: int, seed: int) -> Feed:
    """Return what gives batches of so many examples, each as often as any other."""
    generator = torch.Generator().manual_seed(seed_of(seed))
    rounds = range(0, count, feed.count)
    shuffled = [torch.randperm(feed.count, generator=generator) for _ in rounds]
    chosen = torch.cat(shuffled)[:count]
    return Feed(count=count, batch=lambda rows, *drawn: feed.batch(chosen[rows], *drawn))


def rising_rate(search: Search, progress: float) -> float:
    """Return the learning rate at `progress` in 0..1: each step by the same factor."""
    factor: float = (search.high / search.low) ** progress
    return search.low * factor


def curve_of(rates: Sequence[float], losses: Sequence[float]) -> Curve:
    """Return learning rates and smoothed losses, up to where the loss explodes."""
    found: list[tuple[float, float]] = []
    average, lowest = 0.0, math.inf
    for step, (rate, loss) in enumerate(zip(rates, losses, strict=True), 1):
        average = KEPT * average + (1 - KEPT) * loss
        smoothed = average / (1 - KEPT**step)
        lowest = min(lowest, smoothed)
        if not math.isfinite(smoothed) or smoothed > EXPLODED * lowest > 0:
            break
        found.append((rate, smoothed))
    return tuple(found)


def chosen_rate(curve: Curve) -> float | None:
    """Return the learning rate in the middle of the longest series of ever lower losses; None
    where no loss is lower than the first one.

    A step that breaks the fall is passed over. How low the losses are does not count.
    """
    lengths: list[int] = []
    for step, (_, loss) in enumerate(curve):
        above = [lengths[before] for before in range(step) if curve[before][1] > loss]
        lengths.append(1 + max(above, default=0))
    lowest = min(range(len(curve)), key=lambda step: curve[step][1], default=0)
    if not lowest:
        return None
    longest = max(lengths)
    rate, _ = curve[lengths.index(longest) - longest // 2]
    return rate
