"""Temporal convolutional network (Bai et al. 2018, arXiv:1803.01271), without weight norm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from amlnn_models.forecasting import LAB, QUICK, SEED, series_cases

CHANNELS, KERNEL = 20, 5
"""With them it has about as many weights as an LSTM with 50 units."""


class Block(nn.Module):
    """Two causal convolutions, and a shortcut around both."""

    def __init__(self, inputs: int, dilation: int) -> None:
        super().__init__()
        self.reach = (KERNEL - 1) * dilation
        self.first = nn.Conv1d(inputs, CHANNELS, KERNEL, dilation=dilation)
        self.second = nn.Conv1d(CHANNELS, CHANNELS, KERNEL, dilation=dilation)
        self.shortcut = nn.Identity() if inputs == CHANNELS else nn.Conv1d(inputs, CHANNELS, 1)

    def forward(self, points: Tensor) -> Tensor:
        """Map points (n, inputs, window) to (n, CHANNELS, window)."""
        inner = points
        for layer in (self.first, self.second):
            # on the left alone, so that no point sees a later one
            inner = layer(functional.pad(inner, (self.reach, 0))).relu()
        outer: Tensor = inner + self.shortcut(points)
        return outer.relu()


class Convolutions(nn.Module):
    """Read a window with causal convolutions, forecast the next value from its last point."""

    def __init__(self, outputs: int, window: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(Block(CHANNELS if level else 1, 2**level) for level in range(levels(window)))
        )
        self.head = nn.Linear(CHANNELS, outputs)

    def forward(self, windows: Tensor) -> Tensor:
        """Map windows (n, window, 1) to forecasts (n, outputs)."""
        forecasts: Tensor = self.head(self.blocks(windows.mT)[..., -1])
        return forecasts


def levels(window: int) -> int:
    """Count the blocks, each dilated twice as far as the one before, that see a window."""
    count = 1
    while 1 + 2 * (KERNEL - 1) * (2**count - 1) < window:
        count += 1
    return count


def tcn(outputs: int, window: int) -> nn.Module:
    """Build residual blocks of dilated causal convolutions."""
    return Convolutions(outputs, window)


DECAYED: dict[str, Any] = {"optimizer": "adamw", "weight_decay": 1.0}
"""Without so much decay it overfits early (docs/recipes.md#series)."""

CASES = series_cases(
    "tcn",
    tcn,
    recurrent=False,
    flops_per_point=20_200,
    quick=replace(QUICK, **DECAYED),
    seed=replace(SEED, **DECAYED),
    lab=replace(LAB, learning_rate=0.003, **DECAYED),
)
