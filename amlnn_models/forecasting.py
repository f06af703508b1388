"""The cases on series that every forecaster has, profile by profile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from torch import nn

from amlnn_datasets import series
from pytest_amlnn import FORECAST, Case, Recipe, Training

TEST_POINTS = 1000
DEFAULT_PRESET = "trend_seasonal"
"""The series whose case ids do not name it."""
WINDOWS = {"quick": 32, "seed": 50, "lab": 50, "full": 50}
SIZES = {
    "quick": (1000, 3000),
    "seed": (1000, 3000),
    "lab": (1000, 3000, 9000),
    "full": (1000, 3000, 9000, 27_000),
}
LONGEST = {"quick": 3000, "seed": 3000, "lab": 27_000, "full": 27_000}
"""Points before the test block, which is the same for all sizes: `lab` forecasts the series of
`full`."""

QUICK = Recipe(
    epochs=8,
    learning_rate=0.01,
    optimizer="adam",
    batch_size=64,
    clip_norm=1.0,
    threads=1,
    # bfloat16 has three digits: forecasts are asked for more
    precision_cuda="float32",
)
SEED = replace(QUICK, epochs=10, learning_rate=0.005, batch_size=32)
LAB = replace(SEED, epochs=60, patience=8, averaging=0.99)
"""For each net with a learning rate that suits it."""


def series_cases(
    model: str,
    build: Callable[..., nn.Module],
    *,
    flops_per_point: float,
    lab: Recipe,
    quick: Recipe = QUICK,
    seed: Recipe = SEED,
    full: Recipe | None = None,
    recurrent: bool = True,
    original: Mapping[int, float] | None = None,
) -> list[Case]:
    """Return a model's cases.

    `flops_per_point` are roughly the operations of a forward pass by point of a window, `lab`
    is the recipe of that profile and, where `full` is not given, of that one, `original` holds
    the original report's loss by points. A `recurrent` net reads windows of any length; another
    one is built for its own, by `build(outputs, window=50)`.

    That loss is in min-max-scaled units of another series: it stands beside ours for
    the record and cannot be compared.
    """

    recipes = {"quick": quick, "seed": seed, "lab": lab, "full": full or lab}

    def case(
        profile: str, preset: str, points: int, recipe: Recipe, *, variant: str = ""
    ) -> Case:
        data = series.source(
            preset=preset,
            points=points,
            longest=LONGEST[profile],
            test=TEST_POINTS,
            window=WINDOWS[profile],
        )
        named = [] if preset == DEFAULT_PRESET else [preset]
        builder = build if recurrent else partial(build, window=WINDOWS[profile])
        loss = {"scaled_loss": original[points]} if original and points in original else {}
        return Case(
            training=Training(
                model=model, build=builder, recipe=recipe, task=FORECAST, data=data
            ),
            family="rnn",
            size=points,
            label="-".join([model, *named, str(points), *([variant] if variant else [])]),
            profile=profile,
            variant=variant,
            flops=flops_per_point * WINDOWS[profile],
            seeds_at_once=recurrent,
            cuda_graphs=recurrent,
            reference=loss if preset == DEFAULT_PRESET else {},
        )

    def cases() -> Iterator[Case]:
        for profile, sizes in SIZES.items():
            for points in sizes:
                yield case(profile, DEFAULT_PRESET, points, recipes[profile])
        for points in SIZES["full"]:
            # as many steps at every size as an epoch budget takes on 3,000 points
            epochs = max(1, round(recipes["full"].epochs * 3000 / points))
            same_steps = replace(recipes["full"], epochs=epochs)
            yield case("full", DEFAULT_PRESET, points, same_steps, variant="steps")
            for preset in sorted(set(series.PRESETS) - {DEFAULT_PRESET}):
                yield case("full", preset, points, recipes["full"])

    return list(cases())
