"""Passes of small nets captured as CUDA graphs: launched at once, not kernel by kernel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Forward = Callable[[Tensor], Tensor]
"""Maps inputs to outputs, as a net does."""


class Captured(nn.Module):
    """A net behind a `forward` of its own, so that capturing leaves the net's as it is."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the net."""
        outputs: Tensor = self.net(inputs)
        return outputs


def capture_training_pass(net: nn.Module, inputs: Tensor) -> Forward:
    """Return what computes a net in training, forward and back, each as one CUDA graph.

    A graph takes inputs of the one shape it was captured with, that of `inputs`; others, such
    as the last batch of an epoch, go through the net itself. A recurrent step has a kernel or
    more for each point of its window, and launching them takes longer than they do.
    See https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.
    """
    whole = Captured(net).train()
    torch.cuda.make_graphed_callables(whole, (inputs.clone(),))
    return lambda given: whole(given) if given.shape == inputs.shape else net(given)
