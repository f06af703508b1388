"""Batches: which examples make up each one, and what makes them ready for a net."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pytest_amlnn.case import Recipe

Batch = tuple[Tensor, Tensor]
"""Inputs and targets, on the device."""

EVALUATION_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Feed:
    """Where a net's batches of a split come from."""

    count: int
    """Examples of the split."""
    batch: Callable[..., Batch]
    """Takes the numbers of the chosen examples (n,), and for training a generator, from
    which augmentation is drawn."""


def seed_of(*numbers: int) -> int:
    """Mix a run's seed with an epoch's number into a seed that looks like no other."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def steps_of(examples: int, recipe: Recipe) -> int:
    """Return the steps of an epoch; a last batch of one is left out: norms need two."""
    full, rest = divmod(examples, recipe.batch_size)
    return full + (rest > 1)


def epoch_of_batches(feed: Feed, recipe: Recipe, seed: int, number: int) -> Iterator[Batch]:
    """Yield the training batches of one epoch; every draw follows from (seed, epoch)."""
    drawn = seed_of(seed, number)
    torch.manual_seed(drawn)  # for dropout
    generator = torch.Generator().manual_seed(drawn)
    order = torch.randperm(feed.count, generator=generator)
    size = recipe.batch_size
    for step in range(steps_of(feed.count, recipe)):
        yield feed.batch(order[step * size : (step + 1) * size], generator)


def all_in_order(feed: Feed) -> Iterator[Batch]:
    """Yield every example once, in large batches, as they are."""
    for start in range(0, feed.count, EVALUATION_BATCH):
        yield feed.batch(torch.arange(start, min(start + EVALUATION_BATCH, feed.count)))
