"""Every model there is: a new file in amlnn_models is covered without a new test."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import amlnn_models
from amlnn_models import inception, vgg
from pytest_amlnn.case import Case, discover
from pytest_amlnn.training import TASKS

QUICK = {case.model: case for case in discover(amlnn_models) if case.profile == "quick"}


def one_batch(case: Case) -> tuple[Tensor, Tensor]:
    """Return random inputs and targets such as the case's task would feed."""
    torch.manual_seed(0)
    if case.task == "classification":
        side = case.recipe.resolution
        return torch.randn(4, 3, side, side), torch.tensor([0, 1, 2, 3])
    window = int(case.data["window"])
    return torch.randn(4, window, 1), torch.randn(4, 1)


@pytest.mark.parametrize("case", QUICK.values(), ids=lambda case: case.model)
def test_model_takes_a_step(case):
    """The net maps a batch to one row of outputs each, and a step changes its weights."""
    outputs = 10 if case.task == "classification" else 1
    inputs, targets = one_batch(case)
    torch.manual_seed(0)
    net = case.build(outputs)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    answers = net(inputs)
    loss = TASKS[case.task].loss(answers, targets)
    loss.backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    same = [name for name, p in net.named_parameters() if torch.equal(p, before[name])]

    assert answers.shape == (4, outputs)
    assert loss.isfinite()
    assert same == []


@pytest.mark.parametrize("case", QUICK.values(), ids=lambda case: case.model)
def test_weights_follow_from_the_seed(case):
    """Equal global seeds draw equal weights, other seeds draw others."""

    def first_weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return next(p for p in case.build(3).parameters() if p.ndim > 1).detach()

    assert torch.equal(first_weights(1), first_weights(1))
    assert not torch.equal(first_weights(1), first_weights(2))


@pytest.mark.parametrize("side", [1, 2, 4, 7])
def test_folded_vgg_is_the_same_function(side):
    """The narrow kernel gives what averaging the map up and the wide kernel give."""
    torch.manual_seed(0)
    wide = nn.Conv2d(8, 16, 7).double()
    narrow = vgg.folded(wide.weight.detach().float(), side).double()
    maps = torch.randn(3, 8, side, side).double()
    expected = wide(nn.functional.adaptive_avg_pool2d(maps, 7))[:, :, 0, 0]
    found = nn.functional.conv2d(maps, narrow, wide.bias)[:, :, 0, 0]

    assert torch.allclose(found, expected, atol=1e-5)


def test_whole_vgg_answers_as_timm_does():
    """VGG-11 with its folded layer agrees with timm's own to float precision."""
    import timm

    torch.manual_seed(0)
    reference = timm.create_model("vgg11", num_classes=5).eval()
    torch.manual_seed(0)
    ours = vgg.vgg11(5, 64).eval()
    pictures = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected, found = reference(pictures), ours(pictures)

    assert ours.pre_logits.fc1.weight.shape[-1] == 2
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max())


def test_inception_refuses_pictures_that_are_too_small():
    """Under 75 pixels the error names the model and both sizes."""
    with pytest.raises(ValueError, match=r"inception_v3 needs 75 pixels or more.*64"):
        inception.inception_v3(10, 64)
