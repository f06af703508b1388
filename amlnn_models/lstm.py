"""Long short-term memory (Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735)."""

from dataclasses import replace
from typing import Any

from torch import nn

from amlnn_models.cells import LSTM
from amlnn_models.forecasting import LAB, series_cases
from amlnn_models.recurrent import UNITS, Forecaster


def lstm(outputs: int, *, units: int = UNITS, **options: Any) -> nn.Module:
    """Build one layer of LSTM cells."""
    return Forecaster(LSTM(1, units, batch_first=True), outputs, **options)


CASES = series_cases(
    "lstm",
    lstm,
    flops_per_point=20_400,
    lab=replace(LAB, learning_rate=0.003),
    original={1000: 0.0084, 3000: 0.0016},
)
