"""Options as they are checked at the border."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_amlnn.options import DEFAULT_DATASET, OPTIONS, OptionError, Options, check_options

ROOT = Path("/nowhere/root")


def options(**given: object) -> Options:
    """Check what was given, with the defaults for the rest."""
    raw = {option.name: option.default for option in OPTIONS}
    return check_options({**raw, **given}, home=ROOT)


def test_defaults():
    """Without a word from the user the quick profile is run, and gates are enforced."""
    found = options()

    assert re.fullmatch(r"\d{8}-\d{6}-\d+", found.out.name)
    assert found == Options(
        profile="quick",
        data={},
        weights=None,
        device="auto",
        seed=0,
        repeats=None,
        out=ROOT / ".amlnn" / found.out.name,
        resume=False,
        gate="enforce",
        gates=ROOT / "benchmarks" / "gates.toml",
        gates_named=False,
    )


def test_values_are_taken():
    """Texts become the values that they stand for."""
    assert options(
        profile="full",
        data=["here.zip", "tiles=there/tiles"],
        weights="mine",
        device="cuda:1",
        seed="7",
        repeats="5",
        out="there",
        gate="report",
        gates="mine.toml",
    ) == Options(
        profile="full",
        data={"tiny-imagenet": "here.zip", "tiles": "there/tiles"},
        weights="mine",
        device="cuda:1",
        seed=7,
        repeats=5,
        out=Path("there"),
        resume=False,
        gate="report",
        gates=Path("mine.toml"),
        gates_named=True,
    )


@pytest.mark.parametrize(
    ("text", "name", "path"),
    [
        ("a.zip", DEFAULT_DATASET, "a.zip"),
        ("/data/tiny-imagenet-200", DEFAULT_DATASET, "/data/tiny-imagenet-200"),
        ("/data/a=b.zip", DEFAULT_DATASET, "/data/a=b.zip"),
        ("./a=b.zip", DEFAULT_DATASET, "./a=b.zip"),
        ("tiles=/data/a=b", "tiles", "/data/a=b"),
        ("tiny-imagenet=a.zip", DEFAULT_DATASET, "a.zip"),
        ("my_set-2.1=C:\\data", "my_set-2.1", "C:\\data"),
        ("with space=a", DEFAULT_DATASET, "with space=a"),
    ],
)
def test_data_are_named_or_a_bare_path(text, name, path):
    """What stands before = is a dataset's name if it can be one; else all is a path."""
    assert options(data=[text]).data == {name: path}


@pytest.mark.parametrize("given", [None, [], [""], [None]])
def test_no_data_are_named(given):
    """An option, setting or variable that is empty names no dataset."""
    assert options(data=given).data == {}


@pytest.mark.parametrize("second", ["b.zip", "tiny-imagenet=b.zip"])
def test_dataset_that_is_named_twice_is_refused(second):
    """Two places for one dataset are a mistake that names both, not an override."""
    words = "--amlnn-data names tiny-imagenet twice: a.zip and b.zip"

    with pytest.raises(OptionError, match=words):
        options(data=["a.zip", second])


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "mps", "cuda:0", "cuda:12"])
def test_device_is_well_formed(device):
    """The documented names of devices are taken, be they here or not."""
    assert options(device=device).device == device


@pytest.mark.parametrize(
    ("name", "value", "needs"),
    [
        ("profile", "fast", "needs quick or seed or lab or full"),
        ("profile", "Quick", "needs quick or seed or lab or full"),
        ("gate", "on", "needs off or report or enforce"),
        ("device", "gpu", "needs auto, cpu, cuda, cuda:N or mps"),
        ("device", "cuda:", "needs auto, cpu, cuda, cuda:N or mps"),
        ("device", "cuda:-1", "needs auto, cpu, cuda, cuda:N or mps"),
        ("device", "cuda:x", "needs auto, cpu, cuda, cuda:N or mps"),
        ("device", "cpu:0", "needs auto, cpu, cuda, cuda:N or mps"),
        ("device", "", "needs auto, cpu, cuda, cuda:N or mps"),
        ("seed", "-1", "needs a whole number from 0 up, below 2**31"),
        ("seed", "one", "needs a whole number from 0 up, below 2**31"),
        ("seed", "1.5", "needs a whole number from 0 up, below 2**31"),
        ("seed", "1e3", "needs a whole number from 0 up, below 2**31"),
        ("seed", "²", "needs a whole number from 0 up, below 2**31"),
        ("seed", "", "needs a whole number from 0 up, below 2**31"),
        ("repeats", "0", "needs a whole number from 1 up, below 2**31"),
        ("repeats", "-3", "needs a whole number from 1 up, below 2**31"),
        ("repeats", "three", "needs a whole number from 1 up, below 2**31"),
    ],
)
def test_bad_value_is_named(name, value, needs):
    """The message holds option, value, what it takes, and its name in pytest.ini."""
    with pytest.raises(OptionError) as caught:
        options(**{name: value})

    assert str(caught.value) == (f"--amlnn-{name} {value}: {needs} (ini name: amlnn_{name})")


@pytest.mark.parametrize(
    ("repeats", "seeds"), [(None, [4, 5, 6]), ("1", [4]), ("5", [4, 5, 6, 7, 8])]
)
def test_seeds_follow_the_first_one(repeats, seeds):
    """A case has seeds from the first one on, as many as the option says, or else the case."""
    assert [*options(seed="4", repeats=repeats).seeds_of(3)] == seeds


def test_every_option_explains_itself():
    """Each option has a help text, and a default that is one of its choices."""
    for option in OPTIONS:
        assert option.help, option.name
        assert not option.choices or option.default in option.choices, option.name
