"""How long steps and gradients are."""

from __future__ import annotations

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_cases import linear
from torch import nn

from pytest_amlnn import optimization
from pytest_amlnn.case import Recipe


@given(st.floats(0, 1), st.floats(0, 0.9))
def test_rate_stays_between_zero_and_the_peak(progress, warmup):
    """The learning rate never leaves 0..peak, wherever in the schedule."""
    recipe = Recipe(epochs=5, learning_rate=0.3, warmup=warmup)

    assert 0 <= optimization.rate(recipe, progress) <= 0.3


def test_rate_peaks_after_the_warm_up():
    """The rate rises to its peak over the warm-up, and ends at zero."""
    recipe = Recipe(epochs=5, learning_rate=0.3, warmup=0.2)

    assert optimization.rate(recipe, 0.1) == pytest.approx(0.15)
    assert optimization.rate(recipe, 0.2) == pytest.approx(0.3)
    assert optimization.rate(recipe, 1.0) == pytest.approx(0.0)


def test_weight_decay_spares_biases():
    """Only parameters of two dimensions and more decay."""
    optimizer = optimization.optimizer_of(
        linear(3), Recipe(epochs=1, learning_rate=0.1, weight_decay=0.5)
    )
    decays = {
        parameter.ndim: group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }

    assert decays == {2: 0.5, 1: 0.0}


def test_layers_learn_at_their_own_rates():
    """The head takes the whole rate, each layer before it a smaller one, the stem least."""
    net = timm.create_model("resnetv2_18", num_classes=3)
    optimizer = optimization.optimizer_of(
        net, Recipe(epochs=1, learning_rate=0.1, layer_decay=0.5)
    )
    optimization.set_rate(optimizer, 0.08)
    rates = {
        id(parameter): group["lr"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }

    assert rates.keys() == {id(parameter) for parameter in net.parameters()}
    assert rates[id(net.head.fc.weight)] == pytest.approx(0.08)
    assert rates[id(net.stem.conv.weight)] == min(rates.values()) < 0.08 / 4


def test_layers_that_cannot_be_told_apart_are_refused():
    """A rate for each layer is asked for in vain where a net has no order of layers."""
    with pytest.raises(ValueError, match=r"layer_decay is 0\.5.*needs timm's group_matcher"):
        optimization.optimizer_of(
            linear(3), Recipe(epochs=1, learning_rate=0.1, layer_decay=0.5)
        )


def test_average_follows_the_weights():
    """After a first step that it takes as it is, it keeps its share of what it was."""
    net = linear(3)
    average = optimization.average_of(net, Recipe(epochs=1, learning_rate=0.1, averaging=0.75))
    for value in (1.0, 5.0):
        net[1].bias.data.fill_(value)
        average.update_parameters(net)

    assert torch.equal(average.module[1].bias.data, torch.full((3,), 2.0))
    assert optimization.average_of(net, Recipe(epochs=1, learning_rate=0.1)) is None


def test_gradient_is_clipped():
    """Clipping shortens the whole gradient to the limit; the norm told is from before."""
    net = linear(3)
    net(torch.ones(2, 3, 8, 8)).square().sum().backward()
    before = optimization.clip(list(net.parameters()), None)
    told = optimization.clip(list(net.parameters()), 0.5)

    assert told == before > 0.5
    assert optimization.clip(list(net.parameters()), None).item() == pytest.approx(
        0.5, rel=1e-4
    )


@pytest.mark.parametrize("few", [0, 10**9], ids=["part by part", "in one copy"])
def test_gradient_is_clipped_to_the_limit(few, monkeypatch):
    """The norm is that of all weights, however they lie; afterwards it is the limit."""
    monkeypatch.setattr(optimization, "FEW_WEIGHTS", few)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    net.to(memory_format=torch.channels_last)
    net(torch.randn(5, 3, 4, 4)).square().sum().backward()
    parameters = [*net.parameters()]
    expected = sum(p.grad.square().sum() for p in parameters).sqrt()
    found = optimization.clip(parameters, 0.25)
    clipped = sum(p.grad.square().sum() for p in parameters).sqrt()

    assert torch.allclose(found, expected)
    assert torch.allclose(clipped, torch.tensor(0.25))
