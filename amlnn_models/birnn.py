"""Bidirectional simple recurrent net (Schuster & Paliwal 1997, doi:10.1109/78.650093)."""

from torch import nn

from amlnn_models.recurrent import UNITS, Forecaster, series_cases
from pytest_amlnn.case import Recipe


def birnn(outputs: int) -> nn.Module:
    """Build one layer of simple recurrent cells that read both ways."""
    return Forecaster(nn.RNN(1, UNITS, batch_first=True, bidirectional=True), outputs)


QUICK = Recipe(epochs=15, learning_rate=0.01, optimizer="adam", clip_norm=1.0, threads=1)
SEED = Recipe(epochs=10, learning_rate=0.005, optimizer="adam", clip_norm=1.0, threads=1)
FULL = Recipe(
    epochs=60, learning_rate=0.005, optimizer="adam", clip_norm=1.0, threads=1, patience=8
)

CASES = series_cases(
    "birnn",
    birnn,
    {"quick": QUICK, "seed": SEED, "full": FULL},
    original={1000: 0.0009, 3000: 0.0001},
)
