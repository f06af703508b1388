"""What a stranger may have put into a run directory: it is read in bounds, and believed in none."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from changed_records import assert_harmless, assert_reported, assert_resumed, changes, swept


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A small sweep, as it was written."""
    return swept(tmp_path_factory.mktemp("whole") / "sweep")


def test_whole_sweep_has_nothing_to_say(whole, tmp_path):
    """What these tests change is reported and resumed without a word as long as it is whole."""
    import shutil

    folder = shutil.copytree(whole, tmp_path / "sweep")

    assert assert_resumed(folder) == ""
    assert assert_reported(folder) == "amlnn: 1 cases are not complete\n"


def test_changed_field_ends_in_words_or_a_right_report(whole, tmp_path):
    """Whatever stands in whatever field of whatever record, nothing odd comes of it.

    No traceback, no number that is none, nothing written elsewhere, no long wait. These are
    some of the changes; the endurance run makes all of them.
    """
    some = random.Random(0).sample(changes(whole), 150)
    for change in some:
        assert_harmless(whole, change, tmp_path)
