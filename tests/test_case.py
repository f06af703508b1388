"""Cases and recipes, and the collection that ships with this repository."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_cases import SIDE, linear, pictures_net, small_case, squares, trained

import amlnn_models
from amlnn_datasets import tiny_imagenet
from pytest_amlnn import (
    Case,
    Classification,
    Metric,
    Recipe,
    Source,
    Transforms,
)
from pytest_amlnn.case import CaseError, discover, select
from pytest_amlnn.identity import case_to_plain, plain_of
from pytest_amlnn.recipe import with_changes

ROOT = Path(__file__).parents[1]
CASES = discover(amlnn_models)
LEAST = Recipe(epochs=1, learning_rate=0.1)
MODELS = {
    "vgg11", "vgg19", "resnetv2_18", "resnetv2_50", "inception_v3", "inception_v4",
    "efficientnet_lite0", "efficientnet_lite2", "lstm", "gru", "birnn", "deep_rnn",
    "transformer", "tcn", "nlinear", "dlinear",
}  # fmt: skip


def chosen_and_known(
    family: str, profile: str, *, archive: bool = False
) -> tuple[list[Case], list[Case]]:
    """Give the cases that are collected where the archive is named or is not, and all."""
    named = [tiny_imagenet.NAME] if archive else []
    return select(CASES, family=family, profile=profile, named=named)


def labels(family: str, profile: str, *, archive: bool = False) -> list[str]:
    """Give the texts of the ids that are collected."""
    chosen, _ = chosen_and_known(family, profile, archive=archive)
    return [str(case) for case in chosen]


@pytest.fixture
def package_of(tmp_path, monkeypatch) -> Callable[..., ModuleType]:
    """Make a package of modules, given their texts by name."""

    def make(package: str, **texts: str) -> ModuleType:
        monkeypatch.syspath_prepend(tmp_path)
        for name, text in {"__init__": "", **texts}.items():
            path = tmp_path / package / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return import_module(package)

    return make


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"epochs": 0}, "epochs is 0, needs 1 or more"),
        ({"batch_size": -1}, "batch_size is -1, needs 1 or more"),
        ({"patience": 0}, "patience is 0"),
        ({"resolution": 0}, "resolution is 0"),
        ({"threads": 0}, "threads is 0"),
        ({"warmup": 1.0}, "warmup is 1.0, needs 0 <= warmup < 1"),
        ({"warmup": -0.1}, "warmup is -0.1"),
        ({"warmup": float("nan")}, "warmup is nan"),
        ({"crop": 70}, "crop is 70.0, needs 0 < crop <= 1"),
        ({"crop": 0.0}, "crop is 0.0"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0, needs 0 <= label_smoothing < 1"),
        ({"momentum": 1.0}, "momentum is 1.0, needs 0 <= momentum < 1"),
        ({"averaging": 1.0}, "averaging is 1.0, needs 0 <= averaging < 1"),
        ({"layer_decay": 0.0}, "layer_decay is 0.0, needs 0 < layer_decay <= 1"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0, needs above 0, or None"),
        ({"learning_rate": float("nan")}, "learning_rate is nan, needs 0 or more"),
        ({"shift": -1}, "shift is -1, needs 0 or more"),
        ({"mixup": -0.2}, "mixup is -0.2, needs 0 or more"),
        ({"cutmix": float("nan")}, "cutmix is nan"),
        ({"mean": (0.5, 0.5)}, r"mean is \(0.5, 0.5\), needs three finite numbers"),
        ({"mean": (0.5, 0.5, float("inf"))}, "mean is .*, needs three finite numbers"),
        ({"deviation": (0.5, 0.5, 0.0)}, "deviation is .*, above 0"),
        ({"deviation": (1e-300, 0.5, 0.5)}, "deviation is .*, above 0: 1e-06 or more"),
        ({"mean": (123.7, 116.3, 103.5)}, "mean is .*, each in 0..1: divide .* by 255"),
        ({"learning_rate": float("inf")}, "learning_rate is inf, needs 0 or more, a finite"),
        ({"learning_rate": 10**400}, r"learning_rate is 10+\.\.\., needs 0 or more, a finite"),
        ({"clip_norm": -1}, "clip_norm is -1, needs above 0, or None"),
        ({"clip_norm": float("inf")}, "clip_norm is inf, needs above 0, or None, a finite"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"trained": "last"}, "trained is 'last', needs all or last_stage or head"),
        (
            {"epochs": 10**5000},
            "epochs is one int, needs 1 or more, a whole number",
        ),
        ({"threads": 10**6}, "threads is 1000000, needs 1 or more, at most 1024"),
        ({"resolution": 10**9}, "resolution is 1000000000, needs 1 or more, at most 16384"),
        ({"mixup": 1e300}, "mixup is 1e.300, needs 0 or more: 0, or 0.01 or more, at"),
    ],
)
def test_impossible_recipe_is_refused(wrong, words):
    """A recipe that nothing can be trained with names the field and what it needs."""
    with pytest.raises(ValueError, match=words):
        with_changes(LEAST, **wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"epochs": 2.0}, "epochs is 2.0, needs 1 or more"),
        ({"epochs": True}, "epochs is True"),
        ({"epochs": "3"}, "epochs is '3'"),
        ({"learning_rate": "0.1"}, "learning_rate is '0.1'"),
        ({"shift": 1.5}, "shift is 1.5"),
        ({"mean": [0.5, 0.5, 0.5]}, r"mean is \[0.5, 0.5, 0.5\]"),
        ({"mean": ("a", "b", "c")}, "mean is .*, needs three finite numbers"),
        ({"optimizer": "lamb"}, "optimizer is 'lamb', needs sgd or adam or adamw"),
        ({"optimizer": None}, "optimizer is None, needs sgd or adam or adamw"),
        ({"normalise": "batch"}, "normalise is 'batch', needs train or window"),
        ({"precision": "float16"}, "precision is 'float16', needs float32 or bfloat16"),
        ({"precision": "fp16"}, "precision is 'fp16', needs .*; did you mean 'bfloat16'"),
        ({"normalise": "windows"}, "normalise is 'windows', needs .*; did you mean 'window'"),
        ({"optimizer": "Adam"}, "optimizer is 'Adam', needs .*; did you mean 'adam'"),
        ({"optimizer": ["sgd"]}, "optimizer is .'sgd'., needs sgd or adam or adamw"),
        ({"epochs": 2.5}, "epochs is 2.5, needs 1 or more, a whole number"),
        ({"epochs": np.float64(3)}, "epochs is 3.0, needs 1 or more, a whole number"),
        ({"deviation": (True, True, True)}, "deviation is .*, needs three finite numbers"),
        ({"mean": np.ones(3)}, "mean is array.*, needs three finite numbers"),
        ({"flip": 1}, "flip is 1, needs True or False"),
        ({"transforms": None}, "transforms is None, needs a Transforms, as in"),
        ({"transforms": {"resolution": 64}}, "transforms is {'resolution': 64}, needs a Tran"),
        ({"precision_cuda": "half"}, "precision_cuda is 'half', needs float32 or bfloat16"),
    ],
)
def test_recipe_of_another_kind_is_refused(wrong, words):
    """A value of another type or a word that is not known names the field, not a later line."""
    with pytest.raises(ValueError, match=f"^recipe: {words}"):
        with_changes(LEAST, **wrong)


def test_numbers_of_numpy_become_pythons():
    """A recipe from an array of rates is the one that is written by hand, on record too."""
    drawn = with_changes(
        LEAST,
        epochs=np.int64(3),
        learning_rate=np.float64(0.25),
        flip=np.bool_(True),
        mean=tuple(np.float32([0.5, 0.25, 0.5])),
    )
    written = with_changes(
        LEAST, epochs=3, learning_rate=0.25, flip=True, mean=(0.5, 0.25, 0.5)
    )

    assert repr(drawn) == repr(written)
    assert type(drawn.epochs) is int


RECIPE_FIELDS = sorted(Recipe.__dataclass_fields__ | Transforms.__dataclass_fields__)
ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.binary(),
    st.tuples(*[st.floats()] * 3), st.lists(st.floats(), max_size=3), st.just(np.ones(3)),
    st.integers(0, 9).map(np.int64), st.floats(0, 1).map(np.float64), st.complex_numbers(),
)  # fmt: skip


@given(st.sampled_from(RECIPE_FIELDS), ANYTHING)
@example("transforms", None)
def test_recipe_takes_a_value_or_names_its_field(name, value):
    """Whatever a field is given, the recipe can go on record, or the error names the field."""
    try:
        recipe = with_changes(LEAST, **{name: value})
    except ValueError as error:
        named = str(error)
    else:
        json.dumps(plain_of(recipe, "recipe"), allow_nan=False)
        named = f"recipe: {name} is"

    assert named.startswith(f"recipe: {name} is")


SHARES = st.floats(0, 1, exclude_max=True)
POSSIBLE = {
    "learning_rate": st.floats(0, 1e300),
    "batch_size": st.integers(1, 2**31 - 1),
    "optimizer": st.sampled_from(["sgd", "adam", "adamw"]),
    "weight_decay": st.floats(0, 1e300),
    "layer_decay": st.floats(0, 1, exclude_min=True),
    "clip_norm": st.none() | st.floats(0, 1e300, exclude_min=True),
    "precision": st.sampled_from(["float32", "bfloat16"]),
    "trained": st.sampled_from(["all", "last_stage", "head"]),
    "resolution": st.integers(SIDE, SIDE),
    "mean": st.tuples(*[st.floats(0, 1)] * 3),
    "deviation": st.tuples(*[st.floats(1e-6, 1e300)] * 3),
    "shift": st.integers(0, 2**14),
    "crop": st.floats(0, 1, exclude_min=True),
    **dict.fromkeys(["mixup", "cutmix"], st.just(0.0) | st.floats(0.01, 1000)),
    **dict.fromkeys(["momentum", "warmup", "averaging", "label_smoothing"], SHARES),
    **dict.fromkeys(["standardise", "refresh_norms", "freeze_norms", "flip"], st.booleans()),
}


@pytest.mark.slow
@given(st.fixed_dictionaries({}, optional=POSSIBLE))
@settings(max_examples=25)
def test_recipe_that_is_taken_is_trained_with(changes):
    """Every value within its bounds trains, whatever comes of it, or is refused in words."""
    recipe = with_changes(replace(LEAST, threads=1), **{"resolution": SIDE, **changes})
    with suppress(CaseError):  # as of layers that timm cannot tell
        run = trained(small_case(recipe=recipe, build=pictures_net)).run

        assert run.status in ("finished", "diverged", "implausible")


FIELDS = {
    "size as text": ({"size": "1200"}, "case linear: size is '1200', needs 1 or more, a whole"),
    "no size": ({"size": 0}, "case linear: size is 0, needs 1 or more"),
    "no repeats": ({"repeats": 0}, "case linear: repeats is 0, needs 1 or more"),
    "half a repeat": (
        {"repeats": 1.5},
        "case linear: repeats is 1.5, needs 1 or more, a ",
    ),
    "repeats as bool": ({"repeats": True}, "case linear: repeats is True"),
    "no label": ({"label": "", "model": "m"}, "case: label is '', needs text without line"),
    "lines": ({"label": "a\nb", "model": "m"}, "case a.+nb: label is 'a\\\\nb', needs text"),
    "label of another type": ({"label": 3, "model": "m"}, "case 3: label is 3, needs text"),
    "no family": ({"family": ""}, "case linear: family is ''"),
    "profile": ({"profile": "quik"}, "case linear: profile is 'quik', .*did you mean 'quick'"),
    "reference": ({"reference": ["a"]}, "case linear: reference is .*, needs a dict from text"),
    "words as reference": ({"reference": {"a": "b"}}, "case linear: reference is"),
    "flops": ({"flops": float("nan")}, "case linear: flops is nan, needs 0 or more, a finite"),
    "at once": ({"seeds_at_once": "yes"}, "case linear: seeds_at_once is 'yes', needs True or"),
    "no builder": ({"build": None}, "training linear: build is None, needs a function that"),
    "a net": ({"build": linear(3)}, "training linear: build is Sequential.*, needs a function"),
    "a class": ({"task": Classification}, "training linear: task is .*, and not the class"),
    "no task": ({"task": "classification"}, "training linear: task is 'classification'"),
    "no recipe": ({"recipe": {}}, "training linear: recipe is {}, needs a Recipe"),
    "a function": ({"data": squares()}, "training linear: data is .*, needs a Source, as in"),
    "no start": ({"start": ""}, "training linear: start is ''"),
    "no model": ({"model": None}, "training None: model is None, needs text"),
}


@pytest.mark.parametrize(("wrong", "words"), FIELDS.values(), ids=FIELDS)
def test_field_of_a_case_is_checked_as_it_is_made(wrong, words):
    """Another type, or a value that nothing can be done with, is named with its field."""
    with pytest.raises(ValueError, match=f"^{words}"):
        small_case(**wrong)


OTHERS = {
    "source without a name": (Source, {"name": ""}, "source: name is ''"),
    "source of data": (Source, {"name": "x", "open": {}}, "source x: open is {}, needs a func"),
    "source of keys": (Source, {"name": "x", "arguments": {1: 2}}, "source x: arguments is"),
    "source of a pair": (Source, {"name": "x", "arguments": None}, "source x: arguments is"),
    "seeded": (Source, {"name": "x", "seeded": 1}, "source x: seeded is 1, needs True or"),
    "metric's side": (
        Metric,
        {"name": "x", "better": "low"},
        "metric x: better is 'low', needs higher or lower or neither; did you mean 'lower'",
    ),
    "metric's format": (
        Metric,
        {"name": "x", "better": "lower", "format": "{:d}"},
        "metric x: format is '{:d}', needs a format of one number",
    ),
    "metric's name": (Metric, {"name": "", "better": "lower"}, "metric: name is ''"),
}


@pytest.mark.parametrize(("kind", "fields", "words"), OTHERS.values(), ids=OTHERS)
def test_field_of_a_source_or_metric_is_checked_as_it_is_made(kind, fields, words):
    """What a report or another process would stumble over is refused where it is written."""
    with pytest.raises(ValueError, match=f"^{words}"):
        kind(**fields)


def test_metrics_of_a_task_are_metrics():
    """A task that lists names in place of metrics is refused with its training."""

    class Own(Classification):
        metrics = ("test_accuracy",)

    with pytest.raises(ValueError, match="training linear: task.metrics is .*a tuple of"):
        small_case(task=Own())


def test_least_recipe_is_accepted():
    """The limits that the messages name can be used."""
    recipe = with_changes(
        LEAST, batch_size=1, patience=1, resolution=1, threads=1, warmup=0, crop=1, mixup=0
    )

    assert (recipe.warmup, recipe.transforms.resolution, recipe.transforms.crop) == (0, 1, 1)


def test_change_reaches_recipe_and_transforms():
    """One call sets fields of a recipe and of its transforms, and leaves the rest."""
    recipe = with_changes(LEAST, epochs=7, flip=True)

    assert recipe == Recipe(epochs=7, learning_rate=0.1, transforms=Transforms(flip=True))
    assert LEAST.epochs == 1


def test_all_models_are_found():
    """The collection has every model that the benchmark promises."""
    assert {case.training.model for case in CASES} >= MODELS


def test_order_is_the_same_every_time():
    """Cases come sorted, so every worker of pytest-xdist collects alike."""
    keys = [(case.family, case.training.model, case.size, case.label) for case in CASES]

    assert keys == sorted(keys)
    assert discover(amlnn_models) == CASES


def test_modules_without_cases_are_passed_over(package_of):
    """A helper beside the models needs no `CASES`, and the names of files set no order."""
    make = "from small_cases import small_case\nCASES = [small_case('{}')]"
    package = package_of("two_models", first=make.format("b"), last=make.format("a"), helper="")

    assert [str(case) for case in discover(package)] == ["a", "b"]


def test_broken_model_is_not_hidden(package_of):
    """An error in one model's file reaches the user instead of a shorter list."""
    with pytest.raises(ZeroDivisionError):
        discover(package_of("broken_models", fine="CASES = []", wrong="1 / 0"))


@pytest.mark.parametrize("archive", [False, True], ids=["embedded", "archive"])
@pytest.mark.parametrize("profile", ["quick", "seed", "lab", "full"])
@pytest.mark.parametrize("family", ["cnn", "rnn"])
def test_ids_are_unique(family, profile, archive):
    """No two cases that are collected together share an id."""
    counts = Counter(labels(family, profile, archive=archive))

    assert counts.most_common(1)[0][1] == 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.profile}-{case}")
def test_case_travels(case):
    """A case crosses processes by pickle and goes on record as JSON."""
    plain = json.loads(json.dumps(case_to_plain(case), allow_nan=False))

    assert case_to_plain(pickle.loads(pickle.dumps(case))) == plain  # noqa: S301


def test_record_names_the_builder():
    """The record says which function built the net, and all of the recipe."""
    plain = case_to_plain(small_case(epochs=7))["training"]

    assert plain["build"] == f"{linear.__module__}.linear"
    assert plain["recipe"]["epochs"] == 7
    assert plain["recipe"].keys() == Recipe.__dataclass_fields__.keys()
    assert plain["recipe"]["transforms"].keys() == Transforms.__dataclass_fields__.keys()


def test_record_names_the_builder_behind_a_partial():
    """A builder with its resolution filled in is recorded by the function's own name."""
    case = next(case for case in CASES if case.label == "vgg11-random-600")

    assert case_to_plain(case)["training"]["build"] == "amlnn_models.vgg.vgg11"
    assert case_to_plain(case)["training"]["arguments"] == {"resolution": 32}


REPRS = """
from functools import cache, partial

from pytest_amlnn import Case, FORECAST, Recipe, Source, Training


class Net:
    def __call__(self, outputs):
        pass

    def build(self, outputs):
        pass


for build in (Net, Net(), Net().build, partial(Net, act=len), cache(Net.build), lambda n: n):
    data = Source(name="ar", open=build, arguments={"size": 3, "by": "day", "made": build})
    recipe = Recipe(epochs=1, learning_rate=0.1)
    training = Training(model="m", build=build, recipe=recipe, task=FORECAST, data=data)
    case = Case(training=training, size=3, label="m-3", family="rnn")
    print(case, [case, training, data, FORECAST, recipe])
"""


def test_values_look_alike_in_every_process():
    """Whatever builds a net, a case and all it holds have one `repr`: no address, no order.

    Other tools recognise a test in its history by the `repr` of its parameters.
    """
    shown = [
        subprocess.run(
            [sys.executable, "-c", REPRS],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        ).stdout
        for seed in ("1", "2")
    ]

    assert shown[0] == shown[1]
    assert " at 0x" not in shown[0]
    assert "build=__main__.Net," in shown[0]


def test_repr_of_a_case_names_it():
    """No two cases of the collection have the same `repr`, and each can be read at a glance."""
    shown = [repr(case) for case in CASES]

    assert "Case(rnn, quick, 'lstm-1000')" in shown
    assert len({*shown}) == len(CASES)
    assert max(map(len, shown)) < 100


@pytest.mark.parametrize(
    ("family", "profile", "archive", "label"),
    [
        ("cnn", "quick", False, "vgg19-random-shapes-600"),
        ("cnn", "quick", False, "vgg19-random-shapes-200"),
        ("cnn", "quick", True, "vgg19-random-600"),
        ("cnn", "seed", False, "vgg19-random-10k"),
        ("cnn", "lab", False, "vgg19-random-10k"),
        ("cnn", "full", False, "vgg19-random-90k"),
        ("cnn", "full", False, "vgg19-random-all"),
        ("rnn", "quick", False, "lstm-3000"),
        ("rnn", "seed", False, "lstm-1000"),
        ("rnn", "lab", False, "lstm-9000"),
        ("rnn", "lab", False, "transformer-9000"),
        ("rnn", "full", False, "lstm-27000"),
        ("rnn", "full", False, "lstm-nike-1000"),
        ("rnn", "full", False, "lstm-3000-steps"),
    ],
)
def test_ids_have_the_documented_form(family, profile, archive, label):
    """Ids are the ones that files of limits and other programs rely on."""
    assert label in labels(family, profile, archive=archive)


def test_quick_pictures_come_from_the_archive_only_if_one_is_named():
    """In `quick` an archive replaces the embedded set, picture case by picture case."""
    without, with_one = (labels("cnn", "quick", archive=archive) for archive in (False, True))

    assert all("-shapes-" in label for label in without)
    assert with_one == [label.replace("-shapes-", "-") for label in without]


@pytest.mark.parametrize("profile", ["seed", "lab", "full"])
def test_larger_profiles_use_tiny_imagenet_alone(profile):
    """Beyond `quick` the cases are the same whether the archive is named or found."""
    without, with_one = (labels("cnn", profile, archive=archive) for archive in (False, True))

    assert without == with_one
    assert not [label for label in without if "shapes" in label]


OWN = {
    "random": {"learning_rate", "standardise"},
    "imagenet": {"learning_rate", "mean", "deviation"},
}
"""What a net's recipe in `full` has of its own: what it needs to learn at all."""


@pytest.mark.parametrize("start", OWN)
def test_full_trains_all_nets_alike(start):
    """In `full` recipes of one start are equal but for learning rate and initialisation, or
    the normalisation that weights were trained with."""
    cases, _ = chosen_and_known("cnn", "full")
    found = [plain_of(c.training.recipe, "") for c in cases if c.training.start == start]
    flat = [{**recipe.pop("transforms"), **recipe} for recipe in found]
    values = {name: {json.dumps(recipe[name]) for recipe in flat} for name in flat[0]}

    assert len({c.training.model for c in cases}) == 8
    assert {name for name, given in values.items() if len(given) > 1} <= OWN[start]


def test_series_do_not_depend_on_the_archive():
    """Naming an archive of pictures leaves the forecasts alone."""
    assert labels("rnn", "quick", archive=True) == labels("rnn", "quick", archive=False)


def test_presets_and_step_budget_are_in_full_alone():
    """`quick` and `seed` forecast the one default series, at two sizes for each model."""
    for profile in ("quick", "seed"):
        assert {label.split("-", 1)[1] for label in labels("rnn", profile)} == {"1000", "3000"}


def test_step_budget_takes_as_many_steps_at_every_size():
    """The `-steps` cases train for fewer epochs on more points, in proportion."""
    chosen, _ = chosen_and_known("rnn", "full")
    cases = [c for c in chosen if (c.training.model, c.variant) == ("lstm", "steps")]
    seen = {case.size: case.size * case.training.recipe.epochs for case in cases}

    assert len(seen) > 1
    assert max(seen.values()) == pytest.approx(min(seen.values()), rel=0.05)


def test_known_cases_include_those_not_collected():
    """Limits may be set for both datasets of a profile, of which one is collected."""
    chosen, known = chosen_and_known("cnn", "quick")

    assert set(map(str, known)) == {*map(str, chosen), *labels("cnn", "quick", archive=True)}


def test_other_family_is_left_out():
    """A test function gets the cases of the one family and profile that it asks for."""
    own = small_case("mine", family="mlp", profile="seed")
    cases = [own, small_case("quick", family="mlp"), small_case("other", family="cnn")]

    assert select(cases, family="mlp", profile="seed", named=[]) == ([own], [own])


def test_tiny_imagenet_ten_thousand_carries_the_original_report():
    """VGG-19 on 10,000 pictures stands beside what the original report gives for it."""
    cases = [case for case in CASES if case.training.model == "vgg19"]
    references = {(case.profile, str(case)): dict(case.reference) for case in cases}

    assert references["seed", "vgg19-random-10k"]["test_accuracy"] == 0.0023
    assert references["full", "vgg19-random-90k"] == {}
