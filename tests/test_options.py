"""Options as they are checked at the border."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_amlnn.options import OPTIONS, OptionError, Options, check

ROOT, OUT = Path("root"), Path("root/.amlnn/now")


def options(**given: str) -> Options:
    """Check what was given, with the defaults for the rest."""
    raw = {option.name: option.default for option in OPTIONS}
    return check({**raw, **given}, root=ROOT, out=OUT)


def test_defaults():
    """Without a word from the user the quick profile is run, and gates are enforced."""
    assert options() == Options(
        profile="quick",
        data=None,
        weights=None,
        device="auto",
        seed=0,
        repeats=None,
        out=OUT,
        resume=False,
        gate="enforce",
        gates=ROOT / "benchmarks" / "gates.toml",
        gates_named=False,
    )


def test_values_are_taken():
    """Texts become the values that they stand for."""
    assert options(
        profile="full",
        data="here.zip",
        weights="mine",
        device="cuda:1",
        seed="7",
        repeats="5",
        out="there",
        gate="report",
        gates="mine.toml",
    ) == Options(
        profile="full",
        data="here.zip",
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


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "mps", "cuda:0", "cuda:12"])
def test_device_is_well_formed(device):
    """The documented names of devices are taken, be they here or not."""
    assert options(device=device).device == device


@pytest.mark.parametrize(
    ("name", "value", "needs"),
    [
        ("profile", "fast", "needs quick or seed or full"),
        ("profile", "Quick", "needs quick or seed or full"),
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


def test_every_option_explains_itself():
    """Each option has a help text, and a default that is one of its choices."""
    for option in OPTIONS:
        assert option.help, option.name
        assert not option.choices or option.default in option.choices, option.name
