"""Passes of small nets as CUDA graphs."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from small_cases import CPU, GPU, line_case, needs_cuda, trained
from torch import Tensor, nn

from amlnn_datasets import series
from amlnn_models import cells
from amlnn_models.recurrent import Forecaster
from pytest_amlnn import Series
from pytest_amlnn.graphs import capture_training_pass

KINDS = {
    "birnn": partial(cells.RNN, bidirectional=True),
    "deep_rnn": partial(cells.RNN, num_layers=3),
    "gru": cells.GRU,
    "lstm": cells.LSTM,
}


def forecaster(outputs: int, *, kind: str) -> nn.Module:
    """Build a recurrent net as small as can be."""
    return Forecaster(KINDS[kind](1, 8, batch_first=True), outputs)


def data(seed: int) -> Series:
    """Return a short series."""
    return series.splits(preset="ar", points=150, longest=150, test=60, window=8, seed=seed)


def test_only_full_batches_go_through_the_graph(monkeypatch):
    """Inputs of another shape than the captured go through the net, which stays as it was."""
    caught = []

    def capture(whole: nn.Module, samples: tuple[Tensor, ...]) -> None:
        plain = whole.forward

        def replayed(inputs: Tensor) -> Tensor:
            caught.append([*inputs.shape])
            return plain(inputs)

        whole.forward = replayed

    monkeypatch.setattr("torch.cuda.make_graphed_callables", capture)
    net, windows = forecaster(1, kind="gru"), torch.randn(5, 7, 1)
    forward = capture_training_pass(net, windows[:4])

    for inputs in (windows[:4], windows[4:], windows[1:5]):
        torch.testing.assert_close(forward(inputs), net(inputs), rtol=0, atol=0)
    assert caught == [[4, 7, 1]] * 2


@needs_cuda
@pytest.mark.parametrize("kind", KINDS)
def test_graph_gives_what_the_net_gives(kind):
    """Outputs and gradients of a captured net are the net's, batch after batch."""
    torch.manual_seed(0)
    net, windows = forecaster(1, kind=kind).cuda(), torch.randn(3, 16, 7, 1, device="cuda")
    forward = capture_training_pass(net, windows[0])
    for batch in windows:
        found = []
        for compute in (net, forward):
            outputs = compute(batch)
            gradients = torch.autograd.grad(outputs.square().sum(), [*net.parameters()])
            found.append([outputs.detach().clone(), *(g.clone() for g in gradients)])
        torch.testing.assert_close(*found)


@needs_cuda
@pytest.mark.parametrize("kind", KINDS)
def test_case_learns_on_a_gpu_as_on_the_cpu(kind):
    """Epoch for epoch a captured case has the CPU's losses, but for rounding."""
    case = line_case(
        kind,
        build=partial(forecaster, kind=kind),
        cuda_graphs=True,
        epochs=3,
        optimizer="adam",
        precision_cuda="float32",
    )
    losses = [
        [epoch.validation["loss"] for epoch in trained(case, data, device=device).run.epochs]
        for device in (GPU, CPU)
    ]

    assert losses[0] == pytest.approx(losses[1], rel=0.01)
