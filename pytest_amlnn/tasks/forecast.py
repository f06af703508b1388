"""Forecasts of the next value of a series, from the window before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_amlnn.checks import check_splits
from pytest_amlnn.data import SPLITS, Series, Split
from pytest_amlnn.metrics import Column, Metric, Paired
from pytest_amlnn.statistics import IMPLAUSIBLE, chance_of_so_low
from pytest_amlnn.tasks import Part, Scored, Task
from pytest_amlnn.tasks.windows import (
    beside_of,
    centers,
    check_beside,
    check_normalised,
    check_units,
    check_windows,
    normalised,
    windows_of,
)

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from pytest_amlnn.recipe import Recipe
    from pytest_amlnn.steps import Feed

ORACLE = "oracle"
"""The best forecast that can be made from the generator and the past."""


def mse_metric(
    name: str, head: str = "", *, interval: bool = False, sentence: str = ""
) -> Metric:
    """Return the mean squared error of a forecast as a metric."""
    return Metric(
        name=f"{name}_mse",
        better="lower",
        unit="original, squared",
        positive=True,
        head=head,
        interval=interval,
        sentence=sentence,
    )


TEST_MSE = mse_metric("test", "MSE", interval=True)
TEST_MAE = Metric(name="test_mae", better="lower", unit="original", positive=True)
TEST_MASE = Metric(name="test_mase", better="lower", unit="of seasonal naive", positive=True)
ORACLE_MSE = mse_metric("oracle", "oracle")
LAST_VALUE_MSE = mse_metric("last_value")
SEASONAL_NAIVE_MSE = mse_metric("seasonal_naive", "seasonal naive")
AUTOREGRESSION_MSE = mse_metric("autoregression", "autoregression")
EFFICIENCY = Metric(
    name="efficiency",
    better="higher",
    positive=True,
    head="efficiency",
    format="{:.3f}",
    interval=True,
    essential=True,
    sentence="Efficiency is the oracle's MSE over the model's: on average it is at most 1.",
    matters=0.02,
)
START_LOSS = Metric(name="start_loss", better="lower", positive=True)
AGAINST_AUTOREGRESSION = Paired(
    metric="test_mse",
    other="autoregression_mse",
    by="ratio",
    head="against autoregression",
    format="{:.3f}",
    ranked=True,
    essential=True,
    sentence="Against autoregression stands its MSE over the model's, seed by seed, and which"
    " of them is the better one beyond the interval.",
)


class Forecast(Task):
    """The next value after a window."""

    name = "forecast"
    metrics: tuple[Metric, ...] = (
        TEST_MSE,
        TEST_MAE,
        TEST_MASE,
        ORACLE_MSE,
        LAST_VALUE_MSE,
        SEASONAL_NAIVE_MSE,
        AUTOREGRESSION_MSE,
        EFFICIENCY,
        START_LOSS,
    )
    columns: tuple[Column, ...] = (
        TEST_MSE,
        ORACLE_MSE,
        AUTOREGRESSION_MSE,
        SEASONAL_NAIVE_MSE,
        AGAINST_AUTOREGRESSION,
        EFFICIENCY,
    )

    def check(self, splits: Series, recipe: Recipe) -> None:
        """Refuse what are no windows of floats with one value after each; DataError."""
        check_splits(splits)
        for name in SPLITS:
            check_windows(name, getattr(splits, name))
        check_units(splits)
        for name in SPLITS:
            check_normalised(name, splits, recipe)
        check_beside(splits)

    def outputs(self, splits: Series) -> int:
        """Return one output: the next value."""
        return 1

    def output_shape(self, splits: Series) -> tuple[int, ...]:
        """Return one value."""
        return (1,)

    def feed(self, split: Split, splits: Series, recipe: Recipe, device: torch.device) -> Feed:
        """Return what gives windows (n, window, 1) and next values (n, 1), normalised.

        A split is small enough to be normalised, and kept on the device, once and for all.
        """
        import numpy as np

        from pytest_amlnn.steps import feed_of_tensors

        inputs, targets = (
            values.astype(np.float32) for values in normalised(split, splits, recipe)
        )
        return feed_of_tensors(inputs[..., None], targets, device)

    def loss(self, outputs: Tensor, targets: Tensor, recipe: Recipe) -> Tensor:
        """Return the mean squared error, in units of the training points' variance."""
        from torch.nn.functional import mse_loss

        return mse_loss(outputs.float(), targets)

    def score(self, part: Part, splits: Series, recipe: Recipe) -> ForecastScore:
        """Return what scores forecasts (n, 1)."""
        return ForecastScore(part, splits, recipe)

    def implausible(self, scored: Scored, splits: Series) -> str:
        """Say that a forecast beats the best that can be known."""
        if ORACLE not in splits.forecasts:
            return ""
        truth = scored.answers["truth"]
        own = (scored.answers["forecast"] - truth) ** 2
        floor = (scored.answers[ORACLE] - truth) ** 2
        if chance_of_so_low(own - floor) >= IMPLAUSIBLE:
            return ""
        return (
            f"test MSE {own.mean():.6g} lies significantly below the oracle's"
            f" {floor.mean():.6g}: the forecast knows its target: look for a leak in windows"
        )


class ForecastScore:
    """Keeps the forecast of each example: one number."""

    def __init__(self, part: Part, splits: Series, recipe: Recipe) -> None:
        from pytest_amlnn.steps import Rows

        self.part, self.splits, self.recipe = part, splits, recipe
        count = len(getattr(splits, part))
        self.forecasts, self.targets = Rows(count), Rows(count)

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in normalised forecasts (n, 1) and values (n, 1)."""
        self.forecasts.append(outputs)
        self.targets.append(targets)

    def result(self) -> Scored:
        """Return the loss, and of the test split errors in original units."""
        from torch.nn.functional import mse_loss

        outputs, splits = self.forecasts.filled_rows, self.splits
        loss = mse_loss(outputs, self.targets.filled_rows).item()
        if self.part != "test":
            return Scored(loss=loss)
        center = centers(windows_of(splits.test), splits, self.recipe)[:, 0]
        forecast = outputs.double().cpu().numpy()[:, 0] * splits.scale + center
        truth = splits.test.targets.astype("float64")
        beside = {name: values.astype("float64") for name, values in beside_of(splits).items()}
        others = {name: beside[name] for name in splits.forecasts}
        metrics = errors(forecast, truth, others, splits.naive_error)
        answers = {"forecast": forecast, "truth": truth, **beside}
        return Scored(loss=loss, metrics=metrics, answers=answers)


FORECAST = Forecast()


def errors(
    forecast: np.ndarray,
    truth: np.ndarray,
    others: Mapping[str, np.ndarray],
    naive_error: float | None,
) -> dict[str, float]:
    """Return the metrics of a forecast (n,), in original units, beside those of others.

    Without an oracle there is no efficiency; without the naive forecast's error no MASE.
    """
    import numpy as np

    own = truth - forecast
    metrics = {f"{name}_mse": float(np.mean((truth - o) ** 2)) for name, o in others.items()}
    metrics |= {"test_mse": float(np.mean(own**2)), "test_mae": float(np.mean(np.abs(own)))}
    if naive_error:
        metrics["test_mase"] = metrics["test_mae"] / naive_error
    floor = metrics.get("oracle_mse", 0.0)
    if floor > 0:  # without noise there is no floor to be a share of
        metrics["efficiency"] = floor / metrics["test_mse"]
    return metrics
