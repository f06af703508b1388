"""The picture cases that every convolutional family has, profile by profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from torch import nn

from amlnn_datasets import shapes, tiny_imagenet
from pytest_amlnn import CLASSIFICATION, Case, Recipe, Source, Training
from pytest_amlnn.recipe import Transforms, with_changes

Builder = Callable[..., nn.Module]

GENTLE: dict[str, Any] = {"learning_rate": 0.01, "weight_decay": 5e-5}
"""What SGD takes to fine-tune ImageNet weights, by common practice."""

LARGEST = 90_000
"""Pictures that the official archive has for training besides those for validation."""

FRESH = Recipe(
    epochs=100,
    patience=10,
    batch_size=128,
    learning_rate=0.1,
    weight_decay=5e-4,
    clip_norm=1.0,
    label_smoothing=0.1,
    # the smallest that every net takes: Inception's stems are not padded
    transforms=Transforms(resolution=75, flip=True, shift=6, crop=0.4),
    precision="bfloat16",
)
PRETRAINED = Recipe(
    epochs=10,
    patience=5,
    batch_size=64,
    learning_rate=0.0004,
    optimizer="adamw",
    weight_decay=0.05,
    layer_decay=0.9,
    averaging=0.99,
    clip_norm=1.0,
    label_smoothing=0.1,
    freeze_norms=True,
    transforms=Transforms(resolution=160, flip=True, shift=6, crop=0.5),
    precision="bfloat16",
)


def recipe_from_random(*, learning_rate: float, standardise: bool = False) -> Recipe:
    """Return the recipe of `full` for random weights: what a net may have of its own is given.

    All else is the same for every net, so that architectures are compared, not recipes
    (docs/recipes.md#recipes-of-the-full-profile has the search for each learning rate).
    """
    return with_changes(FRESH, learning_rate=learning_rate, standardise=standardise)


def recipe_from_imagenet(*, learning_rate: float, **normalisation: Any) -> Recipe:
    """Return the recipe of `full` for ImageNet weights; pictures are normalised as theirs."""
    return with_changes(PRETRAINED, learning_rate=learning_rate, **normalisation)


@dataclass(frozen=True, kw_only=True)
class PictureSet:
    """Which pictures the cases of a profile are trained on."""

    profile: str
    source: Callable[..., Source]
    """Of a size, a number of classes, and validation pictures a class."""
    sizes: tuple[int, ...]
    classes: int
    validation: int
    """Pictures of each class."""
    seeds: int
    only_with: str = ""
    """As in `Case`."""
    only_without: str = ""

    def data(self, size: int) -> Source:
        """Return the source of so many training pictures."""
        return self.source(size=size, classes=self.classes, validation=self.validation)


SETS = (
    PictureSet(
        profile="quick",
        source=shapes.source,
        sizes=(200, 600),
        classes=10,
        validation=10,
        seeds=1,
        only_without=tiny_imagenet.NAME,
    ),
    PictureSet(
        profile="quick",
        source=tiny_imagenet.source,
        sizes=(200, 600),
        classes=10,
        validation=10,
        seeds=1,
        only_with=tiny_imagenet.NAME,
    ),
    PictureSet(
        profile="seed",
        source=tiny_imagenet.source,
        sizes=(10_000,),
        classes=200,
        validation=10,
        seeds=3,
    ),
    PictureSet(
        profile="lab",
        source=tiny_imagenet.source,
        sizes=(10_000,),
        classes=200,
        validation=50,
        seeds=3,
    ),
    PictureSet(
        profile="full",
        source=tiny_imagenet.source,
        sizes=(10_000, 30_000, 90_000, tiny_imagenet.ALL),
        classes=200,
        validation=50,
        seeds=3,
    ),
)


def picture_cases(
    model: str,
    build: Builder,
    untrained: Mapping[str, Recipe],
    *,
    flops_per_pixel: float,
    tuned: Mapping[str, Recipe] = MappingProxyType({}),
    original: Mapping[str, float] = MappingProxyType({}),
    at_size: Mapping[int, Mapping[str, Any]] = MappingProxyType({}),
) -> list[Case]:
    """Return a model's cases; `build` takes the number of outputs and the resolution.

    `untrained` holds a recipe for each profile, `tuned` those for nets that start from ImageNet
    weights, `flops_per_pixel` roughly the operations of a forward pass by pixel, `original`
    what the original report gives for the model on 10,000 pictures, `at_size` what a recipe has
    otherwise for so many pictures: few make few steps.
    """

    def case(pictures: PictureSet, start: str, recipe: Recipe, size: int) -> Case:
        data, whole = pictures.data(size), size == tiny_imagenet.ALL
        resolution = recipe.transforms.resolution
        return Case(
            training=Training(
                model=model,
                build=partial(build, resolution=resolution),
                recipe=with_changes(recipe, **at_size.get(size, {})),
                task=CLASSIFICATION,
                data=data,
                start=start,
            ),
            family="cnn",
            size=LARGEST if whole else size,
            variant="all" if whole else "",
            label=f"{model}-{start}-{id_prefix(data.name)}{size_text(size)}",
            profile=pictures.profile,
            repeats=pictures.seeds,
            only_with=pictures.only_with,
            only_without=pictures.only_without,
            flops=flops_per_pixel * resolution**2,
            reference=dict(original) if size == 10_000 else {},
        )

    return [
        case(pictures, start, recipes[pictures.profile], size)
        for pictures in SETS
        for start, recipes in (("random", untrained), ("imagenet", tuned))
        if pictures.profile in recipes
        for size in pictures.sizes
    ]


def id_prefix(dataset: str) -> str:
    """Return what case ids say of a dataset: nothing of Tiny ImageNet."""
    return "" if dataset == tiny_imagenet.NAME else f"{dataset}-"


def size_text(size: int) -> str:
    """Return a number of pictures as case ids show it: 500, 10k, all."""
    if size == tiny_imagenet.ALL:
        return "all"
    return f"{size // 1000}k" if size >= 1000 and size % 1000 == 0 else str(size)
