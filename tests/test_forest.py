"""The forest plot of characters, for report.md."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_facts import runs_of
from small_improvements import BASE, BETTER, improvement, judged

from pytest_amlnn.report import text
from pytest_amlnn.report.forest import forest


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (BASE, "□"),
        ((0.90, 0.92, 0.93), "│ +─*▲─*"),
        ((0.50, 0.52, 0.53), " *─*▼─* +│"),
        ((0.75, 0.70, 0.73), " *─+┼─*○─+"),
    ],
)
def test_forest_of_characters_shows_verdict_and_bounds(values, expected):
    """A change lies to the right of the line where it is better; its bounds leave the line out
    where it helps or hurts, and its mark is that of the figure."""
    changes = [improvement("it", values), improvement("other", BETTER, base="base")]
    lines = [*forest([*judged(runs_of("base", BASE), *changes).values()])]
    (row,) = [line for line in lines if line.startswith("  it ")]

    assert lines[0] == "difference in test_accuracy, points"
    assert re.fullmatch(f" *{expected}.*", row.removeprefix("  it"))
    assert lines[1].index(" 0 ") + 1 == lines[3].index("│")


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=60))
def test_hostile_names_stay_in_the_block_of_characters(name):
    """Whatever a change is called, it is one line of the block, and no markup."""
    shown = text.drawn([*judged(runs_of("base", BASE), improvement(name, BETTER)).values()])
    block = shown.partition("bars are the bounds.\n\n")[2].rstrip("\n").split("\n")

    assert len(block) == 4
    assert all(line.startswith("    ") for line in block)
    assert max(map(len, block)) < 100
