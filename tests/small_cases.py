"""Cases that train in a fraction of a second, with torch alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from pytest_amlnn import (
    CLASSIFICATION,
    FORECAST,
    Case,
    Pictures,
    Recipe,
    Series,
    Source,
    Split,
    Training,
    Weights,
    checkpoint,
    state,
    training,
)
from pytest_amlnn.data import Data
from pytest_amlnn.progress import Silent
from pytest_amlnn.recipe import with_changes

SIDE = 8
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU")


def linear(outputs: int) -> nn.Module:
    """Build a linear classifier."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, outputs))


class Blind(nn.Module):
    """Sees nothing of its inputs."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return zeros."""
        return inputs * 0


def blind(outputs: int) -> nn.Module:
    """Build a net that cannot learn more than how often each class comes."""
    return nn.Sequential(nn.Flatten(), Blind(), nn.Linear(3 * SIDE * SIDE, outputs))


def pictures_net(outputs: int) -> nn.Module:
    """Build a net that has all that a checkpoint must hold: convolutions, norms, dropout."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(8 * SIDE * SIDE, outputs),
    )


def started(
    outputs: int, weights: Weights | None = None, classes: Sequence[str] = ()
) -> nn.Module:
    """Build a linear classifier, with the weights of a file where there is one."""
    net = linear(outputs)
    if weights is not None:
        assert list(classes) == ["level0", "level1", "level2"]
        net.load_state_dict(load_file(weights.path))
    return net


def line(outputs: int) -> nn.Module:
    """Build a linear forecaster."""
    return nn.Sequential(nn.Flatten(), nn.Linear(8, outputs))


def small_case(label: str = "linear", **changes: object) -> Case:
    """Return a classification case on squares.

    `changes` replace fields of the case, of its training or of its recipe; `dataset` names
    other data.
    """
    trained: dict[str, object] = {
        "model": label,
        "build": linear,
        "task": CLASSIFICATION,
        "data": Source(name=str(changes.pop("dataset", "squares"))),
    }
    listed: dict[str, object] = {"family": "small", "size": 60, "label": label, "repeats": 2}
    recipe: dict[str, object] = {"resolution": SIDE, "threads": 1}
    for name, value in changes.items():
        if name in Case.__dataclass_fields__:
            listed[name] = value
        elif name in Training.__dataclass_fields__:
            trained[name] = value
        else:
            recipe[name] = value
    trained.setdefault("recipe", with_changes(Recipe(epochs=3, learning_rate=0.05), **recipe))
    return Case(**{"training": Training(**trained), **listed})


def trained(
    case: Case,
    data: Data | None = None,
    *,
    seed: int = 0,
    place: Path | None = None,
    weights: Weights | None = None,
    device: torch.device = CPU,
) -> training.Outcome:
    """Train a case in this process, on squares unless other data are given."""
    run = training.initial_run(
        case, id=f"test[{case}]", seed=seed, device=device, weights=weights
    )
    (outcome,) = training.train(
        case,
        data or squares(),
        [run],
        device=device,
        progress=Silent(),
        places=[place] if place else [],
        weights=weights,
    )
    return outcome


class CutError(Exception):
    """The training was cut here."""


def cut_after(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have trainings end once they have saved so many epochs."""
    save = checkpoint.save

    def save_and_cut(folder: Path, given: state.State, **others: object) -> None:
        save(folder, given, **others)
        if len(given.epochs) == epochs:
            raise CutError

    monkeypatch.setattr(training, "save", save_and_cut)


def cut(case: Case, place: Path, after: int, **changes: object) -> None:
    """Train a case and cut it after some epochs, its checkpoints left in `place`."""
    with pytest.MonkeyPatch.context() as patch:
        cut_after(after, patch)
        with pytest.raises(CutError):
            trained(case, place=place, **changes)


def squares(*, classes: int = 3, swapped: bool = False) -> Data:
    """Return pictures whose class is how bright they are; `swapped` breaks the test labels."""
    random = np.random.RandomState(0)

    def split(count: int) -> Split:
        labels = np.arange(count) % classes
        level = (labels * 200 // (classes - 1) + 20)[:, None, None, None]
        noise = random.randint(0, 20, (count, SIDE, SIDE, 3))
        return Split(
            inputs=(level + noise).astype(np.uint8),
            rows=np.arange(count),
            targets=labels.astype(np.int64),
            names=[f"{i}.png" for i in range(count)],
        )

    train, validation, test = split(60), split(30), split(240)
    if swapped:
        test = Split(
            inputs=test.inputs,
            rows=test.rows,
            targets=(test.targets + 1) % classes,
            names=test.names,
        )
    facts = {
        "name": "squares",
        "digest": "0" * 64,
        "counts": {"train": 60, "validation": 30, "test": 240},
        "words": {"dark": "dark squares"},
    }
    splits = Pictures(
        train=train,
        validation=validation,
        test=test,
        classes=tuple(f"level{i}" for i in range(classes)),
        facts=facts,
    )
    return lambda seed: splits


def line_case(label: str = "line", **changes: object) -> Case:
    """Return a forecast case on the series that `amlnn_datasets.series` makes."""
    return small_case(label, **{"task": FORECAST, "build": line, "dataset": "ar", **changes})


def leaked(splits: Series) -> Series:
    """Return the series with each window's last value replaced by its target."""

    def leak(split: Split) -> Split:
        windows = np.array(split.inputs[split.rows])
        windows[:, -1] = split.targets
        return Split(
            inputs=windows,
            rows=np.arange(len(windows)),
            targets=split.targets,
            names=split.names,
        )

    fields = {name: getattr(splits, name) for name in Series.__dataclass_fields__}
    for name in ("train", "validation", "test"):
        fields[name] = leak(fields[name])
    return Series(**fields)
