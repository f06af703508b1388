"""What a training is, as plain data that can be stored and compared."""

from __future__ import annotations

import enum
import functools
import json
import math
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_cases import line_case, linear, small_case
from torch import nn
from torch.nn import functional

from pytest_amlnn import Classification, Recipe, Source, Transforms
from pytest_amlnn.callables import functions_in
from pytest_amlnn.identity import case_to_plain, differences, training_to_plain
from pytest_amlnn.plain import IdentityError, plain_of

HERE = __name__
LINEAR = "small_cases.linear"


@dataclass(frozen=True)
class Point:
    """A dataclass of somebody else."""

    x: Any = 1
    y: Any = field(default=(2, 3))

    def build(self, outputs: int) -> nn.Module:
        """Build a net."""
        return linear(outputs)


class Builder:
    """Builds nets, and tells nothing of itself."""

    def __init__(self, depth: int) -> None:
        self.depth = depth

    def build(self, outputs: int) -> nn.Module:
        """Build a net."""
        return linear(outputs)

    @classmethod
    def build_any(cls, outputs: int) -> nn.Module:
        """Build a net."""
        return linear(outputs)


class Caller(Builder):
    """Builds nets when it is called, and tells nothing of itself either."""

    __call__ = Builder.build


class Named(Builder):
    """Builds nets when it is called, and has a text."""

    def __call__(self, outputs: int) -> nn.Module:
        """Build a net."""
        return linear(outputs)

    def __repr__(self) -> str:
        return f"Named({self.depth})"


def around(depth: Any) -> Callable[[int], Any]:
    """Return a function that holds a value."""

    def build(outputs: int) -> Any:
        return linear(outputs), depth

    return build


def counting_down() -> Callable[[int], Any]:
    """Return a function that calls itself."""

    def build(outputs: int) -> Any:
        return build(outputs - 1)

    return build


def opened(**arguments: Any) -> Any:
    """Open data of somebody else."""


@lru_cache
def cached(outputs: int) -> nn.Module:
    """Build a net once."""
    return linear(outputs)


@torch.no_grad()
def decorated(outputs: int) -> nn.Module:
    """Build a net without gradients."""
    return linear(outputs)


NAMED = {"class": f"{HERE}.Named", "text": "Named(3)", "depth": 3}
AROUND, POINT = f"{HERE}.around.<locals>.build", {"class": f"{HERE}.Point", "x": 1, "y": [2, 3]}


# values


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (0.5, 0.5),
        (math.inf, "inf"),
        (math.nan, "nan"),
        ("text", "text"),
        ((1, [2.5, None]), [1, [2.5, None]]),
        ({1: "a", "b": (2,)}, {"1": "a", "b": [2]}),
        ({"b", "a"}, {"set": ["a", "b"]}),
        (frozenset({2, 1}), {"set": [1, 2]}),
        (linear, LINEAR),
        (nn.Linear, "torch.nn.modules.linear.Linear"),
        (len, "builtins.len"),
        (Point, f"{HERE}.Point"),
        (torch.float32, "torch.float32"),
        (Named(3), NAMED),
        (Point(), POINT),
        (Point(x=[Point()]), {**POINT, "x": [POINT]}),
        (Point(x=linear), {**POINT, "x": LINEAR}),
    ],
)
def test_value_as_plain_data(value, plain):
    """Numbers stay, functions and classes are named, containers and dataclasses hold theirs."""
    found = plain_of(value, "it")

    assert found == plain
    assert json.loads(json.dumps(found, allow_nan=False)) == found


FILLED = {"partial": LINEAR, "0": 3}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (partial(linear, 3), FILLED),
        (partial(linear, outputs=3), {"partial": LINEAR, "outputs": 3}),
        (partial(partial(linear, 3), bias=True), {**FILLED, "bias": True}),
        ([partial(linear, 3)], [FILLED]),
        ({"nets": [{"first": partial(linear, 3)}]}, {"nets": [{"first": FILLED}]}),
        (partial(linear, partial(linear, 3)), {"partial": LINEAR, "0": FILLED}),
        (partial(linear, Point()), {"partial": LINEAR, "0": POINT}),
        (Point(x=partial(linear, 3)), {**POINT, "x": FILLED}),
        (partial(Named(2), 3), {"partial": {**NAMED, "text": "Named(2)", "depth": 2}, "0": 3}),
    ],
)
def test_partial_is_a_function_and_its_arguments(value, plain):
    """Wherever a partial stands, its function is named and its arguments are with it."""
    assert plain_of(value, "it") == plain


@pytest.mark.parametrize("depth", [3, [linear], partial(linear, 3), around(4)])
def test_closure_is_a_function_and_what_it_holds(depth):
    """Of a function made by another one, what it holds of that one counts, however deep."""
    held = {"partial": AROUND, "closure.depth": plain_of(depth, "it")}

    assert plain_of(around(depth), "it") == held
    assert plain_of([{"net": around(depth)}], "it") == [{"net": held}]
    assert plain_of(partial(around(depth), 1), "it") == {**held, "0": 1}


def test_function_that_holds_itself_ends():
    """A function made by another one may call itself."""
    assert plain_of(counting_down(), "it") == f"{HERE}.counting_down.<locals>.build"
    assert len([*functions_in(counting_down())]) == 1


def test_function_that_holds_nothing_yet():
    """What a function will hold, and was not assigned, is nothing."""

    def build(outputs: int) -> Any:
        return later

    assert plain_of(build, "it")["closure.later"] is None
    later = 1


def test_method_counts_with_what_its_object_holds():
    """Two objects of one class build different nets by the same method."""
    three, five = (plain_of(Builder(depth).build, "it") for depth in (3, 5))

    name, kind = f"{HERE}.Builder.build", f"{HERE}.Builder"

    assert three == {"method": name, "class": kind, "depth": 3}
    assert five == {**three, "depth": 5}
    assert plain_of(Point().build, "it").keys() == {"method", "class", "x", "y"}


def test_method_counts_with_the_class_that_it_is_called_by():
    """A class that inherits a method may build other nets by it, without an object too."""
    inherited, own = plain_of(Named.build_any, "it"), plain_of(Builder.build_any, "it")

    assert inherited == {"method": f"{HERE}.Builder.build_any", "class": f"{HERE}.Named"}
    assert own == {**inherited, "class": f"{HERE}.Builder"}
    assert Named in functions_in(Named.build_any)
    assert Named in functions_in(Named(3).build)


def test_function_behind_a_cache_is_named():
    """A function that keeps its results is the function that it was."""
    assert plain_of(cached, "it") == f"{HERE}.cached"
    assert [*functions_in(partial(cached, 1))] == [cached.__wrapped__]


def test_decorated_function_is_named():
    """A builder may be decorated by torch; what the decorator holds has a stable text."""
    assert plain_of(decorated, "it")["partial"] == f"{HERE}.decorated"
    assert plain_of(decorated, "it") == plain_of(decorated, "it")


@pytest.mark.parametrize(("make", "last"), [(np.array, 2**-52), (torch.tensor, 2**-23)])
def test_array_counts_to_the_last_bit(make, last):
    """A short array or tensor, such as weights of classes, is told from one nearly equal."""
    first, second = (plain_of(make([1 / 3, 1 + bit]), "it") for bit in (0, last))

    assert first != second
    assert first == plain_of(make([1 / 3, 1]), "it")


class Colour(enum.Enum):
    """Values of somebody else."""

    RED = 1
    GREEN = 2


@dataclass
class Slotted:
    """An object without a __dict__."""

    __slots__ = ("x",)
    x: Any


class Numbered:
    """An object whose text is its place in memory."""

    def __repr__(self) -> str:
        return f"<Numbered {id(self)}>"


class Hiding:
    """An object whose text does not say what it holds."""

    def __init__(self, x: Any) -> None:
        self.x = x

    def __repr__(self) -> str:
        return "Hiding()"


def local_class(width: int) -> type:
    """Return a class that holds a number twice."""

    class Net(nn.Module):
        wide = width

        def __init__(self, outputs: int) -> None:
            super().__init__()
            self.net = nn.Linear(width, outputs)

    return Net


def local_default(width: int) -> Callable[[int], Any]:
    """Return a function whose default holds a number."""
    return lambda outputs, width=width: nn.Linear(width, outputs)


LONG = [0.0] * 5000
DIFFERENT = {
    "number and flag": [
        1,
        True,
        1.0,
        np.float64(1),
        np.int64(1),
        np.float32(1),
        Decimal(1),
        "1",
    ],
    "zero": [0.0, -0.0, 0, False, np.float64(-0.0)],
    "long numbers": [10**5000, 10**5000 + 1, -(10**5000)],
    "no number": [math.nan, math.inf, -math.inf, None],
    "functions of torch": [functional.relu, torch.relu, functional.gelu, torch.Tensor.relu],
    "functions of numpy": [np.mean, np.exp, np.add],
    "bound to text": ["a".upper, "b".upper, [].append, [1].append],
    "long arrays": [np.array(LONG), np.array([*LONG[:-1], 1e-300]), torch.tensor(LONG)],
    "types of arrays": [
        np.zeros(2),
        np.zeros(2, np.float32),
        np.zeros((2, 1)),
        np.array([0.0, -0.0]),
        torch.zeros(2),
        torch.zeros(2, dtype=torch.bfloat16),
    ],
    "order of keys": [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
    "containers": [[1], {1}, {1: 1}, {"1"}, ["1"], (1, 1)],
    "members": [Colour.RED, Colour.GREEN, 1],
    "patterns": [re.compile("a" * 300), re.compile("a" * 301), re.compile("a" * 300, re.I)],
    "paths": [Path("a"), Path("b"), "a"],
    "lambdas": [lambda n: n + 1, lambda n: n + 2, lambda n, m=1: n],
    "defaults": [local_default(1), local_default(2), local_default(True)],
    "local classes": [local_class(1), local_class(2)],
    "objects": [Hiding(1), Hiding(2), Slotted(1), Slotted(2)],
    "types": [
        torch.float32,
        torch.float64,
        np.dtype("f4"),
        np.dtype("f8"),
        np.float32,
        list[int],
    ],
    "texts": ["\ud800", "\ud801", b"a", "a"],
}


@pytest.mark.parametrize("values", DIFFERENT.values(), ids=DIFFERENT.keys())
@pytest.mark.parametrize(
    "around",
    [lambda value: value, lambda value: [{"x": (value,)}], Point],
    ids=["itself", "nested", "a field"],
)
def test_values_that_a_builder_can_tell_apart_differ(values, around):
    """At any depth no two of these are written alike, and each alike every time."""
    texts = [json.dumps(plain_of(around(value), "it"), allow_nan=False) for value in values]

    assert len({*texts}) == len(values)
    assert texts == [json.dumps(plain_of(around(value), "it")) for value in values]
    assert not any(" at 0x" in text for text in texts)
    for text in texts:
        text.encode()


plain_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(plain_values)
def test_what_is_stored_says_that_nothing_changed(value):
    """Whatever plain value: it is stored as JSON, and what is read back differs in nothing."""
    plain = plain_of(value, "it")
    stored = json.loads(json.dumps(plain, allow_nan=False))

    assert differences({"it": stored}, {"it": plain}) == []


@given(plain_values, plain_values)
def test_what_differs_is_said(one, other):
    """Of any two values: they are said to be the same exactly where they are written alike."""
    first, second = plain_of(one, "it"), plain_of(other, "it")
    same = json.dumps(first) == json.dumps(second)

    assert (differences({"it": first}, {"it": second}) == []) == same


@pytest.mark.parametrize("value", [{1: "a", "1": "b"}, {None: 1, "None": 2}])
def test_keys_that_read_alike_are_refused(value):
    """A mapping whose keys could not be told apart is refused."""
    with pytest.raises(IdentityError, match="has two keys that read"):
        plain_of(value, "it")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (nn.Linear(2, 2), "Linear with weights, which a training changes"),
        (torch.zeros(2, device="meta"), "cannot be read"),
        (np.random.default_rng(0), "has another text in every process"),
        (Mock(), "Mock .*cannot be read"),
        (Numbered(), "has another text in every process"),
        (np.array([object()]), "has another text in every process"),
        (functools.partial(linear, nn.BatchNorm2d(3)), "BatchNorm2d with weights"),
    ],
    ids=["net", "meta", "generator", "mock", "number", "objects", "norm"],
)
def test_what_changes_or_cannot_be_read_is_refused(value, words):
    """Weights, which a training changes, and what has no bytes, are refused in words."""
    with pytest.raises(IdentityError, match=f"^it is .*{words}"):
        plain_of(value, "it")


def test_long_value_is_cut_in_a_message():
    """What differs is named, and not shown in full where that is long."""
    (words,) = differences({"a": "x" * 1000}, {"a": None})

    assert len(words) < 250
    assert words.endswith("..., is None")


OPAQUE = [
    object(),
    Builder(3),
    threading.Lock(),
    iter([1]),
    {"a": [Builder(3)]},
    partial(linear, Builder(3)),
    around(Builder(3)),
    Point(x=Builder(3)),
]


@pytest.mark.parametrize("value", OPAQUE, ids=lambda value: type(value).__name__)
def test_object_without_a_stable_text_is_refused(value):
    """What reads otherwise in every process, or not in full, is refused in words."""
    with pytest.raises(IdentityError) as caught:
        plain_of(value, "an argument of build")

    assert str(caught.value).startswith("an argument of build is ")
    assert str(caught.value).endswith(
        ", which has another text in every process, so a stored run could not be told from"
        " another one: use a function, a class, a dataclass or plain data"
    )


# trainings


def training(**changes: Any) -> dict[str, Any]:
    """Give a small training as plain data."""
    return training_to_plain(small_case(**changes).training)


class Weighted(Classification):
    """A task that holds a number and a function."""

    def __init__(self, weight: float, loss: Any = linear) -> None:
        self.weight, self.by = weight, loss

    @cached_property
    def doubled(self) -> float:
        """Twice the weight, computed when it is wanted."""
        return 2 * self.weight


@dataclass(frozen=True)
class Weighed(Classification):
    """The same as a dataclass."""

    weight: float


SOURCE = Source(name="squares", open=opened, arguments={"size": 60})


@pytest.mark.parametrize(
    ("before", "after", "fields"),
    [
        ({"model": "a"}, {"model": "b"}, {"model"}),
        ({"build": linear}, {"build": opened}, {"build", "code"}),
        ({"build": partial(linear, bias=True)}, {"build": linear}, {"arguments.bias"}),
        ({"build": partial(linear, 1)}, {"build": partial(linear, 2)}, {"arguments.0"}),
        ({"build": around(1)}, {"build": around(2)}, {"arguments.closure.depth"}),
        ({"build": Builder(1).build}, {"build": Builder(2).build}, {"build.depth"}),
        ({"epochs": 3}, {"epochs": 4}, {"recipe.epochs"}),
        ({"flip": False}, {"flip": True}, {"recipe.transforms.flip"}),
        ({"task": Weighted(1)}, {"task": Weighted(2)}, {"task_fields.weight"}),
        ({"task": Weighed(1)}, {"task": Weighed(2)}, {"task_fields.weight"}),
        ({"data": SOURCE}, {"data": replace(SOURCE, name="other")}, {"dataset"}),
        ({"data": SOURCE}, {"data": replace(SOURCE, open=linear)}, {"open", "code"}),
        (
            {"data": SOURCE},
            {"data": replace(SOURCE, arguments={"size": 61})},
            {"data.size"},
        ),
        (
            {"data": replace(SOURCE, open=partial(opened, noise=1))},
            {"data": replace(SOURCE, open=partial(opened, noise=2))},
            {"data.noise"},
        ),
        ({"start": "random"}, {"start": "imagenet"}, {"start"}),
    ],
)
def test_change_of_a_training_is_named(before, after, fields):
    """Whatever numbers follow from tells trainings apart, by the path of its field."""
    changes = differences(training(**before), training(**after))
    named = {words.split(" was ")[0] for words in changes}

    assert {"code" if name.startswith("code.") else name for name in named} == fields


@pytest.mark.parametrize(
    "changes",
    [
        {"label": "other", "model": "linear"},
        {"family": "other"},
        {"profile": "full"},
        {"repeats": 9},
        {"size": 61},
        {"reference": {"test_accuracy": 0.5}},
        {"flops": 2.0},
        {"seeds_at_once": True},
        {"cuda_graphs": True},
    ],
    ids=str,
)
def test_listing_is_no_part_of_a_training(changes):
    """How a case is listed, repeated and sped up changes nothing of what is trained."""
    assert training(**{"label": "linear", **changes}) == training()


def test_place_of_the_files_is_no_part_of_a_training():
    """The same data may lie somewhere else on each machine."""
    placed = replace(SOURCE, placed=True)

    assert training(data=placed.at("/here")) == training(data=placed.at("/there"))


def test_equal_trainings_are_equal_on_disk():
    """What was stored as JSON is the same as what is computed anew, infinities included."""
    build = partial(linear, limit=math.inf, sizes=(1, 2))
    plain = training(build=build, task=Weighted(0.5))

    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert differences(plain, training(build=build, task=Weighted(0.5))) == []


def test_task_may_keep_what_it_computed():
    """What a task computes once when it is wanted does not make it another task."""
    fresh, used = Weighted(1), Weighted(1)

    assert used.doubled == 2
    assert training(task=used) == training(task=fresh)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"build": partial(linear, Builder(1))}, "^an argument of build is <"),
        ({"build": Caller(1)}, "^build is <"),
        ({"task": Weighted(1, Builder(1))}, "^a field of the task is <"),
        ({"data": Source(name="a", open=Caller(1))}, "^data.open is <"),
        ({"data": replace(SOURCE, arguments={"a": Builder(1)})}, "^an argument of data is <"),
    ],
)
def test_refusal_says_which_part_of_the_training(changes, words):
    """The message names the part that cannot be stored."""
    with pytest.raises(IdentityError, match=words):
        training(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"build": opened},
        {"build": partial(linear, opened)},
        {"build": partial(linear, [{"a": opened}])},
        {"build": partial(linear, Point(x=opened))},
        {"build": around(opened)},
        {"build": Point(x=opened).build},
        {"build": Named(3)},
        {"task": Weighted(1)},
        {"data": SOURCE},
    ],
)
def test_code_of_all_that_a_training_holds_counts(changes):
    """Functions and classes count by their code, wherever the training holds them."""
    assert HERE in training(**changes)["code"]


def test_code_beside_a_training_does_not_count():
    """A training that holds nothing of this file has no digest of it."""
    assert HERE not in training()["code"]


# cases


def test_case_is_its_listing_and_its_training():
    """A record holds how a case is listed, and apart from it what is trained."""
    case = small_case("linear", variant="steps", reference={"test_accuracy": 0.5})

    assert case_to_plain(case) == {
        "size": 60,
        "label": "linear",
        "family": "small",
        "profile": "quick",
        "variant": "steps",
        "repeats": 2,
        "group": "small squares 60",
        "reference": {"test_accuracy": 0.5},
        "training": training_to_plain(case.training),
    }


def test_training_has_all_of_its_recipe():
    """No field of a recipe or of its transforms is left out, for any of them may decide."""
    plain = training_to_plain(line_case().training)["recipe"]

    assert plain.keys() == Recipe.__dataclass_fields__.keys()
    assert plain["transforms"].keys() == Transforms.__dataclass_fields__.keys()


def test_path_is_text():
    """An argument that has a text of its own is recorded by it."""
    assert plain_of(Path("a/b"), "it") == {"path": "a/b"}


def test_data_given_as_a_function_count_by_their_code():
    """What a test hands to `train` belongs to the training, as a case's own source does."""
    case = small_case("linear")

    def own(seed: int) -> None:
        return None

    assert HERE in case_to_plain(case, own)["training"]["code"]
    assert HERE not in case_to_plain(case)["training"]["code"]


def test_functions_that_hold_each_other_are_refused():
    """A closure that leads back to itself has no text: it is refused in words."""

    def one(outputs: int) -> object:
        return other

    def other(outputs: int) -> object:
        return one

    with pytest.raises(IdentityError, match="hold each other"):
        case_to_plain(small_case("linear", build=one))
