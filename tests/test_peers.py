"""The comparison with other tools, as far as it needs none of them."""

from __future__ import annotations

import pytest

from peers import __main__ as peers
from peers.workers import worker


def test_sides_take_turns():
    """Every round asks each side once, in the same order."""
    asked: list[str] = []
    sides = {name: lambda name=name: asked.append(name) or 0.0 for name in "ab"}
    measured = peers.in_turns(sides, 3)

    assert asked == ["a", "b"] * 3
    assert {name: len(values) for name, values in measured.items()} == {"a": 3, "b": 3}


def test_ratio_is_that_of_the_rounds():
    """A round in which the machine was slow counts as one: the ratio is taken inside of it."""
    assert peers.ratio([2.0, 20.0, 6.0], [1.0, 10.0, 2.0]) == 2.0
    row = peers.times({"ours": [1.0, 10.0, 2.0], "other": [2.0, 20.0, 6.0]}, "ms", 1)

    assert row == {"ours, ms": 2.0, "other, ms": 6.0, "against other": 2.0}


@pytest.mark.slow
def test_worker_trains_an_epoch():
    """A side answers from its own process, and its death is told."""
    with worker("peers.recurrent") as ask:
        ask("prepare", model="gru", seeds=[0, 1])

        assert 0 < ask("epoch") < 1
        with pytest.raises(RuntimeError, match="peers.recurrent died over prepare"):
            ask("prepare", model="none", seeds=[0])


@pytest.mark.slow
def test_compared_nets_are_the_same_function():
    """From timm's weights our net has timm's loss and timm's gradients."""
    with worker("peers.pictures") as ask:
        difference = ask("difference", model="resnetv2_18", resolution=32)

    assert difference["loss"] < 1e-5
    assert difference["gradient"] < 1e-2
