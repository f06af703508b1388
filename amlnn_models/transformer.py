"""Transformer encoder (Vaswani et al. 2017, arXiv:1706.03762), with its norms before each
part (Xiong et al. 2020, arXiv:2002.04745)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from amlnn_models.forecasting import LAB, series_cases

WIDTH, HEADS, LAYERS = 24, 2, 2
"""With them it has about as many weights as an LSTM with 50 units; more heads take longer."""


class Encoder(nn.Module):
    """Let the points of a window attend to each other, forecast from all of them.

    A head on the last point alone learns slower (docs/recipes.md#series).
    """

    def __init__(self, outputs: int, window: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Linear(1, WIDTH)
        self.positions = nn.Parameter(0.02 * torch.randn(window, WIDTH))
        # nn.TransformerEncoder would copy the first layer's weights into all
        self.layers = nn.Sequential(*(encoder_layer(dropout) for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(window * WIDTH, outputs)

    def forward(self, windows: Tensor) -> Tensor:
        """Map windows (n, window, 1) to forecasts (n, outputs)."""
        points = self.norm(self.layers(self.embedding(windows) + self.positions))
        forecasts: Tensor = self.head(points.flatten(1))
        return forecasts


def encoder_layer(dropout: float) -> nn.Module:
    """Build attention and two dense layers, each behind a norm and beside a shortcut."""
    return nn.TransformerEncoderLayer(
        WIDTH,
        HEADS,
        dim_feedforward=2 * WIDTH,
        dropout=dropout,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )


def transformer(outputs: int, window: int, *, dropout: float = 0.0) -> nn.Module:
    """Build an encoder with learned positions for windows of this length."""
    return Encoder(outputs, window, dropout)


CASES = series_cases(
    "transformer",
    transformer,
    recurrent=False,
    flops_per_point=26_000,
    lab=replace(LAB, learning_rate=0.003, epochs=20),
)
