"""Two sides compared pair by pair, and the word for which of them is better."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_amlnn.comparison import UNDECIDED, compare
from pytest_amlnn.statistics import spread, spread_of_ratios

MIRRORED = {"better": "worse", "worse": "better", UNDECIDED: UNDECIDED, "": ""}


def pairs_of(values: st.SearchStrategy[float], least: int, most: int) -> st.SearchStrategy:
    """Give lists of pairs of such values."""
    return st.lists(st.tuples(values, values), min_size=least, max_size=most)


def sides(pairs: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Give the first and the second values of pairs."""
    return [first for first, _ in pairs], [second for _, second in pairs]


def test_differences_are_summed_up_pair_by_pair():
    """The spread is that of the differences, which is shorter than those of the sides."""
    ours = [0.5, 0.75, 1.0]
    found = compare(ours, [0.25, 0.5, 0.625], by="difference")

    assert found.spread == spread([0.25, 0.25, 0.375])
    assert found.word == "better"
    assert found.spread.high - found.spread.low < spread(ours).high - spread(ours).low


def test_ratios_are_summed_up_pair_by_pair():
    """The spread is that of the ratios, their mean the geometric one, of which 1 is even."""
    found = compare([2.0, 4.5], [1.0, 4.0], by="ratio")

    assert found.spread == spread_of_ratios([2.0, 1.125])
    assert found.spread.mean == pytest.approx(1.5)
    assert found.word == UNDECIDED


@pytest.mark.parametrize(
    ("ours", "theirs", "word"),
    [
        ([2.0, 2.1], [1.0, 1.1], "better"),
        ([1.0, 1.1], [2.0, 2.1], "worse"),
        ([1.0, 2.0], [2.0, 1.0], UNDECIDED),
        ([1.0, 2.0], [1.0, 2.0], UNDECIDED),
        ([2.0], [1.0], ""),
        ([], [], ""),
    ],
)
@pytest.mark.parametrize("by", ["difference", "ratio"])
def test_word_says_which_side_is_better(ours, theirs, word, by):
    """A side is better where the interval leaves out what is even; one pair tells nothing."""
    assert compare(ours, theirs, by=by).word == word


@pytest.mark.parametrize(("by", "mean"), [("difference", 1.0), ("ratio", 2.0)])
def test_lower_may_be_better(by, mean):
    """Of losses the lower one is better, and the number is still on its side."""
    found = compare([1.0, 1.0], [2.0, 2.0], by=by, better="lower")

    assert found.spread.mean == mean
    assert found.word == "better"
    assert compare([1.0, 1.0], [2.0, 2.0], by=by).word == "worse"


@pytest.mark.parametrize("by", ["difference", "ratio"])
@pytest.mark.parametrize("missing", [(None, 1.0), (1.0, None), (None, None)])
def test_missing_pair_leaves_no_mean(missing, by):
    """A pair that lacks a value is not dropped: there is no mean and no word."""
    ours, theirs = zip((2.0, 1.0), missing, (2.0, 1.0), strict=True)
    found = compare(ours, theirs, by=by)

    assert (found.spread.mean, found.spread.low, found.spread.high) == (None, None, None)
    assert found.spread.runs[1] is None
    assert found.word == ""


@pytest.mark.parametrize("pair", [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_ratio_of_nothing_is_not_known(pair):
    """A value of 0 has no ratio to another one, and its difference all the same."""
    ours, theirs = zip((2.0, 1.0), pair, strict=True)

    assert compare(ours, theirs, by="ratio").spread.mean is None
    assert compare(ours, theirs, by="difference").spread.mean is not None


def test_sides_of_other_lengths_are_refused():
    """A run without a partner is a mistake of the caller, not a pair that is left out."""
    with pytest.raises(ValueError, match="shorter"):
        compare([1.0, 2.0], [1.0], by="difference")


@given(pairs=pairs_of(st.floats(-1e6, 1e6), 0, 6), better=st.sampled_from(["higher", "lower"]))
def test_swapped_sides_mirror_word_and_interval(pairs, better):
    """Whoever is called ours: what is better for one side is worse for the other."""
    ours, theirs = sides(pairs)
    found = compare(ours, theirs, by="difference", better=better)
    swapped = compare(theirs, ours, by="difference", better=better)

    assert swapped.word == MIRRORED[found.word]
    if found.spread.low is not None:
        assert (swapped.spread.low, swapped.spread.high) == (
            -found.spread.high,
            -found.spread.low,
        )


@given(
    pairs=pairs_of(st.floats(-1e6, 1e6) | st.none(), 0, 6),
    by=st.sampled_from(["difference", "ratio"]),
)
def test_lower_is_better_as_if_sides_were_swapped(pairs, by):
    """That less is better is the same as that the other side has more, missing pairs too."""
    ours, theirs = sides(pairs)

    assert compare(ours, theirs, by=by, better="lower") == compare(theirs, ours, by=by)


@given(pairs=pairs_of(st.floats(0, 1), 2, 4))
def test_difference_of_shares_lies_between_both_ends(pairs):
    """No share is more than 1 above another one, nor does the interval say so."""
    found = compare(*sides(pairs), by="difference", share=True).spread

    assert -1 <= found.low <= found.mean <= found.high <= 1


@given(pairs=pairs_of(st.floats(-1, 1e300), 2, 4))
def test_ratio_is_positive(pairs):
    """A ratio of two numbers above 0 lies above 0 and is finite; there is no other one."""
    found = compare(*sides(pairs), by="ratio").spread

    if min(map(min, pairs)) <= 0:
        assert found.mean is None
    elif found.mean is not None:
        assert 0 <= found.low <= found.mean <= found.high < math.inf


@given(pairs=pairs_of(st.floats(0.01, 100), 2, 4))
def test_ratio_never_calls_both_sides_better(pairs):
    """Over as few seeds as there are, no two sides are each better than the other."""
    ours, theirs = sides(pairs)
    both = [compare(*pair, by="ratio").word for pair in ((ours, theirs), (theirs, ours))]

    assert both.count("better") <= 1
    assert both.count("worse") <= 1
