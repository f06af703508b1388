"""What is said of two cases: each rule by a pair that triggers it, and by near misses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from small_facts import LEVEL, facts, forecast, pair, said, with_answers

from pytest_amlnn.report.facts import Facts
from pytest_amlnn.report.groups import facts_of
from pytest_amlnn.report.reasons import REASONS, fit
from pytest_amlnn.report.rules_of_pairs import confounders, of_pair
from pytest_amlnn.result import gather

GOOD, BAD = (0.80, 0.81, 0.82), (0.60, 0.61, 0.63)


def told(first: Facts, second: Facts) -> dict[str, str]:
    """Return what is said of two cases, by rule."""
    return {one.rule: one.text for one in of_pair(pair(first, second))}


def fitted(label: str, test: float, train: float, **changes) -> Facts:
    """Return a case with these accuracies."""
    metrics = {"train_accuracy": train, **changes.pop("metrics", {})}
    values = [test, test + 0.01, test - 0.01 - 0.001 * len(label)]
    return facts(label, values, metrics=metrics, **changes)


# whether it is a comparison


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"batch_size": 8}, "trained in different ways (batch_size)"),
        (
            {"transforms": {"resolution": 4}},
            "(crop, cutmix, flip, mixup, resolution and shift)",
        ),
        ({"learning_rate": 1.0}, "compared each with settings of its own (learning_rate)"),
        ({"clip_norm": 1.0, "batch_size": 8}, "different ways (batch_size and clip_norm)"),
        ({"threads": 7}, ""),
        ({"precision_cuda": "float32"}, ""),
    ],
)
def test_unlike_recipes_are_named_first(recipe, words):
    """What two rows differ in is said before anything else: that is compared, too."""
    found = said(facts("a", GOOD), facts("b", BAD, recipe=recipe))

    assert (found[0].rule == "not_alike") is bool(words)
    assert words in found[0].text
    assert found[0].rule != "not_alike" or all(" and " in line for line in found[0].evidence)


def test_what_is_not_set_is_said_in_words():
    """A field that is None on one side is `none` in the evidence."""
    first, second = facts("a"), facts("b", recipe={"clip_norm": 1.0})

    assert confounders(pair(first, second)) == {"clip_norm": ("none", "1.0")}


def test_other_precision_and_other_data_confound():
    """The precision that was computed in counts, and so does another digest of the data."""
    first, second = facts("a"), facts("b", precision="bfloat16")
    third = facts("c")
    for run in third.result.runs:
        run.data["digest"] = "1" * 64

    assert [*confounders(pair(first, second))] == ["precision"]
    assert [*confounders(pair(first, third))] == ["data"]


def test_sizes_may_differ_in_their_data():
    """Two sizes of a dataset have two digests by design: that confounds nothing."""
    small, large = (facts(f"net-{size}", model="net", size=size) for size in (100, 200))
    for run in large.result.runs:
        run.data["digest"] = "1" * 64

    assert confounders(pair(small, large)) == {}


# whether it is a difference


def test_sure_difference_is_told_with_its_interval():
    """Better by how much, from where to where, by how many seeds, and how sure that is."""
    found = {one.rule: one for one in said(facts("a", GOOD), facts("b", BAD))}

    assert "a is better than b: by 19.7 points of test_accuracy [" in found["distinct"].text
    assert "paired by 3 seeds" in found["distinct"].text
    assert "chance of so large a difference between equals" in found["distinct"].evidence[1]
    assert "indistinct" not in found


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0.70, 0.90, 0.71), "rests on seed 1 alone"),
        ((0.71, 0.74, 0.68), "not distinguishable: 0.7 points"),
        ((0.71,), "3 seeds or more of each would tell more"),
    ],
)
def test_difference_that_chance_makes(values, words):
    """Two cases are not distinguishable: why not is said, and no reason is given."""
    other = (0.70, 0.71, 0.70)[: len(values)]
    found = told(facts("a", values), facts("b", other))

    assert [*found] == ["indistinct"]
    assert words in found["indistinct"]


def test_what_passes_alone_does_not_among_many():
    """A chance below a twentieth is explained by how many comparisons there are."""
    best = facts("a", (0.80, 0.81, 0.82))
    near = facts("b", (0.76, 0.78, 0.775))
    rest = [facts(name, (0.785, 0.80, 0.83)) for name in "cdef"]
    found = [one.text for one in said(best, near, *rest) if one.cases[1].endswith("[b]")]

    assert pair(best, near).sure
    assert "Alone it would pass for one" in found[0]
    assert "among 15 comparisons" in found[0]


def test_gain_from_data_is_told_with_its_slope():
    """More data help: by how much, and what each doubling does to the error."""
    large = facts("net-400", (0.86, 0.87, 0.85), model="net", size=400)
    small = facts("net-100", (0.44, 0.46, 0.42), model="net", size=100)
    (found,) = [one for one in said(large, small) if one.rule == "distinct"]

    assert "net gains from 400 instead of 100 examples" in found.text
    assert "each doubling lowers the error by 50.0 %" in found.evidence[2]


def test_loss_by_more_data_is_told_as_such():
    """A model that is worse on the larger size is said to be."""
    large = facts("net-400", BAD, model="net", size=400)
    small = facts("net-100", GOOD, model="net", size=100)

    assert "net is worse with more data, 400 instead of 100" in told(large, small)["distinct"]


# why


def test_trained_weights_knew_something():
    """Trained weights are told by what they got right before the first step."""
    metrics = {"start_accuracy": 0.5, "val_accuracy": 0.8}
    first = facts("a", GOOD, model="net", metrics=metrics)
    second = facts("b", BAD, model="net")
    for run in first.result.runs:
        run.case["training"]["start"] = "imagenet"
    first, second = facts_of(gather([*first.result.runs, *second.result.runs]), None)

    assert (
        "right before the first step, and 80.0 % after"
        in told(first, second)["trained_weights"]
    )


@pytest.mark.parametrize(
    ("parameters", "rule", "no_larger"),
    [(4000, "larger_net", False), (1500, "learns_more", False), (500, "learns_more", True)],
)
def test_net_that_fits_its_examples_better(parameters, rule, no_larger):
    """A better fit explains a difference: by size where the net is twice as large."""
    first = fitted("a", 0.80, 0.90, metrics={"parameters": parameters})
    second = fitted("b", 0.62, 0.70, metrics={"parameters": 1000})
    found = told(first, second)

    assert rule in found
    assert ("no larger" in found[rule]) is no_larger


def test_unlike_examples_are_not_compared_by_fit():
    """Augmented examples are harder: with them on one side, fits are not compared."""
    first = fitted("a", 0.80, 0.60, recipe={"label_smoothing": 0.1})
    second = fitted("b", 0.62, 0.90)

    assert fit(pair(first, second)) is None
    assert "generalises_better" not in told(first, second)


def test_net_that_generalises_better():
    """Two nets fit alike: the one with the smaller gap generalises better."""
    found = told(fitted("a", 0.80, 0.90), fitted("b", 0.62, 0.92))

    assert re.search(r"10\.\d points against 30\.\d points", found["generalises_better"])


def test_net_with_an_equal_gap_does_not():
    """A net that fits its examples better, and is better by as much, generalises no better."""
    found = told(fitted("a", 0.80, 0.90), fitted("b", 0.70, 0.80))

    assert "generalises_better" not in found


@pytest.mark.parametrize(
    ("loss", "rule"), [(0.5, "learns_more"), (1.0, "unexplained"), (2.0, "overfits_less")]
)
def test_forecasters_are_compared_by_their_losses(loss, rule):
    """Without accuracies the training losses of the tested epochs tell who fits better."""
    first = forecasts_of("a", GOOD, loss)

    assert rule in told(first, forecasts_of("b", BAD, 1.0))


def forecasts_of(label: str, values: tuple[float, ...], loss: float) -> Facts:
    """Return a forecaster with these efficiencies and this training loss."""
    return forecast(label, values, name="efficiency", rows=[(loss, 0, 1, 0)] * 4)


def test_data_close_the_gap():
    """More data lower the gap between training and test, and are more steps, too."""
    large = fitted("net-400", 0.85, 0.90, model="net", size=400, rows=[LEVEL] * 8)
    small = fitted("net-100", 0.55, 0.97, model="net", size=100, rows=[LEVEL] * 4)
    found = told(large, small)

    assert "falls from 42" in found["data_closes_the_gap"]
    assert "16 steps instead of 8" in found["more_steps"]


def test_as_many_steps_are_not_named():
    """Two sizes that were trained for as many steps differ by their data."""
    large = fitted("net-400", 0.85, 0.90, model="net", size=400)
    small = fitted("net-100", 0.55, 0.97, model="net", size=100)

    assert "more_steps" not in told(large, small)


# what it looks like


def test_answers_are_told_by_class(tmp_path):
    """Which examples one gets right and the other does not, and in which class."""
    ours = [[True] * 95 + [False] * 5] * 3
    theirs = [
        [True] * 50 + [False] * 48 + [True] * 2,
        [True] * 48 + [False] * 52,
        [True] * 52 + [False] * 48,
    ]
    first, second = with_answers(tmp_path, {"a": ours, "b": theirs})
    found = told(first, second)["answers_that_differ"]

    assert "Of 100 test examples a gets" in found
    assert "The difference is spread" in found  # of two classes, two are no news


def test_answers_of_other_examples_are_not_compared(tmp_path):
    """Where names of test examples differ, nothing is said of them."""
    (first,) = with_answers(tmp_path / "a", {"a": [[True] * 95 + [False] * 5] * 3})
    (second,) = with_answers(tmp_path / "b", {"b": [[True] * 40 + [False] * 40] * 3})

    assert "answers_that_differ" not in told(first, second)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(30.0, "takes 3.0 times as long"), (2.0, "takes only 20.0 % of the time"), (12.0, "")],
)
def test_cost_of_what_is_better(seconds, words):
    """What is better is said to cost more, or less, where it is half as much again."""
    first = facts("a", GOOD, metrics={"train_seconds": seconds})
    found = told(first, facts("b", BAD, metrics={"train_seconds": 10.0}))

    assert words in found.get("costs_more", "")
    assert ("costs_more" in found) is bool(words)


def test_shared_machine_tells_no_cost():
    """Times of runs that shared the machine are not compared."""
    first = facts("a", GOOD, metrics={"train_seconds": 99.0}, contended=True)

    assert "costs_more" not in told(first, facts("b", BAD))


def test_unexplained_difference_shows_the_facts():
    """Where no rule explains a difference, that is said, with what was measured."""
    pairs = of_pair(pair(forecasts_of("a", GOOD, 1.0), forecasts_of("b", BAD, 1.0)))
    (found,) = [one for one in pairs if one.rule == "unexplained"]

    assert found.text == "What was measured does not explain the difference of a and b."
    assert len(found.evidence) >= 3


def test_every_reason_is_tried():
    """No reason is added without a test here that names it."""
    text = Path(__file__).read_text(encoding="utf-8")

    assert [one.__name__ for one in REASONS if f'"{one.__name__}"' not in text] == []
