"""Gated recurrent units (Cho et al. 2014, arXiv:1406.1078), reset gate after the product."""

from dataclasses import replace
from typing import Any

from torch import nn

from amlnn_models.cells import GRU
from amlnn_models.forecasting import LAB, series_cases
from amlnn_models.recurrent import UNITS, Forecaster


def gru(outputs: int, *, units: int = UNITS, **options: Any) -> nn.Module:
    """Build one layer of GRU cells."""
    return Forecaster(GRU(1, units, batch_first=True), outputs, **options)


CASES = series_cases(
    "gru",
    gru,
    flops_per_point=15_300,
    lab=replace(LAB, learning_rate=0.003),
    original={1000: 0.0006, 3000: 0.0002},
)
