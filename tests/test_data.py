"""Data: what is refused before training, and sources that open them in any process."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pictures_on_disk import original, write
from small_cases import line_case, small_case, squares, trained
from small_runs import small_run
from torch import nn

import amlnn_models
from amlnn_datasets import series, shapes, tiny_imagenet
from pytest_amlnn import (
    CLASSIFICATION,
    FORECAST,
    Case,
    Classification,
    DataError,
    Examples,
    Pictures,
    Result,
    Series,
    Source,
    Split,
    discover,
)
from pytest_amlnn.case import CaseError
from pytest_amlnn.checks import SharedRows, check_splits
from pytest_amlnn.data import facts_of
from pytest_amlnn.job import Job

SQUARES: Pictures = squares()(0)
WINDOWS: Series = series.splits("ar", points=150, longest=150, test=60, window=8, seed=0)
RECIPE = small_case().training.recipe


def with_split(splits: Any, name: str, **changes: Any) -> Any:
    """Return the splits with fields of one of them set anew."""
    return replace(splits, **{name: replace(getattr(splits, name), **changes)})


def holding(array: np.ndarray, place: int | tuple[int, ...], value: float) -> np.ndarray:
    """Return a copy of an array that holds a value at this place."""
    changed = np.array(array)
    changed[place] = value
    return changed


# what is refused

PIXELS, LABELS = SQUARES.train.inputs, SQUARES.train.targets
PICTURES = {
    "float pictures": (
        {"inputs": (PIXELS / 255).astype(np.float32)},
        "train split: pictures are float32, needs uint8 in 0..255; multiply floats in 0..1"
        " by 255 and round",
    ),
    "int pictures": (
        {"inputs": PIXELS.astype(np.int64)},
        "train split: pictures are int64, needs uint8 in 0..255",
    ),
    "grey pictures": (
        {"inputs": PIXELS[..., 0]},
        "train split: pictures are (60, 8, 8), needs (n, height, width, 3); repeat grey"
        " pictures three times, along a last axis",
    ),
    "grey pictures with an axis": (
        {"inputs": PIXELS[..., :1]},
        "train split: pictures are (60, 8, 8, 1), needs (n, height, width, 3); repeat grey",
    ),
    "channels first": (
        {"inputs": PIXELS.transpose(0, 3, 1, 2)},
        "train split: pictures are (60, 3, 8, 8), needs (n, height, width, 3); channels come"
        " last: inputs.transpose(0, 2, 3, 1)",
    ),
    "pictures around 0": (
        {"inputs": PIXELS / 127.5 - 1},
        "train split: pictures are float64, needs uint8 in 0..255; add 1 to floats in -1..1,"
        " multiply by 127.5 and round",
    ),
    "float pictures in 0..255": (
        {"inputs": PIXELS.astype(np.float16)},
        "train split: pictures are float16, needs uint8 in 0..255; round, and then inputs.as",
    ),
    "large pictures": (
        {"inputs": PIXELS.astype(np.uint16) * 300},
        "train split: pictures are uint16, needs uint8 in 0..255; they lie in ",
    ),
    "pictures of True": (
        {"inputs": PIXELS > 99},
        "train split: pictures are bool, needs uint8 in 0..255; multiply True and False by 255",
    ),
    "pictures that lost all but 0 and 1": (
        {"inputs": (PIXELS / 255).astype(np.uint8)},
        "train split: no value of 60 pictures is above 1, needs 0..255; multiply pictures in",
    ),
    "pictures in a list": (
        {"inputs": np.array([*PIXELS, None], object)[:-1]},
        "train split: pictures are object, needs uint8 in 0..255; np.stack(list(inputs))",
    ),
    "opaque pictures": (
        {"inputs": PIXELS[..., [0, 1, 2, 2]]},
        "train split: pictures are (60, 8, 8, 4), needs (n, height, width, 3); leave out the"
        " fourth channel, how opaque they are: inputs[..., :3]",
    ),
    "grey, channels first": (
        {"inputs": PIXELS[..., :1].transpose(0, 3, 1, 2)},
        "train split: pictures are (60, 1, 8, 8), needs (n, height, width, 3); channels come",
    ),
    "flat pictures": (
        {"inputs": PIXELS.reshape(60, -1)},
        "train split: pictures are (60, 192), needs (n, height, width, 3); give flat pictures",
    ),
    "pictures without width": (
        {"inputs": PIXELS[:, :, :0]},
        "train split: pictures are (60, 8, 0, 3), needs (n, height, width, 3); an axis has no",
    ),
    "shares of labels": (
        {"targets": np.eye(3)[LABELS]},
        "train split: targets are float64 (60, 3), needs one integer label a row, from 0 to 2:"
        " targets.argmax(1)",
    ),
    "labels in words": (
        {"targets": np.array(["a", "b", "c"])[LABELS]},
        "train split: targets are <U1 (60,), needs one integer label a row, from 0 to 2:"
        " classes, targets = np.unique(targets, return_inverse=True)",
    ),
    "labels beyond int64": (
        {"targets": LABELS.astype(np.uint64) + 2**63},
        "train split: the target of row 2 is 9223372036854775810, and there are 3 classes",
    ),
    "float labels": (
        {"targets": LABELS.astype(np.float64)},
        "train split: targets are float64 (60,), needs one integer label a row, from 0 to 2",
    ),
    "true and false": (
        {"targets": LABELS > 0},
        "train split: targets are bool (60,), needs one integer label a row",
    ),
    "labels of one column": (
        {"targets": LABELS[:, None]},
        "train split: targets are int64 (60, 1), needs one integer label a row",
    ),
    "labels from 1": (
        {"targets": LABELS + 1},
        "train split: the target of row 2 is 3, and there are 3 classes, 0 to 2; labels count"
        " from 0, subtract 1",
    ),
    "a label below 0": (
        {"targets": holding(LABELS, 5, -1)},
        "train split: the target of row 5 is -1, and there are 3 classes, 0 to 2; leave out"
        " what has no label",
    ),
    "a label above the last": (
        {"targets": holding(LABELS, 7, 9)},
        "train split: the target of row 7 is 9, and there are 3 classes, 0 to 2",
    ),
}
VALUES = WINDOWS.train.inputs
SERIES = {
    "windows of integers": (
        {"inputs": VALUES.astype(np.int64)},
        "train split: windows are int64 (202, 8), needs floats (n, window)",
    ),
    "windows with an axis": (
        {"inputs": VALUES[..., None]},
        "train split: windows are float64 (202, 8, 1), needs floats (n, window)",
    ),
    "targets with an axis": (
        {"targets": WINDOWS.train.targets[:, None]},
        "train split: targets are float64 (112, 1), needs one float a row",
    ),
    "windows of no points": (
        {"inputs": VALUES[:, :0]},
        "train split: windows are float64 (202, 0), needs floats (n, window)",
    ),
    "windows of objects": (
        {"inputs": VALUES.astype(object)},
        "train split: windows are object (202, 8), needs floats (n, window)",
    ),
    "a value that overflows": (
        {"inputs": holding(VALUES, (7, 2), 1e300)},
        "train split: row 7 holds a value 1.",
    ),
    "a value that its square overflows": (
        {"inputs": holding(VALUES, (7, 2), -1e20)},
        "train split: row 7 holds a value 1.",
    ),
    "a target that overflows": (
        {"targets": holding(WINDOWS.train.targets, 4, 1e36)},
        "train split: row 4 holds a value 1.21e+36 standard deviations from the center",
    ),
    "targets of integers": (
        {"targets": WINDOWS.train.targets.astype(np.int64)},
        "train split: targets are int64 (112,), needs one float a row",
    ),
}
ANY = {
    "no examples": (
        {"rows": np.arange(0), "targets": LABELS[:0], "names": []},
        "it has no examples",
    ),
    "no targets": (
        {"targets": LABELS[:0]},
        "it has 60 rows and 0 of targets; it needs one for each row",
    ),
    "one target less": ({"targets": LABELS[:-1]}, "it has 60 rows and 59 of targets"),
    "one name for all": ({"names": ["a picture"]}, "it has 60 rows and 1 of names"),
    "a name twice": (
        {"names": [f"{i % 59}.png" for i in range(60)]},
        "two examples are named 0.png; names must differ",
    ),
    "a row too many": (
        {"rows": np.arange(1, 61)},
        "row 60 is none of the inputs' rows, 0 to 59",
    ),
    "a row from the end": ({"rows": np.arange(-1, 59)}, "row -1 is none of the inputs' rows"),
    "rows of floats": ({"rows": np.arange(60.0)}, "rows are float64, needs integers"),
    "rows in a list": ({"rows": [*range(60)]}, "rows are a list, needs a numpy array"),
    "a mask of rows": (
        {"rows": np.ones(60, bool)},
        "rows are bool, needs integers: np.flatnonzero(mask)",
    ),
    "rows with an axis": (
        {"rows": np.arange(60)[:, None]},
        "rows are int64 (60, 1), needs",
    ),
    "inputs in a list": (
        {"inputs": PIXELS.tolist()},
        "inputs are a list, needs a numpy",
    ),
    "a tensor": (
        {"inputs": torch.from_numpy(PIXELS)},
        "inputs are a Tensor, needs a numpy array: values.numpy(force=True)",
    ),
    "masked inputs": (
        {"inputs": np.ma.masked_array(PIXELS, PIXELS > 3)},
        "inputs are a MaskedArray, needs a numpy array; fill or leave out what is masked",
    ),
    "one number": ({"inputs": np.array(3)}, "inputs are one number, needs one for each row"),
    "one text for all names": ({"names": "n" * 60}, "names are 'nnn"),
    "names to be made": ({"names": (str(i) for i in range(60))}, "names are <generator"),
    "names that are numbers": ({"names": range(60)}, "names are not all text; use strings"),
    "no names": ({"names": None}, "names are None, needs a list of text"),
}


@pytest.mark.parametrize(("changes", "words"), PICTURES.values(), ids=PICTURES)
def test_pictures_that_cannot_be_trained_on_are_refused(changes, words):
    """Another kind, shape or label is named with its split and, where there is one, its row."""
    with pytest.raises(DataError) as error:
        CLASSIFICATION.check(with_split(SQUARES, "train", **changes), RECIPE)

    assert str(error.value).startswith(words)


@pytest.mark.parametrize(("changes", "words"), SERIES.values(), ids=SERIES)
def test_windows_that_cannot_be_trained_on_are_refused(changes, words):
    """Another kind or shape is named with its split."""
    with pytest.raises(DataError) as error:
        FORECAST.check(with_split(WINDOWS, "train", **changes), RECIPE)

    assert str(error.value).startswith(words)


@pytest.mark.parametrize("name", ["train", "validation", "test"])
@pytest.mark.parametrize(("changes", "words"), ANY.values(), ids=ANY)
def test_split_whose_parts_do_not_fit_is_refused(changes, words, name):
    """Whatever the task, the message begins with the split."""
    whole = Examples(train=SQUARES.train, validation=SQUARES.train, test=SQUARES.train)
    with pytest.raises(DataError) as error:
        check_splits(with_split(whole, name, **changes))

    assert str(error.value).startswith(f"{name} split: {words}")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_series_with_a_value_that_is_no_number_is_refused(name, value):
    """The message names the split, and the first of the rows that hold it."""
    split: Split = getattr(WINDOWS, name)
    row = int(split.rows[3])
    inputs = holding(split.inputs, (row, 2), value)
    targets = holding(split.targets, 3, value)
    for changes, part in (({"inputs": inputs}, "inputs"), ({"targets": targets}, "targets")):
        with pytest.raises(DataError) as error:
            FORECAST.check(with_split(WINDOWS, name, **changes), RECIPE)

        assert str(error.value).startswith(
            f"{name} split: {part} of row {row} hold a value that is no finite number; remove"
        )


def test_row_that_no_split_has_may_hold_anything():
    """What is never read is not looked at."""
    split = WINDOWS.train
    inputs = holding(split.inputs, int(split.rows[-1]) + 1, np.nan)

    FORECAST.check(with_split(WINDOWS, "train", inputs=inputs), RECIPE)


BESIDE = {
    "a forecast too short": (
        {"forecasts": {"oracle": WINDOWS.test.targets[:-1]}},
        "test split: oracle is float64 (59,), needs one finite float for each of 60 targets",
    ),
    "a forecast that is no number": (
        {"forecasts": {"oracle": holding(WINDOWS.test.targets, 4, np.nan)}},
        "test split: oracle is float64 (60,), needs one finite float for each of 60 targets",
    ),
    "one noise scale for all": (
        {"noise_scale": 0.2},
        "test split: noise_scale is float64 (), needs one finite float for each of 60 targets",
    ),
    "a forecast of integers": (
        {"forecasts": {"oracle": WINDOWS.test.targets.astype(int)}},
        "test split: oracle is int64 (60,), needs one finite float for each of 60 targets",
    ),
    "a forecast with an axis": (
        {"forecasts": {"oracle": WINDOWS.test.targets[:, None]}},
        "test split: oracle is float64 (60, 1), needs one finite float for each of 60 targets",
    ),
    "a forecast in the place of the truth": (
        {"forecasts": {"truth": WINDOWS.test.targets}},
        "series: a forecast is named 'truth'; needs a name of letters, digits and underscores",
    ),
    "a forecast that no column can name": (
        {"forecasts": {"a b/c": WINDOWS.test.targets}},
        "series: a forecast is named 'a b/c'; needs a name",
    ),
    "forecasts without names": (
        {"forecasts": None},
        "series: forecasts are None, needs",
    ),
    "forecasts by number": (
        {"forecasts": {1: WINDOWS.test.targets}},
        "series: forecasts are {1: ",
    ),
    "noise below 0": (
        {"noise_scale": -WINDOWS.noise_scale},
        "test split: noise_scale is below 0, needs a standard deviation",
    ),
    "an error without an end": (
        {"naive_error": np.inf},
        "series: naive_error is inf, needs 0 or more, or None",
    ),
    "an error in words": ({"naive_error": "x"}, "series: naive_error is 'x', needs 0 or more"),
    "a scale of 0": ({"scale": 0.0}, "series: center is "),
    "a scale for each": ({"scale": np.ones(3)}, "series: center is "),
    "a scale in words": ({"scale": "1"}, "series: center is "),
    "no center": ({"center": None}, "series: center is None, scale "),
    "too small a scale": (
        {"scale": 1e-300},
        "train split: row 104 holds a value 2.01e+300 standard deviations from the center",
    ),
    "a scale that is no number": ({"scale": np.nan}, "series: center is "),
    "a center that is no number": ({"center": np.inf}, "series: center is inf, scale "),
}


@pytest.mark.parametrize(("changes", "words"), BESIDE.values(), ids=BESIDE)
def test_series_with_wrong_values_beside_its_splits_is_refused(changes, words):
    """Forecasts and noise need a value for each test target, units a finite one above 0."""
    with pytest.raises(DataError) as error:
        FORECAST.check(replace(WINDOWS, **changes), RECIPE)

    assert str(error.value).startswith(words)


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (("a", "a", "b"), "classes: two are named 'a'; names must differ"),
        (("a",), r"classes are \('a',\), needs two or more to tell apart"),
        ((), r"classes are \(\), needs two or more"),
        ("abc", "classes are 'abc', needs a tuple of text, one a class"),
        ((0, 1, 2), r"classes are \(0, 1, 2\), needs a tuple of text"),
        (None, "classes are None, needs a tuple of text"),
    ],
)
def test_classes_are_two_or_more_different_texts(classes, words):
    """Names that do not tell classes apart are refused, with what they are."""
    with pytest.raises(DataError, match=f"^{words}"):
        CLASSIFICATION.check(replace(SQUARES, classes=classes), RECIPE)


@pytest.mark.parametrize("task", [CLASSIFICATION, FORECAST], ids=["pictures", "series"])
@pytest.mark.parametrize(
    ("splits", "words"),
    [
        (None, "the data are None, without train, validation, test, facts; needs three splits"),
        ((1, 2, 3), "the data are a tuple, without train"),
        (replace(SQUARES, test=None), "test split: it is None, without inputs, rows"),
        (replace(SQUARES, test=(PIXELS, LABELS)), "test split: it is a tuple, without inputs"),
    ],
    ids=["None", "a tuple", "no split", "a pair"],
)
def test_what_is_no_splits_is_named(task, splits, words):
    """A source that gives something else is told what it gave, and what is needed."""
    with pytest.raises(DataError, match=f"^{words}"):
        task.check(splits, RECIPE)


def test_splits_of_another_task_are_named():
    """Examples without what a task needs besides are refused before it looks for that."""
    parts = {name: getattr(WINDOWS, name) for name in ("train", "validation", "test")}
    with pytest.raises(DataError, match="the data have no center, scale.*; needs a Series"):
        FORECAST.check(Examples(**parts), RECIPE)


@pytest.mark.filterwarnings("ignore::pytest_amlnn.checks.SharedRows")
def test_values_that_float32_cannot_square_are_named_as_the_data_are():
    """A fill value among floats that a task takes as they are is no fault of a recipe."""
    random = np.random.RandomState(0)
    inputs = holding(random.rand(60, 4).astype(np.float32), (7, 2), 1e20)
    split = replace(SQUARES.train, inputs=inputs, targets=LABELS)
    splits = replace(SQUARES, train=split, validation=split, test=split)
    with pytest.raises(DataError, match=r"train split: inputs of row 7 hold 1e\+20, whose sq"):
        Classification().check(splits, RECIPE)


def test_rows_that_two_splits_share_are_said():
    """A test split of training rows is warned of, with how many and the first."""
    leaking = with_split(SQUARES, "test", inputs=PIXELS, rows=np.arange(40, 60) % 60)
    leaking = with_split(leaking, "test", targets=LABELS[40:], names=[*map(str, range(20))])
    with pytest.warns(SharedRows, match="train and test split share 20 of 20 rows"):
        check_splits(leaking)


def read_only(array: np.ndarray) -> np.ndarray:
    """Return a copy of an array that cannot be written to."""
    copy = array.copy()
    copy.setflags(write=False)
    return copy


LAYOUTS = {
    "read only": read_only,
    "backwards": lambda array: array[::-1].copy()[::-1],
    "in steps": lambda array: np.repeat(array, 2, 0)[::2],
    "columns first": np.asfortranarray,
    "other bytes": lambda array: array.astype(array.dtype.newbyteorder()),
}


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize(
    ("case", "splits", "metric"),
    [
        (small_case(epochs=1), SQUARES, "test_loss"),
        (line_case(epochs=1), WINDOWS, "test_mse"),
        (
            small_case(epochs=1, task=Classification(), build=lambda n: nn.Linear(2, n)),
            replace(
                SQUARES,
                **{
                    name: replace(split, inputs=split.inputs[:, 0, :2, 0] / np.float32(255))
                    for name in ("train", "validation", "test")
                    for split in [getattr(SQUARES, name)]
                },
            ),
            "test_loss",
        ),
    ],
    ids=["pictures", "series", "table"],
)
def test_how_arrays_lie_in_memory_changes_no_bit(case, splits, metric, layout):
    """Arrays that are read-only, turned, stepped or of other byte order train as all do."""

    def laid(split: Split) -> Split:
        arrays = {name: layout(getattr(split, name)) for name in ("inputs", "rows", "targets")}
        return replace(split, **arrays)

    other = replace(
        splits,
        train=laid(splits.train),
        validation=laid(splits.validation),
        test=laid(splits.test),
    )
    expected = trained(case, lambda seed: splits).run.metrics[metric]

    assert trained(case, lambda seed: other).run.metrics[metric] == expected


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.longdouble])
def test_series_of_other_floats_are_trained_on(kind):
    """Half and long floats forecast about as well as doubles."""

    def of_kind(split: Split) -> Split:
        return replace(
            split, inputs=split.inputs.astype(kind), targets=split.targets.astype(kind)
        )

    names = ("train", "validation", "test")
    other = replace(WINDOWS, **{name: of_kind(getattr(WINDOWS, name)) for name in names})
    expected, found = (
        trained(line_case(epochs=1), lambda seed, s=s: s).run.metrics["test_mse"]
        for s in (WINDOWS, other)
    )

    assert found == pytest.approx(expected, rel=1e-2)


KINDS = ["u1", "i1", "u2", "i8", ">i4", "f2", "f4", "f8", "?", "c8", "O", "U1"]
SHAPES = st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple)


@st.composite
def arrays(draw, count: int | None = None) -> np.ndarray:
    """Draw an array of any kind and shape, of so many rows or any number."""
    shape = draw(SHAPES | st.just((6, 4, 4, 3)))
    shape = (shape[0] if count is None else count, *shape[1:])
    values = np.random.RandomState(draw(st.integers(0, 9))).randint(0, draw(st.sampled_from(
        [1, 2, 3, 200])), shape)  # fmt: skip
    array = values.astype(draw(st.sampled_from(KINDS)))
    if array.dtype.kind in "fc" and array.size and draw(st.booleans()):
        array.flat[0] = draw(st.sampled_from([np.nan, np.inf, 1e30, -1.0]))
    return array


@st.composite
def splits_of_arrays(draw) -> Split:
    """Draw a split that may be wrong in any way."""
    count = draw(st.integers(0, 6))
    pictures = np.random.RandomState(0).randint(0, 255, (6, 4, 4, 3), np.uint8)
    fit = st.just(np.arange(count) % 3)
    return Split(
        inputs=draw(st.just(pictures) | arrays()),
        rows=draw(st.just(np.arange(count)) | arrays(count)),
        targets=draw(fit | fit.map(lambda t: t.astype("u2")) | arrays(count)),
        names=draw(st.just([*map(str, range(count))]) | st.lists(st.text(max_size=1))),
    )


def any_net(outputs: int) -> nn.Module:
    """Build a net for inputs of any shape."""
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(outputs))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@given(
    splits_of_arrays(),
    st.sampled_from([small_case(epochs=1, resolution=4), small_case(task=Classification())]),
)
@hypothesis.settings(max_examples=60)
def test_split_is_refused_or_trained_on(split, case):
    """Whatever a split holds, it is refused in words, or trained and tested on."""
    case = replace(case, training=replace(case.training, build=any_net))
    splits = replace(SQUARES, train=split, validation=split, test=split)
    with suppress(DataError, CaseError):
        assert trained(case, lambda seed: splits).run.status in ("finished", "implausible")


HOLDS_ITSELF: dict[str, object] = {}
HOLDS_ITSELF["self"] = [HOLDS_ITSELF]


@pytest.mark.parametrize(
    "fact",
    [
        np.arange(2),
        float("nan"),
        np.float32("inf"),
        b"bytes",
        {("a", "b"): 1},
        {1: "a", "1": "b"},
        object(),
        10**40,
        HOLDS_ITSELF,
        {"deep": [{"inside": (1, {2, float("nan")})}]},
    ],
    ids=[
        "array", "nan", "inf", "bytes", "key", "keys", "object", "large", "itself", "inside",
    ],
)  # fmt: skip
def test_facts_that_cannot_be_stored_are_refused(fact):
    """What JSON has no text for is refused before training, by its place among the facts."""
    splits = replace(SQUARES, facts={**SQUARES.facts, "pictures": fact})
    with pytest.raises(
        DataError,
        match=r"^facts of the dataset cannot .* JSON: facts\['pictures'\].* (use|keys)",
    ):
        CLASSIFICATION.check(splits, RECIPE)


@pytest.mark.parametrize("facts", [None, [], "squares", {"counts": 3}, {"counts": {"a": "b"}}])
def test_facts_of_another_shape_are_refused(facts):
    """Facts are a dict, and counts in it one from split to number: reports show them."""
    with pytest.raises(DataError, match=r"^facts of the dataset .*; use a dict"):
        CLASSIFICATION.check(replace(SQUARES, facts=facts), RECIPE)


FACTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates()
    | st.binary(max_size=2) | st.builds(np.int64, st.integers(-9, 9))
    | st.builds(np.float32, st.floats(width=32)) | st.builds(np.bool_, st.booleans())
    | st.builds(Path, st.just("a/b")),
    lambda inner: st.lists(inner, max_size=3)
    | st.tuples(inner)
    | st.dictionaries(st.text(max_size=2) | st.integers(0, 3) | st.none(), inner, max_size=3)
    | st.sets(st.integers() | st.text(max_size=1), max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(FACTS)
def test_facts_are_plain_or_refused(fact):
    """Whatever a dataset says of itself can be written and read back, or is refused."""
    try:
        plain = facts_of(replace(SQUARES, facts={"fact": fact}))
    except DataError:
        return

    text = json.dumps(plain, allow_nan=False, ensure_ascii=False)
    assert json.loads(text.encode()) == plain


@pytest.mark.parametrize("counts", [None, 3, [], {}, {"train": 60}, {"test": None}])
def test_result_survives_whatever_a_dataset_counted(counts):
    """Without the number of test examples an accuracy has a mean, and no interval."""
    result = Result(id="test_small[linear]", runs=(small_run(data={"counts": counts}),))

    assert result.metrics["test_accuracy"].mean == 0.75


def test_numbers_of_numpy_and_paths_go_on_record():
    """Facts that JSON has no text for, but that have a plain form, are stored in that."""
    counts = {"train": np.int64(60), "validation": np.int64(30)}
    said = {"name": "squares", "digest": Path("a/b"), "counts": counts, "mean": np.float64(0.5)}
    outcome = trained(small_case(epochs=1), lambda seed: replace(SQUARES, facts=said))

    assert outcome.dataset == json.loads(json.dumps(dict(outcome.dataset)))
    assert outcome.dataset["counts"] == {"train": 60, "validation": 30}
    assert outcome.run.data["digest"] == "a/b"


@pytest.mark.parametrize(
    ("case", "splits"),
    [
        (small_case(), with_split(SQUARES, "test", inputs=SQUARES.test.inputs / 255)),
        (line_case(), replace(WINDOWS, scale=0.0)),
    ],
    ids=["pictures", "series"],
)
def test_nothing_is_trained_on_refused_data(case, splits):
    """A test split that cannot be scored is refused before the first step."""
    steps = []
    build = case.training.build

    def noted(outputs: int) -> object:
        steps.append(outputs)
        return build(outputs)

    case = replace(case, training=replace(case.training, build=noted))
    with pytest.raises(DataError):
        trained(case, lambda seed: splits)

    assert steps == []


@pytest.mark.parametrize("case", [small_case(), line_case()], ids=["pictures", "series"])
def test_task_checks_all_of_its_splits(case):
    """Validation and test are looked at as training is."""
    task = case.training.task
    splits = SQUARES if task is CLASSIFICATION else WINDOWS
    task.check(splits, RECIPE)
    for name in ("train", "validation", "test"):
        flat = getattr(splits, name).inputs.reshape(-1)
        with pytest.raises(DataError, match=f"^{name} split: (pictures|windows) are"):
            task.check(with_split(splits, name, inputs=np.resize(flat, 300)), RECIPE)


# sources

CASES = discover(amlnn_models)
CHILD = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    jobs = pickle.load(file)
sources = {job.data.name: job.data for job in reversed(jobs)}
opened = {name: dict(source(1).facts) for name, source in sources.items()}
with open(sys.argv[2], "wb") as file:
    pickle.dump((len(jobs), opened), file)
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """A small archive in Tiny ImageNet's layout."""
    return write(tmp_path_factory.mktemp("archive"), "zip", original())


def as_job(case: Case, data: Any, out: Path) -> Job:
    """Return what an engine is given of a case."""
    return Job(case=case, id=f"test[{case}]", seeds=(1, 2), data=data, out=out, device="cpu")


@pytest.mark.slow
def test_jobs_of_the_whole_collection_are_computed_anywhere(archive, tmp_path):
    """A process that imports nothing but pickle has all cases, and opens the same data."""
    small = tiny_imagenet.source(size=12, classes=3, validation=2).at(str(archive))
    jobs = [
        as_job(case, small if case.training.data.placed else case.training.data, tmp_path)
        for case in CASES
    ]
    sent, back = tmp_path / "jobs", tmp_path / "opened"
    sent.write_bytes(pickle.dumps(jobs))
    subprocess.run([sys.executable, "-c", CHILD, sent, back], check=True, cwd=tmp_path)
    count, opened = pickle.loads(back.read_bytes())  # noqa: S301 - our own

    assert count == len(CASES)
    assert opened.keys() == {"shapes", "tiny-imagenet", *series.PRESETS}
    sources = {job.data.name: job.data for job in reversed(jobs)}  # the smallest of each
    assert opened == {name: dict(source(1).facts) for name, source in sources.items()}


def test_job_comes_back_as_it_was(tmp_path):
    """What is sent is what arrives, field by field."""
    (case, *_) = CASES
    job = as_job(case, case.training.data, tmp_path)
    other = pickle.loads(pickle.dumps(job))  # noqa: S301 - our own

    assert {**vars(other), "case": str(other.case)} == {**vars(job), "case": str(case)}


@pytest.mark.parametrize(
    "data", [squares(), Source(name="squares")], ids=["a function", "a source of none"]
)
def test_job_whose_data_are_a_function_stays_here(data, tmp_path):
    """It is refused in words when it is to be sent to another process."""
    with pytest.raises(DataError) as error:
        pickle.dumps(as_job(small_case(), data, tmp_path))

    assert str(error.value) == (
        "test[linear]: its data are given as a function, which stays in this process; give the"
        " case a Source that names an importable function"
    )


def test_source_that_opens_nothing_says_what_to_do():
    """A test that forgot its data is told how to hand them over."""
    with pytest.raises(DataError, match=r"names no function that opens squares: call train\("):
        Source(name="squares")(0)


def made(**arguments: object) -> dict[str, object]:
    """Return what it was called with."""
    return arguments


@pytest.mark.parametrize(
    ("source", "arguments"),
    [
        (Source(name="x", open=made), {}),
        (Source(name="x", open=made, arguments={"size": 3}), {"size": 3}),
        (
            Source(name="x", open=made, arguments={"size": 3}, seeded=True),
            {"size": 3, "seed": 7},
        ),
        (Source(name="x", open=made, placed=True), {"place": None}),
        (Source(name="x", open=made, placed=True).at("here"), {"place": "here"}),
        (Source(name="x", open=made).at("here"), {}),
    ],
    ids=["plain", "arguments", "seeded", "placed", "placed here", "not placed"],
)
def test_source_opens_its_data_with_what_they_follow_from(source, arguments):
    """The arguments always, the seed where it draws the data, the place where files lie."""
    assert source(7) == arguments


def test_source_says_what_is_missing():
    """It is asked as the data are opened, without a seed; without a function all is there."""
    asked = Source(
        name="x",
        open=made,
        arguments={"size": 3},
        seeded=True,
        placed=True,
        missing=lambda **arguments: f"no {sorted(arguments.items())}",
    )

    assert asked.at("here").unavailable() == "no [('place', 'here'), ('size', 3)]"
    assert Source(name="x", open=made).unavailable() is None


def test_sources_of_the_datasets_open_their_splits(archive):
    """A source gives what the function behind it gives."""
    drawn = {"points": 100, "longest": 150, "test": 20, "window": 6}
    shown = {"size": 20, "classes": 10, "validation": 2}
    stored = {"size": 12, "classes": 3, "validation": 2}
    pairs: list[tuple[Source, Callable[[], Any]]] = [
        (series.source("ar", **drawn), lambda: series.splits("ar", **drawn, seed=5)),
        (shapes.source(**shown), lambda: shapes.splits(**shown)),
        (
            tiny_imagenet.source(**stored).at(str(archive)),
            lambda: tiny_imagenet.splits(archive, **stored),
        ),
    ]
    for source, splits in pairs:
        opened, expected = source(5), splits()
        assert opened.facts == expected.facts
        assert np.array_equal(opened.test.targets, expected.test.targets)
        assert source.unavailable() is None


def test_files_that_are_not_here_are_said_with_the_command():
    """Without an archive the source says how to get it, and opening it says the same."""
    source = tiny_imagenet.source(size=12, classes=3, validation=2)

    assert "`amlnn fetch tiny-imagenet` gets it" in source.unavailable()
    with pytest.raises(DataError, match="`amlnn fetch tiny-imagenet` gets it"):
        source(0)
