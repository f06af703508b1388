"""What a batch, a loss and a score mean: the part of training that differs by task.

A task is a value without torch at import, so that the plugin knows it before a case is trained.
Two are here, `CLASSIFICATION` and `FORECAST`; a third is a class of your own that derives from
`Task` and says what it does otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pytest_amlnn.checks import check_magnitudes, check_splits
from pytest_amlnn.data import Split, Weights, facts_of
from pytest_amlnn.metrics import Column, Metric

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

    from pytest_amlnn.recipe import Recipe
    from pytest_amlnn.steps import Feed


Part = Literal["validation", "test"]
"""A split that is scored."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a net's outputs for the examples of a split are worth."""

    loss: float
    """What training minimises, without smoothing: the mean over the examples."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Others of the split, by name: `accuracy` becomes `val_accuracy` of an epoch."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Metrics of the task; those of the test split go on record."""
    answers: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What the net said of each example, by name, one row an example."""


class Score(Protocol):
    """Scores a split batch by batch, so that no outputs need to be kept."""

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in the float32 outputs of a batch, and its targets, both on the device."""

    def result(self) -> Scored:
        """Return what all batches so far are worth."""


class Task(Protocol):
    """What training asks of a task; derive from it, and replace what your task does otherwise.

    `Splits` are whatever `Source.open` returns: anything with `train`, `validation`, `test` and
    `facts`, as in `pytest_amlnn.data.Splits`.
    """

    name: str
    """On record and in summary.json."""
    metrics: tuple[Metric, ...]
    """Those of the task; every run has `pytest_amlnn.metrics.COMMON` besides."""
    columns: tuple[Column, ...]
    """What stands in the comparison, before the columns that all tasks have."""

    def check(self, splits: Any, recipe: Recipe) -> None:
        """Refuse splits that the task cannot train on; raises DataError with split and row."""
        check_splits(splits)
        check_magnitudes(splits)

    def outputs(self, splits: Any) -> int:
        """Return the number of outputs that a net needs, which its builder is called with."""
        raise NotImplementedError

    def output_shape(self, splits: Any) -> tuple[int, ...] | None:
        """Return the shape of a net's outputs for one example; None takes any."""
        return None

    def builder_arguments(self, splits: Any, weights: Weights) -> dict[str, Any]:
        """Return what a builder needs besides to start from trained weights."""
        return {"weights": weights}

    def network(self, net: nn.Module, device: torch.device) -> nn.Module:
        """Put a net on the device."""
        return net.to(device)

    def feed(self, split: Split, splits: Any, recipe: Recipe, device: torch.device) -> Feed:
        """Return what gives batches of a split; by default tensors, as they are."""
        from pytest_amlnn.arrays import for_torch
        from pytest_amlnn.steps import feed_of_tensors

        inputs = for_torch(split.inputs[split.rows])
        return feed_of_tensors(inputs, for_torch(split.targets), device)

    def loss(self, outputs: Tensor, targets: Tensor, recipe: Recipe) -> Tensor:
        """Return the mean loss of a training batch."""
        raise NotImplementedError

    def training_scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return scores of a training batch, each summed over its examples, on the device."""
        return {}

    def score(self, part: Part, splits: Any, recipe: Recipe) -> Score:
        """Return what scores the outputs for the `validation` or the `test` split."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        """Return whether it is a task of the same class with the same fields."""
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        """Return its class and name, the same in every process."""
        return f"{type(self).__qualname__}({self.name!r})"

    def facts(self, splits: Any) -> dict[str, Any]:
        """Return what each run's record says of the data."""
        return facts_of(splits)

    def baselines(self, splits: Any) -> dict[str, float]:
        """Return values of columns that follow from the data alone, such as chance."""
        return {}

    def implausible_start(self, scored: Scored, splits: Any) -> str:
        """Say why trained weights are not what they should be; nothing if they may be.

        `scored` is of the validation split, before the first step.
        """
        return ""

    def implausible(self, scored: Scored, splits: Any) -> str:
        """Say why no honest run gives these test answers; nothing if one may."""
        return ""
