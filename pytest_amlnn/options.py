"""The border: what the command line, pytest.ini and the environment say, as plain values."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest

from pytest_amlnn import plans, store
from pytest_amlnn.case import Profile

PROFILES: tuple[str, ...] = get_args(Profile)
LARGEST = 2**31
"""Seeds that follow the first one must still be seeds: numpy's end at 2**32."""
GATES = ("off", "report", "enforce")
DEFAULT_DATASET = "tiny-imagenet"
"""The dataset that a bare path of --amlnn-data is of."""


class OptionError(Exception):
    """An option's value that cannot be used; the message names the option and what it takes."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line, pytest.ini and the environment say."""

    profile: str
    data: Mapping[str, str] = field(default_factory=dict)
    """Where --amlnn-data says that files of a dataset lie, by its name; what is not named is
    left to the dataset."""
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

    def seeds_of(self, repeats: int) -> range:
        """Return the seeds of a case that has so many repeats unless an option says."""
        return range(self.seed, self.seed + (self.repeats or repeats))


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option: its name on the command line, and in pytest.ini with underscores."""

    name: str
    help: str
    choices: tuple[str, ...] = ()
    default: str | None = None
    switch: bool = False
    """On or off, without a value."""
    many: bool = False
    """May be given several times; in pytest.ini, several lines."""


OPTIONS = (
    Option(name="profile", help="how much to train", choices=PROFILES, default="quick"),
    Option(
        name="data",
        help="where a dataset's files lie on this machine, as NAME=PATH; a bare path is Tiny"
        " ImageNet's zip or folder (default: $AMLNN_DATA; then, in `quick`, the embedded"
        " picture set, elsewhere what `amlnn fetch` left)",
        many=True,
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
        help="resume the sweep in --amlnn-out (default: the newest): keep runs that ended, and"
        " go on with those that were cut after their last epoch",
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


# pytest


def add_options(parser: pytest.Parser) -> None:
    """Add one group of options, each with a setting of the same name for pytest.ini."""
    group = parser.getgroup("amlnn", "benchmarks of training")
    for option in OPTIONS:
        name, ini = f"--amlnn-{option.name}", f"amlnn_{option.name}"
        if option.switch:
            group.addoption(name, action="store_true", help=option.help)
            parser.addini(ini, help=option.help, type="bool", default=False)
            continue
        group.addoption(
            name,
            choices=option.choices or None,
            help=option.help,
            metavar=None if option.choices else option.name.upper(),
            action="append" if option.many else "store",
        )
        if option.many:
            parser.addini(ini, help=option.help, type="linelist")
        else:
            parser.addini(ini, help=option.help)


def read_options(config: pytest.Config) -> Options:
    """Return the options of a pytest run, checked; raises OptionError."""
    raw = {
        option.name: config.getoption(f"amlnn_{option.name}")
        or config.getini(f"amlnn_{option.name}")
        or ([os.environ.get("AMLNN_DATA")] if option.name == "data" else None)
        or option.default
        for option in OPTIONS
    }
    return check_options(
        raw, root=config.rootpath, out=default_out(config, bool(raw["resume"]))
    )


def default_out(config: pytest.Config, resume: bool) -> Path:
    """Return the run directory where none is named: a new one, or the newest to resume."""
    if "amlnn_out" in workerinput(config):
        return Path(workerinput(config)["amlnn_out"])
    home = config.rootpath / ".amlnn"
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return (plans.newest(home) if resume else None) or home / f"{now}-{os.getpid()}"


def is_parallel(config: pytest.Config) -> bool:
    """Return whether this process deals tests to workers of pytest-xdist."""
    return not workerinput(config) and config.getoption("dist", "no") != "no"


def workerinput(config: pytest.Config) -> dict[str, Any]:
    """Return what the controller told this worker of pytest-xdist; empty elsewhere."""
    return getattr(config, "workerinput", {})


# checks


def check_options(raw: Mapping[str, Any], *, root: Path, out: Path) -> Options:
    """Return the options from their texts; `root` and `out` are the defaults' places.

    Raises OptionError for a value that cannot be used.
    """
    for option in OPTIONS:
        if option.choices and raw[option.name] not in option.choices:
            raise OptionError(wrong(option.name, raw[option.name], " or ".join(option.choices)))
    gates = raw["gates"]
    return Options(
        profile=raw["profile"],
        data=places([text for text in raw["data"] or () if text]),
        weights=raw["weights"],
        device=device_name(raw["device"]),
        seed=whole("seed", raw["seed"], least=0),
        repeats=None if raw["repeats"] is None else whole("repeats", raw["repeats"], least=1),
        out=Path(raw["out"] or out),
        resume=bool(raw["resume"]),
        gate=raw["gate"],
        gates=Path(gates) if gates else root / "benchmarks" / "gates.toml",
        gates_named=bool(gates),
    )


def places(texts: list[str]) -> dict[str, str]:
    """Return paths by the name of their dataset, from `NAME=PATH` and bare paths."""
    found: dict[str, str] = {}
    for text in texts:
        named = re.fullmatch(r"([A-Za-z][\w.-]*)=(.+)", text)
        name, path = named.groups() if named else (DEFAULT_DATASET, text)
        if name in found:
            raise OptionError(f"--amlnn-data names {name} twice: {found[name]} and {path}")
        found[name] = path
    return found


def device_name(text: str) -> str:
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


def check_surroundings(options: Options) -> None:
    """Refuse a run directory that cannot be used and a device that is not here.

    Raises StoreError, OptionError. A sweep that is resumed forgets what crashed.
    """
    plans.claim(options.out, resume=options.resume)
    if (options.out / plans.PLAN).exists():
        profile = plans.load(options.out)["options"]["profile"]
        if profile != options.profile:
            raise store.StoreError(
                f"--amlnn-out {options.out} holds a sweep of the profile {profile}, not"
                f" {options.profile}: resume it with --amlnn-profile {profile}"
            )
        store.forget_crashed(options.out)
    if options.device not in ("auto", "cpu"):
        from pytest_amlnn.device import DeviceError, resolve

        try:
            resolve(options.device)
        except DeviceError as error:
            raise OptionError(str(error)) from error
