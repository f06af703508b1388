"""How to train."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from operator import contains
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints


def check_field(value: Any, name: str, needs: str, holds: Callable[[Any], bool]) -> None:
    """Raise ValueError unless a field has its declared kind of value, within its bounds."""
    given, kinds = getattr(value, name), kinds_of(value.__class__)[name]
    whole = isinstance(given, kinds) and (isinstance(given, bool) == (bool in kinds))
    if not whole or not holds(given):
        raise ValueError(f"recipe: {name} is {given!r}, needs {needs}")


def check_words(value: Any) -> None:
    """Raise ValueError for a field that is none of the words that it may be, or is no bool."""
    for name, hint in hints_of(value.__class__).items():
        if get_origin(hint) is Literal:
            words = get_args(hint)
            check_field(value, name, " or ".join(words), partial(contains, words))
        elif hint is bool:
            check_field(value, name, "True or False", lambda given: True)


@cache
def hints_of(kind: Any) -> dict[str, Any]:
    """Return the types of a dataclass's fields, those that it inherits included."""
    return get_type_hints(kind)


@cache
def kinds_of(kind: Any) -> dict[str, tuple[type, ...]]:
    """Return by field the classes that its values may have; an int is a float, too."""
    found = {}
    for name, hint in hints_of(kind).items():
        parts = [type(a) for a in get_args(hint)] if get_origin(hint) is Literal else [hint]
        if get_origin(hint) is UnionType:
            parts = [*get_args(hint)]
        classes = {get_origin(part) or part for part in parts}
        found[name] = tuple(classes | ({int} if float in classes else set()))
    return found


def finite_three(values: tuple[float, ...]) -> bool:
    """Return whether these are three finite numbers."""
    return len(values) == 3 and all(
        isinstance(value, int | float) and math.isfinite(value) for value in values
    )


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
        check_words(self)
        check_field(self, "resolution", "1 or more", lambda value: value >= 1)
        for name in ("shift", "mixup", "cutmix"):
            check_field(self, name, "0 or more", lambda value: value >= 0)
        check_field(self, "crop", "0 < crop <= 1", lambda value: 0 < value <= 1)
        three = "three finite numbers, as (0.5, 0.5, 0.5)"
        check_field(self, "mean", three, finite_three)
        check_field(
            self,
            "deviation",
            f"{three}, above 0",
            lambda value: finite_three(value) and min(value) > 0,
        )


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
        for name in ("epochs", "batch_size", "patience", "threads"):
            check_field(self, name, "1 or more", lambda value: value >= 1)
        for name in ("learning_rate", "weight_decay"):
            check_field(self, name, "0 or more", lambda value: value >= 0)
        for name in ("momentum", "averaging", "warmup", "label_smoothing"):
            check_field(self, name, f"0 <= {name} < 1", lambda value: 0 <= value < 1)
        check_field(self, "layer_decay", "0 < layer_decay <= 1", lambda value: 0 < value <= 1)
        check_field(
            self, "clip_norm", "above 0, or None", lambda value: value is None or value > 0
        )
        check_words(self)


TRANSFORMS = frozenset(field.name for field in fields(Transforms))


def with_changes(recipe: Recipe, **changes: Any) -> Recipe:
    """Return the recipe with fields of it, or of its transforms, set anew."""
    transforms = {name: changes.pop(name) for name in [*changes] if name in TRANSFORMS}
    if transforms:
        changes["transforms"] = replace(recipe.transforms, **transforms)
    return replace(recipe, **changes)
