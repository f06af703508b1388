"""Print how long a training step takes, with what this project computes by itself and without.

Both ways take turns step by step; medians of milliseconds, and their ratio.

    python tests/benchmark_steps.py
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
from tabulate import tabulate
from torch import Tensor, nn

from amlnn_models.cells import GRU, RNN
from amlnn_models.depthwise import quick_on_small_maps
from amlnn_models.recurrent import Forecaster

BATCH = 32
UNITS = 50
WINDOW = 50

Build = Callable[[], nn.Module]


def loss_of(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of a classifier, or of a forecaster where targets have two dimensions."""
    loss = nn.functional.mse_loss if targets.ndim > 1 else nn.functional.cross_entropy
    return loss(outputs, targets)


def timed(nets: list[nn.Module], inputs: Tensor, targets: Tensor, steps: int) -> list[float]:
    """Return the median milliseconds of a step of each net, taken in turns."""
    optimizers = [torch.optim.Adam(net.parameters(), fused=True) for net in nets]
    seconds: list[list[float]] = [[] for _ in nets]
    for _ in range(steps):
        for net, optimizer, spent in zip(nets, optimizers, seconds, strict=True):
            start = perf_counter()
            loss = loss_of(net(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            spent.append(perf_counter() - start)
    return [1000 * median(spent[steps // 5 :]) for spent in seconds]


def cells() -> list[list[object]]:
    """Time the recurrent nets on one thread, with torch's cells and with ours."""
    torch.set_num_threads(1)
    inputs, targets = torch.randn(BATCH, WINDOW, 1), torch.randn(BATCH, 1)
    kinds: dict[str, tuple[Build, Build]] = {
        "gru": (
            lambda: nn.GRU(1, UNITS, batch_first=True),
            lambda: GRU(1, UNITS, batch_first=True),
        ),
        "birnn": (
            lambda: nn.RNN(1, UNITS, batch_first=True, bidirectional=True),
            lambda: RNN(1, UNITS, batch_first=True, bidirectional=True),
        ),
        "deep_rnn": (
            lambda: nn.RNN(1, UNITS, num_layers=2, batch_first=True),
            lambda: RNN(1, UNITS, num_layers=2, batch_first=True),
        ),
    }
    rows: list[list[object]] = []
    for name, builds in kinds.items():
        nets: list[nn.Module] = [Forecaster(build(), 1) for build in builds]  # type: ignore[arg-type]
        rows.append([name, "1 thread, window 50", *timed(nets, inputs, targets, 50)])
    return rows


def depthwise() -> list[list[object]]:
    """Time EfficientNet-Lite on two threads, with torch's convolutions and with ours."""
    import timm

    torch.set_num_threads(2)
    rows: list[list[object]] = []
    for name in ("efficientnet_lite0", "efficientnet_lite2"):
        for side in (48, 64, 128):
            theirs = timm.create_model(f"tf_{name}", num_classes=10)
            nets = [theirs, quick_on_small_maps(copy.deepcopy(theirs))]
            nets = [net.to(memory_format=torch.channels_last) for net in nets]
            pictures = torch.randn(BATCH, 3, side, side)
            pictures = pictures.to(memory_format=torch.channels_last)
            labels = torch.randint(10, (BATCH,))
            rows.append([name, f"2 threads, {side} px", *timed(nets, pictures, labels, 5)])
    return rows


def main() -> None:
    """Print the table."""
    rows = [[*row, row[2] / row[3]] for row in [*cells(), *depthwise()]]  # type: ignore[operator]
    heads = ["net", "batch 32", "torch ms", "ours ms", "ratio"]
    print(tabulate(rows, headers=heads, tablefmt="github", floatfmt=".2f"))


if __name__ == "__main__":
    main()
