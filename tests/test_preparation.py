"""What nets start from: scales and statistics found on training pictures."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_cases import CPU, SIDE, pictures_net, small_case, squares, trained
from torch import Tensor, nn

from pytest_amlnn import CLASSIFICATION, DataError
from pytest_amlnn.preparation import refresh_norms, shuffled_indices, standardise
from pytest_amlnn.steps import EVALUATION_BATCH, Feed

RECIPE = small_case().training.recipe


def deep(outputs: int) -> nn.Module:
    """Build a net of many layers without norms, drawn so narrow that it says one thing."""
    layers: list[nn.Module] = []
    for channels in (3, *[8] * 11):
        conv = nn.Conv2d(channels, 8, 3, padding=1)
        nn.init.normal_(conv.weight, std=0.02)
        layers += [conv, nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * SIDE * SIDE, outputs))


def training_feed() -> tuple[Feed, Tensor]:
    """Return the training squares, and one shuffled batch of them."""
    splits = squares()(0)
    feed = CLASSIFICATION.feed(splits.train, splits, RECIPE, CPU)
    return feed, feed.batch(shuffled_indices(feed)[:EVALUATION_BATCH])[0]


def test_each_channel_of_each_layer_is_standardised():
    """But for the last layer, outputs have mean 0 and deviation 1: pictures are told apart."""
    torch.manual_seed(0)
    net = deep(3)
    feed, pictures = training_feed()
    last = net[-1].weight.clone()
    spread = net(pictures).std(0).mean()
    standardise(net, feed, RECIPE)
    maps = pictures
    for layer in net[:-2]:
        maps = layer(maps)
        if isinstance(layer, nn.Conv2d):
            assert torch.allclose(maps.mean((0, 2, 3)), torch.zeros(8), atol=1e-4)
            assert torch.allclose(maps.std((0, 2, 3)), torch.ones(8), atol=1e-3)

    assert torch.equal(net[-1].weight, last)
    assert net(pictures).std(0).mean() > 100 * spread
    assert not any(layer._forward_hooks for layer in net)


def test_features_of_tokens_are_standardised():
    """A dense layer's channels lie last, also where there are as many tokens as features."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(2), nn.Linear(64, 3), nn.Flatten(), nn.Linear(9, 3))
    feed, pictures = training_feed()
    standardise(net, feed, RECIPE)
    tokens = net[:2](pictures)

    assert torch.allclose(tokens.mean((0, 1)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(tokens.std((0, 1)), torch.ones(3), atol=1e-3)


def test_deep_net_without_norms_learns_when_standardised():
    """What stays at chance as it was drawn does not once it is scaled; bits follow the seed."""
    case = small_case(build=deep, epochs=4, optimizer="adam", learning_rate=0.001)
    scaled = small_case(
        build=deep, epochs=4, optimizer="adam", learning_rate=0.001, standardise=True
    )
    drawn, first, second = (trained(one).run for one in (case, scaled, scaled))

    assert drawn.metrics["test_accuracy"] < 0.5
    assert first.metrics["test_accuracy"] > 0.8
    assert first.metrics["test_loss"] == second.metrics["test_loss"]


def test_statistics_of_norms_are_those_of_the_training_pictures():
    """Refreshed, they are the mean and variance over them, whatever they were."""
    torch.manual_seed(0)
    net, (feed, pictures) = pictures_net(3), training_feed()
    net[1].running_mean.fill_(7.0)
    refresh_norms(net, feed, RECIPE)
    variance, mean = torch.var_mean(net[0](pictures), (0, 2, 3))

    assert torch.allclose(net[1].running_mean, mean, atol=1e-4)
    assert torch.allclose(net[1].running_var, variance, rtol=1e-3)
    assert net[1].momentum == 0.1


def test_last_batch_of_one_tells_nothing_of_variance():
    """Norms of maps of one pixel are refreshed with any number of pictures."""
    feed, _ = training_feed()
    count = EVALUATION_BATCH + 1
    many = replace(feed, count=count, batch=lambda chosen: feed.batch(chosen % 60))
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3))
    refresh_norms(net, many, RECIPE)

    assert net[1].num_batches_tracked == 1


def test_recipe_has_norms_refreshed():
    """`refresh_norms` in a recipe is done before the first step; without it nothing is."""
    pixels = squares()(0).train.inputs
    for refreshed in (True, False):
        nets: list[nn.Module] = []

        def build(outputs: int, nets: list[nn.Module] = nets) -> nn.Module:
            norm = nn.BatchNorm2d(3)
            nets.append(nn.Sequential(norm, nn.Flatten(), nn.Linear(3 * SIDE * SIDE, outputs)))
            return nets[-1]

        trained(
            small_case(
                build=build,
                epochs=1,
                refresh_norms=refreshed,
                freeze_norms=True,
                learning_rate=0.0,
            )
        )
        mean = torch.tensor((pixels / 127.5 - 1).mean((0, 1, 2))).float()

        assert torch.allclose(nets[0][0].running_mean, mean, atol=1e-4) == refreshed


def test_split_of_one_example_is_refused():
    """A training split that makes no batch is named before anything is trained."""
    splits = squares()(0)
    one = replace(
        splits.train,
        rows=splits.train.rows[:1],
        targets=splits.train.targets[:1],
        names=splits.train.names[:1],
    )

    with pytest.raises(DataError, match="train split: 1 example makes no batch of 32"):
        trained(small_case(), lambda seed: replace(splits, train=one))
