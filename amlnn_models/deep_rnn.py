"""Deep recurrent net: two layers of simple cells (Elman 1990, Cognitive Science 14)."""

from torch import nn

from amlnn_models.recurrent import UNITS, Forecaster, series_cases
from pytest_amlnn.case import Recipe


def deep_rnn(outputs: int) -> nn.Module:
    """Build two layers of simple recurrent cells."""
    return Forecaster(nn.RNN(1, UNITS, num_layers=2, batch_first=True), outputs)


QUICK = Recipe(epochs=15, learning_rate=0.01, optimizer="adam", clip_norm=1.0, threads=1)
SEED = Recipe(epochs=10, learning_rate=0.005, optimizer="adam", clip_norm=1.0, threads=1)
FULL = Recipe(
    epochs=60, learning_rate=0.005, optimizer="adam", clip_norm=1.0, threads=1, patience=8
)

CASES = series_cases(
    "deep_rnn",
    deep_rnn,
    {"quick": QUICK, "seed": SEED, "full": FULL},
    original={1000: 0.0006, 3000: 0.0001},
)
