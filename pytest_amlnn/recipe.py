"""How to train."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from pytest_amlnn.fields import Bound, check_fields

LEAST_DEVIATION = 1e-6
MOST_THREADS = 1024
MOST_PIXELS = 2**14
"""Along a side."""


def at_least(least: float) -> Bound:
    """Ask for so much or more."""
    return f"{least} or more", lambda value: bool(value >= least)


def between(least: int, most: int) -> Bound:
    """Ask for a number within these two, themselves included."""
    return f"{least} or more, at most {most}", lambda value: least <= value <= most


def share(name: str) -> Bound:
    """Ask for a share of something that is not the whole of it."""
    return f"0 <= {name} < 1", lambda value: 0 <= value < 1


def some(name: str) -> Bound:
    """Ask for a share of something that is not nothing."""
    return f"0 < {name} <= 1", lambda value: 0 < value <= 1


BETA: Bound = (
    # torch draws nothing from less
    "0 or more: 0, or 0.01 or more, at most 1000",
    lambda value: value == 0 or 0.01 <= value <= 1000,
)
THREE = "three finite numbers, as (0.5, 0.5, 0.5)"
TRANSFORMS_BOUNDS: dict[str, Bound] = {
    "resolution": between(1, MOST_PIXELS),
    "mean": (
        f"{THREE}, each in 0..1: divide those of pictures in 0..255 by 255",
        lambda values: min(values) >= 0 and max(values) <= 1,
    ),
    "deviation": (
        f"{THREE}, above 0: {LEAST_DEVIATION} or more",
        lambda values: min(values) >= LEAST_DEVIATION,
    ),
    "crop": some("crop"),
    **dict.fromkeys(("mixup", "cutmix"), BETA),
    "shift": between(0, MOST_PIXELS),
}


@dataclass(frozen=True, kw_only=True)
class Transforms:
    """What becomes of pictures on their way into a net."""

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
    batch is mixed by one of the two, chosen at random."""

    def __post_init__(self) -> None:
        """Refuse values that no picture can be transformed with."""
        check_fields(self, "recipe", TRANSFORMS_BOUNDS)


RECIPE_BOUNDS: dict[str, Bound] = {
    **{name: at_least(1) for name in ("epochs", "batch_size", "patience")},
    **{name: at_least(0) for name in ("learning_rate", "weight_decay")},
    **{name: share(name) for name in ("momentum", "warmup", "averaging", "label_smoothing")},
    "layer_decay": some("layer_decay"),
    "clip_norm": ("above 0, or None", lambda value: value is None or value > 0),
    "threads": between(1, MOST_THREADS),
    "transforms": ("a Transforms, as in Transforms(resolution=64)", lambda value: True),
}


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
    standardise: bool = False
    """Scale fresh layers, once, so that each channel has mean 0 and deviation 1 on training
    examples: what lets a deep net without norms begin to learn."""
    refresh_norms: bool = False
    """Estimate the statistics of trained batch norms anew before the first step, at this
    resolution."""
    freeze_norms: bool = False
    """Keep the statistics of batch norms as they are before the first step."""
    trained: Literal["all", "last_stage", "head"] = "all"
    """Which layers are trained, in timm's order of stages: the others stay as they are, with
    the statistics of their norms."""
    normalise: Literal["train", "window"] = "window"
    """Centre series by the training mean, or each window by its own."""
    transforms: Transforms = Transforms()
    """Of pictures."""
    threads: int = 2
    """CPU threads; fixed here because their number changes the last bits."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """On a CPU; bfloat16 only where the processor computes in it, elsewhere float32."""
    precision_cuda: Literal["float32", "bfloat16"] = "bfloat16"
    """On a CUDA device."""

    def __post_init__(self) -> None:
        """Refuse values that cannot be trained with."""
        check_fields(self, "recipe", RECIPE_BOUNDS)


TRANSFORMS = frozenset(field.name for field in fields(Transforms))


def with_changes(recipe: Recipe, **changes: Any) -> Recipe:
    """Return the recipe with fields of it, or of its transforms, set anew."""
    transforms = {name: changes.pop(name) for name in [*changes] if name in TRANSFORMS}
    if transforms:
        changes["transforms"] = replace(recipe.transforms, **transforms)
    return replace(recipe, **changes)
