"""Gated recurrent units (Cho et al. 2014, arXiv:1406.1078), reset gate after the product."""

from torch import nn

from amlnn_models.recurrent import UNITS, Forecaster, series_cases
from pytest_amlnn.case import Recipe


def gru(outputs: int) -> nn.Module:
    """Build one layer of GRU cells."""
    return Forecaster(nn.GRU(1, UNITS, batch_first=True), outputs)


QUICK = Recipe(epochs=15, learning_rate=0.01, optimizer="adam", clip_norm=1.0, threads=1)
SEED = Recipe(epochs=10, learning_rate=0.005, optimizer="adam", clip_norm=1.0, threads=1)
FULL = Recipe(
    epochs=60, learning_rate=0.005, optimizer="adam", clip_norm=1.0, threads=1, patience=8
)

CASES = series_cases(
    "gru",
    gru,
    {"quick": QUICK, "seed": SEED, "full": FULL},
    original={1000: 0.0006, 3000: 0.0002},
)
