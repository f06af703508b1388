"""Why a result is likely to be worse than its reference, from what the training looked like."""

from __future__ import annotations

from collections.abc import Callable

from pytest_amlnn.gates.measured import Measured
from pytest_amlnn.gates.reference import Reference

Before = Callable[[str], Reference | None]
"""Gives what is known of a metric, by name."""
FAR = 4.0
"""Standard deviations between seeds that a mean must be away to be called another one."""


def likely(result: Measured, before: Before) -> str:
    """Return the likely cause in words; nothing where the training says nothing."""
    steps = ratio(result, before, "steps_per_epoch")
    rate = ratio(result, before, "first_rate")
    if steps is not None and not 0.99 < steps < 1.01:
        return f"{steps:.2g} times as many steps an epoch: other training examples, or batches"
    if rate is not None and not 0.9 < rate < 1.1:
        return f"{rate:.2g} times the learning rate in the first epoch"
    train, val = away(result, before, "train_loss"), away(result, before, "val_loss")
    if train is None or val is None:
        return ""
    if train > FAR and val > FAR:
        seen = pair(result, before, "train_loss")
        return (
            f"it learns less from its own training examples ({seen}): their labels, their"
            " number, the learning rate or the net"
        )
    if val > FAR:
        seen = pair(result, before, "val_loss")
        return (
            f"it learns its training examples, and fails on validation ({seen}): other"
            " examples or labels there, or less regularisation"
        )
    if abs(train) <= FAR and abs(val) <= FAR:
        return "training and validation are as before: the test examples, their labels or order"
    return ""


def away(result: Measured, before: Before, name: str) -> float | None:
    """Return by how many standard deviations a mean exceeds that of the reference."""
    mean = result.mean(name)
    reference = before(name)
    if mean is None or reference is None or reference.n == 1:  # of one run nobody knows
        return None
    scale = reference.error(len(result.seeds)) or 1e-3 * abs(reference.mean) or 1e-12
    return (mean - reference.mean) / scale


def ratio(result: Measured, before: Before, name: str) -> float | None:
    """Return how many times as large a mean is as that of the reference."""
    mean = result.mean(name)
    reference = before(name)
    return mean / reference.mean if mean is not None and reference and reference.mean else None


def pair(result: Measured, before: Before, name: str) -> str:
    """Return a value and that of the reference, both known, in words."""
    reference = before(name)
    assert reference
    return f"{name} {result.mean(name):.3g}, was {reference.mean:.3g}"
