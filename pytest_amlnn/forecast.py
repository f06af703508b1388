"""What windows of a series mean to training: batches, loss, scores."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pytest_amlnn.case import Recipe
from pytest_amlnn.data import Series, Split, Weights
from pytest_amlnn.feeding import Batch, Feed
from pytest_amlnn.statistics import IMPLAUSIBLE, chance_of_so_low

Examples = dict[str, np.ndarray]


def outputs(splits: Series) -> int:
    """Return the number of outputs that a net needs: the next value."""
    return 1


def start(splits: Series, weights: Weights) -> dict[str, object]:
    """Return what a net's builder needs besides to start from trained weights."""
    return {"weights": weights}


def facts(splits: Series) -> dict[str, object]:
    """Return what each run's record says of the series."""
    return dict(splits.facts)


def feed(split: Split, splits: Series, recipe: Recipe, device: torch.device) -> Feed:
    """Return what gives windows (n, window, 1) and next values (n, 1), normalised.

    A split is small enough to be normalised, and kept on the device, once and for all.
    """
    windows = split.inputs[split.rows]
    center = centers(windows, splits, recipe)
    inputs = ((windows - center) / splits.scale).astype(np.float32)
    targets = ((split.targets[:, None] - center) / splits.scale).astype(np.float32)
    whole = [torch.from_numpy(array).to(device) for array in (inputs[..., None], targets)]

    def batch(chosen: Tensor, generator: torch.Generator | None = None) -> Batch:
        there = chosen.to(device)
        return whole[0][there], whole[1][there]

    return Feed(count=len(split), batch=batch)


def centers(windows: np.ndarray, splits: Series, recipe: Recipe) -> np.ndarray:
    """Return what each window (n, window) is centred by: its own mean, or that of train."""
    if recipe.normalise == "window":
        return np.asarray(windows.mean(1, keepdims=True))
    return np.full((len(windows), 1), splits.center)


def loss(forecasts: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the mean squared error, in units of the training points' variance."""
    return functional.mse_loss(forecasts.float(), targets)


def hits(forecasts: Tensor, targets: Tensor) -> Tensor | None:
    """Return None: a forecast is not right or wrong."""
    return None


def score(
    forecasts: Tensor, splits: Series, recipe: Recipe
) -> tuple[dict[str, float], Examples]:
    """Return the test metrics in original units, and each test point's forecasts."""
    test = splits.test
    center = centers(test.inputs[test.rows], splits, recipe)[:, 0]
    forecast = forecasts.double().cpu().numpy()[:, 0] * splits.scale + center
    truth = np.asarray(test.targets, dtype=np.float64)
    errors = {name: truth - other for name, other in splits.forecasts.items()}
    own = truth - forecast
    mse = float(np.mean(own**2))
    metrics = {f"{name}_mse": float(np.mean(error**2)) for name, error in errors.items()}
    metrics |= {"test_mse": mse, "test_mae": float(np.mean(np.abs(own)))}
    metrics["test_mase"] = metrics["test_mae"] / splits.naive_error
    if metrics["oracle_mse"] > 0:  # without noise there is no floor to be a share of
        metrics["efficiency"] = metrics["oracle_mse"] / mse
    return metrics, {
        "forecast": forecast,
        "truth": truth,
        "noise_scale": splits.noise_scale,
        **splits.forecasts,
    }


def implausible(examples: Examples, splits: Series) -> str | None:
    """Say why no honest run gives this forecast: it beats the best that can be known."""
    own = (examples["forecast"] - examples["truth"]) ** 2
    floor = (examples["oracle"] - examples["truth"]) ** 2
    if chance_of_so_low(own - floor) >= IMPLAUSIBLE:
        return None
    return (
        f"test MSE {own.mean():.6g} lies significantly below the oracle's {floor.mean():.6g}:"
        " the forecast knows its target; look for a leak in the windows"
    )


def network(net: nn.Module, device: torch.device) -> nn.Module:
    """Put a net on the device."""
    return net.to(device)
