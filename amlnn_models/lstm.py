"""Long short-term memory (Hochreiter & Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735)."""

from torch import nn

from amlnn_models.recurrent import UNITS, Forecaster, series_cases
from pytest_amlnn.case import Recipe


def lstm(outputs: int) -> nn.Module:
    """Build one layer of LSTM cells."""
    return Forecaster(nn.LSTM(1, UNITS, batch_first=True), outputs)


QUICK = Recipe(epochs=15, learning_rate=0.01, optimizer="adam", clip_norm=1.0, threads=1)
SEED = Recipe(epochs=10, learning_rate=0.005, optimizer="adam", clip_norm=1.0, threads=1)
FULL = Recipe(
    epochs=60, learning_rate=0.005, optimizer="adam", clip_norm=1.0, threads=1, patience=8
)

CASES = series_cases(
    "lstm",
    lstm,
    {"quick": QUICK, "seed": SEED, "full": FULL},
    original={1000: 0.0084, 3000: 0.0016},
)
