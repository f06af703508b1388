"""NLinear: one linear map of the window (Zeng et al. 2023, arXiv:2205.13504)."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from amlnn_models.forecasting import LAB, QUICK, SEED, series_cases


class NLinear(nn.Module):
    """Forecast the difference to the last value, from all differences to it."""

    def __init__(self, outputs: int, window: int) -> None:
        super().__init__()
        self.map = nn.Linear(window, outputs)

    def forward(self, windows: Tensor) -> Tensor:
        """Map windows (n, window, 1) to forecasts (n, outputs)."""
        last = windows[:, -1]
        forecasts: Tensor = self.map(windows[..., 0] - last) + last
        return forecasts


def nlinear(outputs: int, window: int) -> nn.Module:
    """Build a linear map of the differences to a window's last value."""
    return NLinear(outputs, window)


CASES = series_cases(
    "nlinear",
    nlinear,
    recurrent=False,
    flops_per_point=2,
    quick=replace(QUICK, optimizer="adamw", weight_decay=1.0, learning_rate=0.02),
    seed=replace(SEED, optimizer="adamw", weight_decay=3.0, learning_rate=0.01),
    lab=replace(LAB, optimizer="adamw", weight_decay=3.0, learning_rate=0.003),
    # so much decay costs a sixth or more on `ar` and `regime` (docs/recipes.md#series)
    full=replace(LAB, optimizer="adamw", weight_decay=0.3, learning_rate=0.003),
)
