"""Options as plain values: what there is, and the check of what was given."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from pytest_amlnn import plans
from pytest_amlnn.case import Profile
from pytest_amlnn.errors import UserError

PROFILES: tuple[str, ...] = get_args(Profile)
LARGEST = 2**31
"""Seeds that follow the first one must still be seeds: numpy's end at 2**32."""
GATES = ("off", "report", "enforce")
DEFAULT_DATASET = "tiny-imagenet"
"""The dataset that a bare path of --amlnn-data is of."""
NAMED = re.compile(r"([A-Za-z][\w.-]*=)(.+)")
"""NAME=PATH."""


class OptionError(UserError):
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
    wait: bool = True
    """For cores or a GPU that another training holds."""
    strict: bool = False
    """Whether what the gate cannot decide, or not compare, fails, too."""
    baseline: str | None = None
    """Run directory, or summary.json, that results are compared with."""
    max_repeats: int | None = None
    """Seeds that a case goes on to until the gate has decided."""

    def seeds_of(self, repeats: int) -> range:
        """Return the seeds of a case that has so many repeats unless an option says."""
        return range(self.seed, self.seed + (self.repeats or repeats))

    def to_plain(self) -> dict[str, Any]:
        """Return the options as plain data, for a worker of pytest-xdist."""
        return {**asdict(self), "out": str(self.out), "gates": str(self.gates)}


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option: `--amlnn-<name>`, and in pytest.ini `amlnn_<name>` with underscores."""

    name: str
    help: str
    choices: tuple[str, ...] = ()
    default: str | None = None
    switch: bool = False
    """On or off, without a value."""
    many: bool = False
    """May be given several times; in pytest.ini, several lines."""

    @property
    def key(self) -> str:
        """Name among pytest's options, and in pytest.ini."""
        return f"amlnn_{self.name.replace('-', '_')}"


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
    Option(
        name="gate-strict",
        help="what is inconclusive or not comparable fails, too",
        switch=True,
    ),
    Option(name="baseline", help="run directory or summary.json to compare with"),
    Option(
        name="max-repeats",
        help="train further seeds, up to so many, of a case that the gate cannot decide yet",
    ),
    Option(
        name="no-wait",
        help="train at once where another training holds the cores or the GPU; times then count"
        " as contended",
        switch=True,
    ),
)
PATHS = ("data", "weights", "out", "gates", "baseline")
"""Options that name files or folders."""


# checks


def check_options(raw: Mapping[str, Any], *, home: Path) -> Options:
    """Return the options from their texts; run directories and limits have their place by
    default below `home`.

    Raises OptionError for a value that cannot be used.
    """
    for option in OPTIONS:
        if option.choices and raw[option.name] not in option.choices:
            raise OptionError(wrong(option.name, raw[option.name], " or ".join(option.choices)))
    gates, resume = raw["gates"], bool(raw["resume"])
    repeats = None if raw["repeats"] is None else whole("repeats", raw["repeats"], least=1)
    most = raw["max-repeats"]
    return Options(
        profile=raw["profile"],
        data=places([text for text in raw["data"] or () if text]),
        weights=raw["weights"],
        device=device_name(raw["device"]),
        seed=whole("seed", raw["seed"], least=0),
        repeats=repeats,
        out=Path(raw["out"] or default_out(home / ".amlnn", resume)),
        resume=resume,
        gate=raw["gate"],
        gates=Path(gates or default_gates(home)),
        gates_named=bool(gates),
        wait=not raw["no-wait"],
        strict=bool(raw["gate-strict"]),
        baseline=raw["baseline"],
        max_repeats=None if most is None else whole("max-repeats", most, least=repeats or 1),
    )


def default_out(folder: Path, resume: bool) -> Path:
    """Return the run directory where none is named: a new one, or the newest to resume."""
    now = datetime.now(UTC)
    new = folder / f"{now:%Y%m%d-%H%M%S}-{os.getpid()}"
    if is_there(new):  # of this process, within the same second
        new = new.with_name(f"{new.name}-{now:%f}")
    return (plans.newest(folder) if resume else None) or new


def default_gates(home: Path) -> Path:
    """Return where limits stand if no file is named: also if pytest started below there."""
    places = [folder / "benchmarks" / "gates.toml" for folder in (home, *home.parents)]
    return next(filter(is_there, places), places[0])


def is_there(path: Path) -> bool:
    """Return whether something is there, as far as this user may know."""
    try:
        return path.exists()
    except OSError:
        return False


def places(texts: list[str]) -> dict[str, str]:
    """Return paths by the name of their dataset, from `NAME=PATH` and bare paths."""
    found: dict[str, str] = {}
    for text in texts:
        named = NAMED.fullmatch(text)
        name, path = (named[1][:-1], named[2]) if named else (DEFAULT_DATASET, text)
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
    return f"--amlnn-{name} {value}: needs {needs} (ini name: amlnn_{name.replace('-', '_')})"
