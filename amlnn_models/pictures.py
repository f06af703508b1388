"""The picture cases that every convolutional family has, profile by profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from torch import nn

from pytest_amlnn.case import Case, Recipe

Builder = Callable[..., nn.Module]

GENTLE: dict[str, Any] = {"learning_rate": 0.01, "weight_decay": 5e-5}
"""What SGD takes to fine-tune ImageNet weights, by common practice."""

SETS: tuple[tuple[str, str, tuple[int, ...], int, int, int, bool | None], ...] = (
    ("quick", "shapes", (200, 600), 10, 10, 1, False),
    ("quick", "tiny-imagenet", (200, 600), 10, 10, 1, True),
    ("seed", "tiny-imagenet", (10_000,), 200, 10, 3, None),
    ("full", "tiny-imagenet", (10_000, 90_000), 200, 50, 3, None),
)
"""Profile, dataset, sizes, classes, validation pictures a class, seeds, and whether
--amlnn-data must name an archive (True), must not (False), or does not matter (None)."""


def picture_cases(
    model: str,
    build: Builder,
    recipes: Mapping[str, Recipe],
    *,
    flops_per_pixel: float,
    tuned: Mapping[str, Recipe] = MappingProxyType({}),
    original: Mapping[str, float] | None = None,
) -> list[Case]:
    """Return a model's cases; `build` takes the number of outputs and the resolution.

    `recipes` holds one for each profile, `tuned` those for nets that start from ImageNet
    weights, `flops_per_pixel` roughly the operations of a forward pass by pixel, `original`
    what the original report gives for the model on 10,000 pictures.
    """
    return [
        Case(
            model=model,
            build=partial(build, resolution=recipe.resolution),
            recipe=recipe,
            init=init,
            task="classification",
            family="cnn",
            dataset=dataset,
            size=size,
            label=f"{model}-{init}-{'shapes-' if dataset == 'shapes' else ''}{short(size)}",
            data={"size": size, "classes": classes, "validation": validation},
            profile=profile,
            repeats=repeats,
            with_archive=archive,
            flops=flops_per_pixel * recipe.resolution**2,
            reference=original or {} if size == 10_000 else {},
        )
        for profile, dataset, sizes, classes, validation, repeats, archive in SETS
        for init, of_profile in (("random", recipes), ("imagenet", tuned))
        for recipe in ([of_profile[profile]] if profile in of_profile else [])
        for size in sizes
    ]


def short(size: int) -> str:
    """Return a number of pictures as case ids show it: 500, 10k."""
    return f"{size // 1000}k" if size >= 1000 and size % 1000 == 0 else str(size)
