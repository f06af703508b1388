"""The steps of an epoch: how many there are, and how long steps and gradients are."""

from __future__ import annotations

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_cases import linear
from torch import nn

from pytest_amlnn import Recipe, steps
from pytest_amlnn.state import optimizer_of


@pytest.mark.parametrize(("examples", "count"), [(64, 2), (65, 2), (66, 3), (5, 1)])
def test_last_batch_of_one_is_left_out(examples, count):
    """Batch normalisation needs two examples; any other remainder is trained on."""
    recipe = Recipe(epochs=1, learning_rate=0.1, batch_size=32)

    assert steps.steps_in_epoch(examples, recipe) == count


@given(st.floats(0, 1), st.floats(0, 0.9))
def test_rate_stays_between_zero_and_the_peak(progress, warmup):
    """The learning rate never leaves 0..peak, wherever in the schedule."""
    recipe = Recipe(epochs=5, learning_rate=0.3, warmup=warmup)

    assert 0 <= steps.rate(recipe, progress) <= 0.3


def test_rate_peaks_after_the_warm_up():
    """The rate rises to its peak over the warm-up, and ends at zero."""
    recipe = Recipe(epochs=5, learning_rate=0.3, warmup=0.2)

    assert steps.rate(recipe, 0.1) == pytest.approx(0.15)
    assert steps.rate(recipe, 0.2) == pytest.approx(0.3)
    assert steps.rate(recipe, 1.0) == pytest.approx(0.0)


def test_layers_learn_at_their_own_rates():
    """The head takes the whole rate, each layer before it a smaller one, the stem least."""
    net = timm.create_model("resnetv2_18", num_classes=3)
    optimizer = optimizer_of(net, Recipe(epochs=1, learning_rate=0.1, layer_decay=0.5))
    steps.set_rate(optimizer, 0.08)
    rates = {
        id(parameter): group["lr"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }

    assert rates.keys() == {id(parameter) for parameter in net.parameters()}
    assert rates[id(net.head.fc.weight)] == pytest.approx(0.08)
    assert rates[id(net.stem.conv.weight)] == min(rates.values()) < 0.08 / 4


def test_gradient_is_clipped():
    """Clipping shortens the whole gradient to the limit; the norm told is from before."""
    net = linear(3)
    net(torch.ones(2, 3, 8, 8)).square().sum().backward()
    before = steps.clip(list(net.parameters()), None)
    told = steps.clip(list(net.parameters()), 0.5)

    assert told == before > 0.5
    assert steps.clip(list(net.parameters()), None).item() == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("few", [0, 10**9], ids=["part by part", "in one copy"])
def test_gradient_is_clipped_to_the_limit(few, monkeypatch):
    """The norm is that of all weights, however they lie; afterwards it is the limit."""
    monkeypatch.setattr(steps, "FEW_WEIGHTS", few)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    net.to(memory_format=torch.channels_last)
    net(torch.randn(5, 3, 4, 4)).square().sum().backward()
    parameters = [*net.parameters()]
    expected = sum(p.grad.square().sum() for p in parameters).sqrt()
    found = steps.clip(parameters, 0.25)
    clipped = sum(p.grad.square().sum() for p in parameters).sqrt()

    assert torch.allclose(found, expected)
    assert torch.allclose(clipped, torch.tensor(0.25))
