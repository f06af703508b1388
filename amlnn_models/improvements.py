"""Changes of a recipe, a net or its weights, each compared with a base, seed by seed.

The original report ends with advice that it did not test; here each piece of it is a change.
A further one is a line in one of the tables below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType
from typing import Any

from amlnn_datasets import tiny_imagenet
from amlnn_models import (
    birnn,
    deep_rnn,
    dlinear,
    efficientnet_lite,
    gru,
    lstm,
    nlinear,
    resnetv2,
    tcn,
    transformer,
)
from amlnn_models.pictures import id_prefix
from pytest_amlnn import Case, Search, Source, variant_of
from pytest_amlnn.recipe import with_changes

EPOCHS = "Train for more epochs."
AUGMENTATION = "Augment the pictures more."
FINE_TUNING = "Fine-tune the pre-trained layers instead of freezing them."
REGULARISATION = "Regularise, as by dropout."
RATE = "Tune the learning rate."
ARCHITECTURE = "Try more advanced architectures such as Transformers."
"""What the original report advised."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is changed of a base."""

    name: str
    advice: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the recipe or its transforms, set anew."""
    times: Mapping[str, float] = field(default_factory=dict)
    """Fields of the recipe, multiplied."""
    build: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the builder."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of what opens the data."""
    listing: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the case, as how many seeds it has."""
    search: Search | None = None


# pictures

LONGER = (
    Change(name="epochs_x2", advice=EPOCHS, times={"epochs": 2}),
    Change(name="epochs_x4", advice=EPOCHS, times={"epochs": 4}),
)
RATES = (
    Change(name="rate_x3", advice=RATE, times={"learning_rate": 3}),
    Change(name="rate_third", advice=RATE, times={"learning_rate": 1 / 3}),
)
AUGMENTED = (
    Change(name="flips_and_shifts", advice=AUGMENTATION, recipe={"flip": True, "shift": 4}),
    Change(
        name="flips_and_crops",
        advice=AUGMENTATION,
        recipe={"flip": True, "shift": 4, "crop": 0.4},
    ),
    Change(name="mixup", advice=AUGMENTATION, recipe={"mixup": 0.2}),
    Change(name="cutmix", advice=AUGMENTATION, recipe={"cutmix": 1.0}),
)
REGULARISED = (
    Change(name="dropout", advice=REGULARISATION, build={"drop_rate": 0.3}),
    Change(name="smoothing", advice=REGULARISATION, recipe={"label_smoothing": 0.1}),
    Change(name="weight_decay_x10", advice=REGULARISATION, times={"weight_decay": 10}),
)
PICTURES = (*LONGER, *AUGMENTED, *REGULARISED, *RATES)
FRESH = (
    *PICTURES,
    Change(name="averaging", recipe={"averaging": 0.99}),
    Change(name="pixels_96", recipe={"resolution": 96}),
    Change(name="looks_linear", build={"linear": True}),
)
TUNED = (
    *PICTURES,
    Change(name="averaging", recipe={"averaging": 0.98}),
    Change(name="pixels_64", recipe={"resolution": 64}),
)
QUICK = (LONGER[0], AUGMENTED[0], *AUGMENTED[2:], *REGULARISED[:2], RATES[0])
"""Of a base that is trained in seconds."""
THAWED = (
    Change(
        name="last_stage",
        advice=FINE_TUNING,
        recipe={"trained": "last_stage", "learning_rate": 0.0005},
    ),
    Change(
        name="all_layers",
        advice=FINE_TUNING,
        recipe={"trained": "all", "learning_rate": 0.0002, "layer_decay": 0.9},
    ),
)
"""Of a base whose head alone is trained, each at a learning rate that suits it."""

# series

RECURRENT = (
    Change(name="epochs_x4", advice=EPOCHS, times={"epochs": 4}),
    *RATES,
    Change(name="rate_range", advice=RATE, search=Search(method="range", low=1e-5, high=1.0)),
    Change(
        name="rate_optuna",
        advice=RATE,
        search=Search(method="optuna", low=3e-4, high=0.03, trials=10),
    ),
    Change(
        name="dropout",
        advice=REGULARISATION,
        build={"dropout": 0.2},
        # which draws random numbers, so that seeds cannot be trained at once
        listing={"seeds_at_once": False},
    ),
    Change(name="units_100", build={"units": 100}),
    Change(name="window_100", data={"window": 100}),
    Change(name="no_clipping", recipe={"clip_norm": None}),
    Change(name="normalise_train", recipe={"normalise": "train"}),
    Change(name="torch_weights", build={"orthogonal": False}),
)


# cases

SEEDS = {"rnn": 10, "cnn": 3}
"""Series take seconds, and two nets differ by little there."""


def improved(base: Case, change: Change) -> Case:
    """Return the case that changes a base."""
    before = base.training.recipe
    scaled = {
        name: type(getattr(before, name))(getattr(before, name) * factor)
        for name, factor in change.times.items()
    }
    build, flops = dict(change.build), base.flops
    if resolution := change.recipe.get("resolution"):
        build["resolution"] = resolution
        flops = flops_at(base, resolution)
    return variant_of(
        base,
        change.name,
        recipe={**change.recipe, **scaled},
        build=build,
        data=change.data,
        advice=change.advice,
        search=change.search,
        **{"flops": flops, "repeats": SEEDS[base.family], **change.listing},
    )


def flops_at(case: Case, resolution: int) -> float:
    """Return the operations of a case on pictures of another resolution."""
    return case.flops * (resolution / case.training.recipe.transforms.resolution) ** 2


def replaced(base: Case, other: Case) -> Case:
    """Return the case that trains another model on the data of a base, with its own recipe."""
    return variant_of(
        base,
        other.training.model,
        training={
            "model": other.training.model,
            "build": other.training.build,
            "recipe": other.training.recipe,
        },
        advice=ARCHITECTURE,
        flops=other.flops,
        seeds_at_once=other.seeds_at_once,
        cuda_graphs=other.cuda_graphs,
        repeats=SEEDS[base.family],
    )


def named(cases: list[Case], profile: str, label: str) -> Case:
    """Return the case of a profile that bears a label."""
    return next(case for case in cases if (case.profile, case.label) == (profile, label))


def forecaster(family: ModuleType, profile: str, points: int) -> Case:
    """Return the case of a model's file on so many points of the usual series."""
    return named(family.CASES, profile, f"{family.CASES[0].training.model}-{points}")


def base_on(
    case: Case,
    *,
    size: str,
    start: str = "",
    variant: str = "",
    data: Source | None = None,
    **recipe: Any,
) -> Case:
    """Return a base like a case, trained in another way, or on other data; `size` is as ids
    show it."""
    training = case.training
    changed = with_changes(training.recipe, **recipe)
    resolution, source = changed.transforms.resolution, data or training.data
    start, prefix = start or training.start, id_prefix(source.name)
    return replace(
        case,
        training=replace(
            training,
            recipe=changed,
            build=partial(training.build, resolution=resolution),
            data=source,
            start=start,
        ),
        size=int(source.arguments["size"]),
        label="-".join(filter(None, [training.model, start, f"{prefix}{size}", variant])),
        variant=variant,
        repeats=3,
        flops=flops_at(case, resolution),
        reference={},
    )


FROZEN: dict[str, Any] = {"trained": "head", "learning_rate": 0.001, "layer_decay": 1.0}
PLAIN: dict[str, Any] = {
    **{"label_smoothing": 0.0, "averaging": 0.0},
    **{"flip": False, "shift": 0, "crop": 1.0},
}
"""What is left out of the recipes of `lab`, to be added one by one."""
FEW = tiny_imagenet.source(size=2000, classes=200, validation=5)
RESNET = base_on(
    named(resnetv2.CASES, "lab", "resnetv2_18-random-10k"),
    size="2k",
    data=FEW,
    **PLAIN,
    epochs=12,
    batch_size=32,
    learning_rate=0.05,
    resolution=64,
)
LITE = partial(
    base_on,
    named(efficientnet_lite.CASES, "lab", "efficientnet_lite0-imagenet-10k"),
    size="2k",
    data=FEW,
    **PLAIN,
    epochs=4,
    batch_size=32,
    resolution=96,
)
"""Fine-tuned in all layers, unless it says otherwise."""
FINE_TUNED = LITE(learning_rate=0.0002)


def bases() -> Iterator[tuple[Case, tuple[Change, ...]]]:
    """Yield each base with its changes."""
    yield RESNET, FRESH
    yield FINE_TUNED, TUNED
    yield LITE(variant="frozen", **FROZEN), THAWED
    for prefix in ("shapes-", ""):
        size = f"{prefix}600"
        yield named(resnetv2.CASES, "quick", f"resnetv2_18-random-{size}"), QUICK
        lite = named(efficientnet_lite.CASES, "quick", f"efficientnet_lite0-random-{size}")
        frozen = base_on(lite, size="600", start="imagenet", variant="frozen", **FROZEN)
        yield frozen, THAWED
    for family in (lstm, gru, birnn, deep_rnn):
        for points in (1000, 3000):
            yield forecaster(family, "lab", points), RECURRENT
    yield forecaster(lstm, "quick", 1000), RECURRENT


def architectures() -> Iterator[Case]:
    """Yield other models in the place of the LSTM."""
    for profile, sizes in (("quick", (1000,)), ("lab", (1000, 3000))):
        for points in sizes:
            base = forecaster(lstm, profile, points)
            for family in (transformer, tcn, nlinear, dlinear):
                yield replaced(base, forecaster(family, profile, points))


CASES = [
    *(improved(base, change) for base, changes in bases() for change in changes),
    *architectures(),
]
