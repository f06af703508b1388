"""Bidirectional simple recurrent net (Schuster & Paliwal 1997, doi:10.1109/78.650093)."""

from dataclasses import replace
from typing import Any

from torch import nn

from amlnn_models.cells import RNN
from amlnn_models.forecasting import LAB, series_cases
from amlnn_models.recurrent import UNITS, Forecaster


def birnn(outputs: int, *, units: int = UNITS, **options: Any) -> nn.Module:
    """Build one layer of simple recurrent cells that read both ways."""
    return Forecaster(RNN(1, units, batch_first=True, bidirectional=True), outputs, **options)


CASES = series_cases(
    "birnn",
    birnn,
    flops_per_point=10_200,
    lab=replace(LAB, learning_rate=0.002),
    original={1000: 0.0009, 3000: 0.0001},
)
