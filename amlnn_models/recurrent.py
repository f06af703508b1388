"""The forecaster that every recurrent family shares."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from amlnn_models.cells import GRU, LSTM, RNN, final_states

UNITS = 50
"""Hidden units of each cell, as in the original report."""


class Forecaster(nn.Module):
    """Read a window with recurrent cells, forecast the next value from their last state.

    `dropout` is the share of that state that is left out of a training step; without
    `orthogonal` the recurrent weights are torch's.
    """

    def __init__(
        self,
        cells: RNN | GRU | LSTM,
        outputs: int,
        *,
        dropout: float = 0.0,
        orthogonal: bool = True,
    ) -> None:
        super().__init__()
        self.cells = cells
        directions = 2 if cells.bidirectional else 1
        self.head = nn.Linear(cells.hidden_size * directions, outputs)
        self.dropout = dropout
        for name, weight in cells.named_parameters():
            if name.startswith("weight_hh") and orthogonal:
                remember(weight, cells.hidden_size)

    def forward(self, windows: Tensor) -> Tensor:
        """Map windows (n, window, 1) to forecasts (n, outputs)."""
        (forecasts,) = self.forward_many([self], [windows])
        return forecasts

    @staticmethod
    def forward_many(nets: Sequence[Forecaster], windows: Sequence[Tensor]) -> list[Tensor]:
        """Return each net's forecasts for its windows."""
        of_all = final_states([net.cells for net in nets], windows)
        return [net.forecasts(states) for net, states in zip(nets, of_all, strict=True)]

    def forecasts(self, states: Tensor) -> Tensor:
        """Map final states (layers and ways, n, hidden) to forecasts (n, outputs)."""
        # the last layer's final state, of both directions where there are two: the one
        # that reads backwards ends at the window's first point
        last = states[-2:] if self.cells.bidirectional else states[-1:]
        state = torch.cat(tuple(last), dim=1)
        forecasts: Tensor = self.head(
            functional.dropout(state, self.dropout, self.training) if self.dropout else state
        )
        return forecasts


def remember(weight: Tensor, units: int) -> None:
    """Draw the recurrent weights (gates * units, units) of a layer so that its state lasts.

    Each gate's are orthogonal, as in Keras, and keep a state's length from step to step (Saxe
    et al. 2014, arXiv:1312.6120); torch's, uniform up to 1 / sqrt(units), nearly halve it.
    """
    for gate in torch.split(weight.data, units):
        nn.init.orthogonal_(gate)
