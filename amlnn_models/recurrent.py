"""The forecaster that every recurrent family shares, and its cases, profile by profile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from amlnn_datasets import series
from amlnn_models.cells import GRU, LSTM, RNN, final_states
from pytest_amlnn import FORECAST, Case, Recipe, Training

UNITS = 50
"""Hidden units of each cell, as in the original report."""
TEST_POINTS = 1000
DEFAULT_PRESET = "trend_seasonal"
"""The series whose case ids do not name it."""
WINDOWS = {"quick": 32, "seed": 50, "full": 50}
SIZES = {
    "quick": (1000, 3000),
    "seed": (1000, 3000),
    "full": (1000, 3000, 9000, 27_000),
}

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
FULL = replace(SEED, epochs=60, patience=8, averaging=0.99)
"""For each cell with a learning rate that suits it."""


class Forecaster(nn.Module):
    """Read a window with recurrent cells, forecast the next value from their last state."""

    def __init__(self, cells: RNN | GRU | LSTM, outputs: int) -> None:
        super().__init__()
        self.cells = cells
        directions = 2 if cells.bidirectional else 1
        self.head = nn.Linear(cells.hidden_size * directions, outputs)
        for name, weight in cells.named_parameters():
            if name.startswith("weight_hh"):
                remember(weight, cells.hidden_size)

    def forward(self, windows: Tensor) -> Tensor:
        """Map windows (n, window, 1) to forecasts (n, outputs)."""
        (forecasts,) = self.forward_many([self], [windows])
        return forecasts

    @staticmethod
    def forward_many(nets: Sequence[Forecaster], windows: Sequence[Tensor]) -> list[Tensor]:
        """Return each net's forecasts for its windows."""
        of_all = final_states([net.cells for net in nets], windows)
        return [net.forecasts(states) for net, states in zip(nets, of_all, strict=True)]

    def forecasts(self, states: Tensor) -> Tensor:
        """Map final states (layers and ways, n, hidden) to forecasts (n, outputs)."""
        # the last layer's final state, of both directions where there are two: the one
        # that reads backwards ends at the window's first point
        last = states[-2:] if self.cells.bidirectional else states[-1:]
        forecasts: Tensor = self.head(torch.cat(tuple(last), dim=1))
        return forecasts


def remember(weight: Tensor, units: int) -> None:
    """Draw the recurrent weights (gates * units, units) of a layer so that its state lasts.

    Each gate's are orthogonal, as in Keras, and keep a state's length from step to step (Saxe
    et al. 2014, arXiv:1312.6120); torch's, uniform up to 1 / sqrt(units), nearly halve it.
    """
    for gate in torch.split(weight.data, units):
        nn.init.orthogonal_(gate)


def series_cases(
    model: str,
    build: Callable[[int], nn.Module],
    *,
    flops_per_point: float,
    full: Recipe,
    original: Mapping[int, float],
) -> list[Case]:
    """Return a model's cases.

    `flops_per_point` are roughly the operations of a forward pass by point of a window,
    `full` is the recipe of that profile, `original` holds the original report's loss by points.

    That loss is in min-max-scaled units of another series: it stands beside ours for
    the record and cannot be compared.
    """

    recipes = {"quick": QUICK, "seed": SEED, "full": full}

    def case(
        profile: str, preset: str, points: int, recipe: Recipe, *, variant: str = ""
    ) -> Case:
        data = series.source(
            preset=preset,
            points=points,
            longest=max(SIZES[profile]),
            test=TEST_POINTS,
            window=WINDOWS[profile],
        )
        named = [] if preset == DEFAULT_PRESET else [preset]
        loss = {"scaled_loss": original[points]} if points in original else {}
        return Case(
            training=Training(
                model=model, build=build, recipe=recipe, task=FORECAST, data=data
            ),
            family="rnn",
            size=points,
            label="-".join([model, *named, str(points), *([variant] if variant else [])]),
            profile=profile,
            variant=variant,
            flops=flops_per_point * WINDOWS[profile],
            seeds_at_once=True,
            cuda_graphs=True,
            reference=loss if preset == DEFAULT_PRESET else {},
        )

    def cases() -> Iterator[Case]:
        for profile, sizes in SIZES.items():
            for points in sizes:
                yield case(profile, DEFAULT_PRESET, points, recipes[profile])
        for points in SIZES["full"]:
            # as many steps at every size as an epoch budget takes on 3,000 points
            epochs = max(1, round(full.epochs * 3000 / points))
            same_steps = replace(full, epochs=epochs)
            yield case("full", DEFAULT_PRESET, points, same_steps, variant="steps")
            for preset in sorted(set(series.PRESETS) - {DEFAULT_PRESET}):
                yield case("full", preset, points, full)

    return list(cases())
