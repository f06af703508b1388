"""When a training is over, and which epoch was its best: decided from its epochs alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_amlnn.case import Recipe
from pytest_amlnn.result import Epoch


def stop_reason(epochs: Sequence[Epoch], recipe: Recipe) -> str:
    """Say why training is over after these epochs; nothing as long as it goes on."""
    if not epochs:
        return ""
    done = len(epochs)
    if diverged(epochs):
        rate = f"learning rate {epochs[-1].learning_rate:.3g}"
        return f"the loss of epoch {done} is not a finite number ({rate}); try a lower one"
    if done == recipe.epochs:
        return f"the budget of {done} epochs is used up"
    best = best_epoch(epochs) or 0
    # annealing lowers the loss late, so the first half of the schedule is not held against it
    waited = done - max(best, recipe.epochs // 2)
    if waited >= recipe.patience:
        return f"no lower validation loss for {done - best} epochs"
    return ""


def diverged(epochs: Sequence[Epoch]) -> bool:
    """Return whether the last epoch ended with a loss that is no finite number."""
    return not (math.isfinite(epochs[-1].train_loss) and math.isfinite(epochs[-1].val_loss))


def best_epoch(epochs: Sequence[Epoch]) -> int | None:
    """Return the number, from 1, of the first epoch with the lowest validation loss."""
    losses = [(epoch.val_loss, i) for i, epoch in enumerate(epochs, 1)]
    finite = [pair for pair in losses if math.isfinite(pair[0])]
    return min(finite)[1] if finite else None
