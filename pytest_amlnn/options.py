"""The plugin's options as plain values, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROFILES = ("quick", "seed", "full")
LARGEST = 2**31
"""Seeds that follow the first one must still be seeds: numpy's end at 2**32."""
GATES = ("off", "report", "enforce")


class OptionError(Exception):
    """An option's value that cannot be used; the message names the option and what it takes."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line, pytest.ini and the environment say."""

    profile: str
    data: str | None
    """What --amlnn-data names; None leaves it to the dataset."""
    weights: str | None
    """What --amlnn-weights names; None leaves it to the models."""
    device: str
    seed: int
    repeats: int | None
    """Seeds for each case; None leaves it to the case."""
    out: Path
    resume: bool
    gate: str
    gates: Path
    gates_named: bool
    """Whether the file of limits was asked for, so that its absence is an error."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option: its name on the command line, and in pytest.ini with underscores."""

    name: str
    help: str
    choices: tuple[str, ...] = ()
    default: str | None = None
    switch: bool = False
    """On or off, without a value."""


OPTIONS = (
    Option(name="profile", help="how much to train", choices=PROFILES, default="quick"),
    Option(
        name="data",
        help="Tiny ImageNet's zip or folder (default: $AMLNN_DATA; then, in `quick`, the"
        " embedded picture set, elsewhere what `amlnn fetch` left)",
    ),
    Option(
        name="weights",
        help="file, or folder of <model>.safetensors or <model>.pth, with ImageNet weights"
        " (default: the hub's cache, then packages)",
    ),
    Option(name="device", help="auto, cpu, cuda, cuda:N or mps", default="auto"),
    Option(name="seed", help="first seed; runs use it and those that follow", default="0"),
    Option(name="repeats", help="seeds for each case (default: as the case says)"),
    Option(name="out", help="run directory (default: .amlnn/<UTC time>-<pid>)"),
    Option(
        name="resume",
        help="go on in --amlnn-out (default: the newest): keep runs that ended, take up those"
        " that were cut after their last epoch",
        switch=True,
    ),
    Option(
        name="gate",
        help="`report` judges without failing, `off` does not judge",
        choices=GATES,
        default="enforce",
    ),
    Option(name="gates", help="file of limits (default: benchmarks/gates.toml)"),
)


def check(raw: Mapping[str, Any], *, root: Path, out: Path) -> Options:
    """Return the options from their texts; `root` and `out` are the defaults' places.

    Raises OptionError for a value that cannot be used.
    """
    for option in OPTIONS:
        if option.choices and raw[option.name] not in option.choices:
            raise OptionError(wrong(option.name, raw[option.name], " or ".join(option.choices)))
    gates = raw["gates"]
    return Options(
        profile=raw["profile"],
        data=raw["data"],
        weights=raw["weights"],
        device=device(raw["device"]),
        seed=whole("seed", raw["seed"], least=0),
        repeats=None if raw["repeats"] is None else whole("repeats", raw["repeats"], least=1),
        out=Path(raw["out"] or out),
        resume=bool(raw["resume"]),
        gate=raw["gate"],
        gates=Path(gates) if gates else root / "benchmarks" / "gates.toml",
        gates_named=bool(gates),
    )


def device(text: str) -> str:
    """Return the name of a device if it is well formed; whether it is here, torch knows."""
    kind, _, index = text.partition(":")
    if text in ("auto", "cpu", "cuda", "mps") or (kind == "cuda" and index.isdecimal()):
        return text
    raise OptionError(wrong("device", text, "auto, cpu, cuda, cuda:N or mps"))


def whole(name: str, text: str, *, least: int) -> int:
    """Return a whole number of at least `least`."""
    if str(text).isdecimal() and least <= int(text) < LARGEST:
        return int(text)
    raise OptionError(wrong(name, text, f"a whole number from {least} up, below 2**31"))


def wrong(name: str, value: object, needs: str) -> str:
    """Say which option has which value, and what it takes."""
    return f"--amlnn-{name} {value}: needs {needs} (ini name: amlnn_{name})"
