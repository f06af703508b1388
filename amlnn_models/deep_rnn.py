"""Deep recurrent net: two layers of simple cells (Elman 1990, Cognitive Science 14)."""

from dataclasses import replace
from typing import Any

from torch import nn

from amlnn_models.cells import RNN
from amlnn_models.forecasting import LAB, series_cases
from amlnn_models.recurrent import UNITS, Forecaster


def deep_rnn(outputs: int, *, units: int = UNITS, **options: Any) -> nn.Module:
    """Build two layers of simple recurrent cells."""
    return Forecaster(RNN(1, units, num_layers=2, batch_first=True), outputs, **options)


CASES = series_cases(
    "deep_rnn",
    deep_rnn,
    flops_per_point=15_100,
    # at this rate a longer schedule stops early, before it has come down
    lab=replace(LAB, learning_rate=0.01, epochs=30),
    original={1000: 0.0006, 3000: 0.0001},
)
