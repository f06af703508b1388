"""When a training is over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_amlnn import stopping
from pytest_amlnn.case import Recipe
from pytest_amlnn.result import Epoch


def epochs(*losses: float) -> list[Epoch]:
    return [
        Epoch(
            train_loss=1.0,
            train_accuracy=None,
            val_loss=loss,
            val_accuracy=None,
            learning_rate=0.1,
            gradient_norm=1.0,
            steps=1,
            seconds={},
        )
        for loss in losses
    ]


def test_patience_ends_training():
    """Three epochs without a lower validation loss, past half of the budget, are enough."""
    recipe = Recipe(epochs=10, learning_rate=0.1, patience=3)

    assert stopping.stop_reason(epochs(3, 2, 1, 1, 1, 1, 1), recipe) == ""
    assert "4 epochs" not in stopping.stop_reason(epochs(3, 2, 1, 1, 1, 1, 1), recipe)
    assert "no lower" in stopping.stop_reason(epochs(3, 2, 1, 1, 1, 1, 1, 1), recipe)


def test_first_half_of_the_schedule_is_not_held_against_a_run():
    """However long ago the best epoch was, patience starts to count at half of the budget."""
    recipe = Recipe(epochs=20, learning_rate=0.1, patience=2)

    assert stopping.stop_reason(epochs(1, *[2] * 10), recipe) == ""
    assert stopping.stop_reason(epochs(1, *[2] * 11), recipe) != ""


@given(st.lists(st.floats(0, 10), min_size=1, max_size=12), st.integers(1, 5))
def test_training_always_ends(losses, patience):
    """Whatever the losses, the budget is never exceeded, and the best epoch is the lowest."""
    recipe = Recipe(epochs=len(losses), learning_rate=0.1, patience=patience)
    best = stopping.best_epoch(epochs(*losses))

    assert stopping.stop_reason(epochs(*losses), recipe)
    assert losses[best - 1] == min(losses)
