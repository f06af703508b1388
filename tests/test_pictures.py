"""Batches of pictures: how they are resized, and how training changes them at random."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_cases import CPU, SIDE, small_case, squares
from torch import Tensor

from pytest_amlnn import CLASSIFICATION, Pictures, Split, Transforms
from pytest_amlnn.steps import Feed
from pytest_amlnn.tasks.pictures import augment

RAMP = 32
"""Height and width of a picture whose red rises from left to right, and green downwards."""


def ramps(count: int) -> Tensor:
    """Return uint8 pictures (n, height, width, 3) that tell where each pixel came from."""
    rising = torch.arange(RAMP, dtype=torch.uint8) * 8
    picture = torch.zeros(RAMP, RAMP, 3, dtype=torch.uint8)
    picture[..., 0], picture[..., 1] = rising[None, :], rising[:, None]
    return picture.expand(count, -1, -1, -1)


def places(count: int = 64, seed: int = 0, **changes: object) -> tuple[Tensor, Tensor]:
    """Return which column and row each pixel of augmented ramps came from, (n, side, side)."""
    transforms = Transforms(resolution=RAMP, **changes)
    generator = torch.Generator().manual_seed(seed)
    images = augment(ramps(count), transforms, generator)
    columns, rows, _ = ((images + 1) / 2 * 255 / 8).unbind(1)
    return columns, rows


def feed_of(split: Split, splits: Pictures, **changes: object) -> Feed:
    """Return what feeds a split, with these fields of the recipe or its transforms."""
    return CLASSIFICATION.feed(split, splits, small_case(**changes).training.recipe, CPU)


def test_pictures_stay_where_nothing_is_to_be_changed():
    """Without a flip, shift or crop, sampling gives the picture back."""
    columns, rows = places()
    there = torch.arange(RAMP).float()

    assert torch.allclose(columns, there[None, None, :].expand_as(columns), atol=0.01)
    assert torch.allclose(rows, there[None, :, None].expand_as(rows), atol=0.01)


def test_half_of_the_pictures_are_mirrored():
    """Left becomes right in about half of them, and up stays up."""
    columns, rows = places(400, flip=True)
    falling = columns[:, 0, 0] > columns[:, 0, -1]

    assert 150 < falling.sum() < 250
    assert torch.allclose(columns[falling][0, 0], torch.arange(RAMP).flip(0).float(), atol=0.01)
    assert (rows[:, -1, 0] > rows[:, 0, 0]).all()


@given(st.integers(0, 2**31), st.integers(1, 6))
def test_shifts_stay_within_their_bound(seed, shift):
    """The middle of a picture comes from so many pixels away at most, each way by itself."""
    columns, rows = places(seed=seed, shift=shift)
    middle = RAMP // 2

    for moved in (columns[:, middle, middle] - middle, rows[:, middle, middle] - middle):
        assert moved.abs().max() <= shift + 0.01
        assert moved.min() < 0 < moved.max()


@given(st.integers(0, 2**31), st.floats(0.2, 0.9))
def test_crops_are_as_large_as_asked(seed, crop):
    """A crop's area lies between the share and the whole, its sides within 3:4 and 4:3."""
    columns, rows = places(seed=seed, crop=crop)
    inner = slice(4, -4)  # at the rim, edges are repeated
    wide = columns[:, 16, inner].diff(dim=-1).mean(-1)
    high = rows[:, inner, 16].diff(dim=-1).mean(-1)

    assert (wide * high >= crop - 0.02).all()
    assert (wide * high).min() < (1 + crop) / 2
    assert (wide / high).std() > 0.01
    assert (wide <= 1.01).all()
    assert (high <= 1.01).all()
    assert (wide / high).max() <= 4 / 3 + 0.05
    assert (wide / high).min() >= 3 / 4 - 0.05


@pytest.mark.parametrize("changes", [{}, {"flip": True, "shift": 2}], ids=["plain", "moved"])
def test_pictures_that_are_not_square_are_made_so(changes):
    """Training and evaluation see the same height and width, whatever the pictures have."""
    splits = squares()(0)
    tall = np.repeat(splits.train.inputs, 2, axis=1)
    split = replace(splits.train, inputs=tall)
    feed = feed_of(split, splits, **changes)
    chosen = torch.arange(4)

    assert feed.batch(chosen)[0].shape == (4, 3, SIDE, SIDE)
    assert feed.batch(chosen, torch.Generator())[0].shape == (4, 3, SIDE, SIDE)


@pytest.mark.parametrize(
    ("changes", "ways"),
    [
        ({"mixup": 1.0}, {"everywhere"}),
        ({"cutmix": 1.0}, {"in part"}),
        ({"mixup": 1.0, "cutmix": 1.0}, {"everywhere", "in part"}),
    ],
    ids=["mixup", "cutmix", "both"],
)
def test_mixed_pictures_have_mixed_labels(changes, ways):
    """Two pictures make one, in one way a batch, whose label is so much of either class."""
    splits, chosen = squares(classes=8)(0), torch.arange(16)
    feed = feed_of(splits.train, splits, **changes)
    plain, labels = feed.batch(chosen)
    generator = torch.Generator().manual_seed(0)
    found = set()
    for _ in range(12):
        images, shares = feed.batch(chosen, generator)
        two = (shares > 0).sum(1) == 2
        changed = ((images - plain).abs().amax(1) > 0.01).flatten(1).float().mean(1)
        found |= {"everywhere" if share > 0.99 else "in part" for share in changed[two]}

        torch.testing.assert_close(shares.sum(1), torch.ones(16))
        assert ((shares > 0).sum(1) <= 2).all()
        assert (shares[~two].argmax(1) == labels[~two]).all()
    assert found == ways


def test_mixing_draws_from_the_feed_s_own_generator():
    """What others draw meanwhile, as another seed's run, neither changes it nor is changed."""
    splits, chosen = squares(classes=8)(0), torch.arange(16)
    feed = feed_of(splits.train, splits, mixup=1.0, cutmix=1.0)

    def mixed(others: int) -> tuple[Tensor, Tensor]:
        torch.manual_seed(others)
        expected = torch.random.get_rng_state()
        batch = feed.batch(chosen, torch.Generator().manual_seed(5))
        assert torch.equal(torch.random.get_rng_state(), expected)
        return batch

    for first, second in zip(mixed(1), mixed(2), strict=True):
        assert torch.equal(first, second)
