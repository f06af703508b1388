"""DLinear: linear maps of the moving average and of what is left (Zeng et al. 2023,
arXiv:2205.13504)."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn
from torch.nn import functional

from amlnn_models.forecasting import LAB, QUICK, SEED, series_cases

AVERAGED = 25
"""Points of the moving average, as in the paper."""


class DLinear(nn.Module):
    """Split a window into moving average and remainder, add up a linear forecast of each."""

    def __init__(self, outputs: int, window: int) -> None:
        super().__init__()
        self.trend = nn.Linear(window, outputs)
        self.remainder = nn.Linear(window, outputs)

    def forward(self, windows: Tensor) -> Tensor:
        """Map windows (n, window, 1) to forecasts (n, outputs)."""
        points = windows.mT
        padded = functional.pad(points, (AVERAGED // 2, AVERAGED // 2), mode="replicate")
        trend = functional.avg_pool1d(padded, AVERAGED, stride=1)
        forecasts: Tensor = self.trend(trend) + self.remainder(points - trend)
        return forecasts[:, 0]


def dlinear(outputs: int, window: int) -> nn.Module:
    """Build two linear maps, of a window's moving average and of the remainder."""
    return DLinear(outputs, window)


CASES = series_cases(
    "dlinear",
    dlinear,
    recurrent=False,
    flops_per_point=4,
    quick=replace(QUICK, optimizer="adamw", weight_decay=1.0, learning_rate=0.02),
    seed=replace(SEED, optimizer="adamw", weight_decay=3.0, learning_rate=0.01),
    lab=replace(LAB, optimizer="adamw", weight_decay=3.0, learning_rate=0.003),
    # so much decay costs a sixth or more on `ar` and `regime` (docs/recipes.md#series)
    full=replace(LAB, optimizer="adamw", weight_decay=0.3, learning_rate=0.003),
)
