"""Data: what is refused before training, and sources that open them in any process."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures_on_disk import original, write
from small_cases import line_case, small_case, squares, trained

import amlnn_models
from amlnn_datasets import series, shapes, tiny_imagenet
from pytest_amlnn import (
    CLASSIFICATION,
    FORECAST,
    Case,
    DataError,
    Examples,
    Pictures,
    Series,
    Source,
    Split,
    discover,
)
from pytest_amlnn.checks import check_splits
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
        "train split: the target of row 5 is -1, and there are 3 classes, 0 to 2",
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
    "a mask of rows": ({"rows": np.ones(60, bool)}, "rows are bool, needs integers"),
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
    "a scale of 0": ({"scale": 0.0}, "series: center is "),
    "a scale that is no number": ({"scale": np.nan}, "series: center is "),
    "a center that is no number": ({"center": np.inf}, "series: center is inf, scale "),
}


@pytest.mark.parametrize(("changes", "words"), BESIDE.values(), ids=BESIDE)
def test_series_with_wrong_values_beside_its_splits_is_refused(changes, words):
    """Forecasts and noise need a value for each test target, units a finite one above 0."""
    with pytest.raises(DataError) as error:
        FORECAST.check(replace(WINDOWS, **changes), RECIPE)

    assert str(error.value).startswith(words)


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
