"""What to train: a model on so much data, with a recipe."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import nn

Task = Literal["classification", "forecast"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train; equal recipes and seeds give equal numbers on one machine."""

    epochs: int
    """The budget; the learning-rate schedule spans it."""
    learning_rate: float
    """The peak, reached after `warmup` and annealed to zero by the last step."""
    batch_size: int = 32
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    momentum: float = 0.9
    """Of `sgd`, with Nesterov's correction."""
    weight_decay: float = 0.0
    """Of weights alone: biases and normalisation layers are spared."""
    warmup: float = 0.1
    """Share of all steps over which the learning rate rises."""
    layer_decay: float = 1.0
    """Each layer's learning rate as a share of the next one's, in timm's order of layers: what
    trained weights know of edges and textures is worth keeping."""
    averaging: float = 0.0
    """Share of itself that a moving average of the weights keeps each step; the average is
    what is validated and tested. 0 takes the weights as they are."""
    patience: int = 5
    """Epochs without a lower validation loss, counted after half of the budget."""
    clip_norm: float | None = None
    """Largest norm of the whole gradient."""
    label_smoothing: float = 0.0
    resolution: int = 64
    """Height and width in pixels that pictures are resized to."""
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    deviation: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """With `mean`, what pictures in 0..1 are normalised by, channel by channel."""
    flip: bool = False
    """Mirror half of the training pictures."""
    shift: int = 0
    """Move training pictures by up to so many pixels."""
    crop: float = 1.0
    """Area of the smallest crop that training pictures are cut to, as a share of theirs."""
    mixup: float = 0.0
    """Parameter of the Beta distribution that pairs of pictures are mixed by; 0 mixes none."""
    cutmix: float = 0.0
    """Same for pairs of which a part of one is pasted into the other; with `mixup` too, each
    batch is mixed in one of both ways."""
    standardise: bool = False
    """Scale fresh layers, once, so that each channel has mean 0 and deviation 1 on training
    pictures: what lets a deep net without norms begin to learn."""
    refresh_norms: bool = False
    """Estimate the statistics of trained batch norms anew before the first step, at this
    resolution."""
    freeze_norms: bool = False
    """Keep the statistics of batch norms as they are before the first step."""
    normalise: Literal["train", "window"] = "window"
    """Centre series by the training mean, or each window by its own."""
    threads: int = 2
    """CPU threads; fixed here because their number changes the last bits."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """On a CPU; bfloat16 only where the processor computes in it, elsewhere float32."""
    precision_cuda: Literal["float32", "bfloat16"] = "bfloat16"
    """On a CUDA device."""

    def __post_init__(self) -> None:
        """Refuse values that cannot be trained with."""
        for name in ("epochs", "batch_size", "patience", "resolution", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"recipe: {name} is {getattr(self, name)}, needs 1 or more")
        for name in ("learning_rate", "weight_decay", "shift", "mixup", "cutmix"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"recipe: {name} is {getattr(self, name)}, needs 0 or more")
        if self.optimizer not in ("sgd", "adam", "adamw"):
            raise ValueError(
                f"recipe: optimizer is {self.optimizer!r}, needs sgd, adam or adamw"
            )
        if not 0 < self.crop <= 1:
            raise ValueError(f"recipe: crop is {self.crop}, needs 0 < crop <= 1")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(
                f"recipe: label_smoothing is {self.label_smoothing}, needs 0 <= it < 1"
            )
        if not 0 <= self.averaging < 1:
            raise ValueError(f"recipe: averaging is {self.averaging}, needs 0 <= averaging < 1")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"recipe: layer_decay is {self.layer_decay}, needs 0 < it <= 1")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"recipe: warmup is {self.warmup}, needs 0 <= warmup < 1")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model, one size of one dataset, one recipe: plain data, one pytest item."""

    model: str
    build: Callable[[int], nn.Module]
    """Builds the net, with so many outputs, from torch's global random state."""
    recipe: Recipe
    task: Task
    family: str
    """What `test_<family>` benchmarks select: `cnn`, `rnn`, or one of your own."""
    dataset: str
    size: int
    """Training examples, or points of a series."""
    label: str
    """The text between the brackets of the case id."""
    data: Mapping[str, int | str] = field(default_factory=dict)
    """Keyword arguments for the dataset's `splits`."""
    profile: str = "quick"
    init: str = "random"
    repeats: int = 3
    """Seeds, where --amlnn-repeats does not say."""
    with_archive: bool | None = None
    """Collected only when --amlnn-data names an archive (True), only when not (False)."""
    flops: float = 1.0
    """Operations of one example's forward pass, roughly: parallel sweeps begin with the
    cases that take longest."""
    together: bool = False
    """Train all seeds at once on a CPU: the net's class computes several nets in fewer calls,
    `together(nets, inputs)`, and draws no random numbers. On a CUDA device its training passes
    are captured as graphs."""
    reference: Mapping[str, float] = field(default_factory=dict)
    """Metrics that another report gives for the same model and size, to stand beside ours."""

    @property
    def cost(self) -> float:
        """Operations of all forward passes that the budget allows for."""
        return self.flops * self.size * self.recipe.epochs

    def __str__(self) -> str:
        return self.label


def to_plain(case: Case) -> dict[str, object]:
    """Return the case as JSON-ready data, its builder by name."""
    plain = {f.name: getattr(case, f.name) for f in fields(case)}
    build, arguments = case.build, dict[str, object]()
    if isinstance(build, partial):
        arguments = {f"{i}": value for i, value in enumerate(build.args)} | build.keywords
        build = build.func
    recipe = {f.name: getattr(case.recipe, f.name) for f in fields(case.recipe)}
    return plain | {
        "build": f"{build.__module__}.{build.__qualname__}",
        "arguments": {name: repr(value) for name, value in arguments.items()},
        "recipe": recipe | {"mean": [*recipe["mean"]], "deviation": [*recipe["deviation"]]},
        "data": dict(case.data),
        "reference": dict(case.reference),
    }


def group_of(plain: Mapping[str, object]) -> str:
    """Return the name under which cases stand in one table of times: same data, same size."""
    return f"{plain['family']} {plain['dataset']} {plain['size']}"


def discover(package: ModuleType) -> list[Case]:
    """Return the `CASES` of every module in a package, sorted, for all profiles.

    The order is the same in every process, as pytest-xdist needs it.
    """
    names = sorted(info.name for info in pkgutil.iter_modules(package.__path__))
    modules = [import_module(f"{package.__name__}.{name}") for name in names]
    found = [case for module in modules for case in getattr(module, "CASES", ())]
    return sorted(found, key=lambda case: (case.family, case.model, case.size, case.label))


def select(
    cases: Iterable[Case], *, family: str, profile: str, archive: bool
) -> tuple[list[Case], list[Case]]:
    """Return the cases to collect, and all that exist in this family and profile.

    `archive` says whether --amlnn-data names one.
    """
    known = [case for case in cases if (case.family, case.profile) == (family, profile)]
    return [case for case in known if case.with_archive in (None, archive)], known
