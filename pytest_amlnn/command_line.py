"""The border: what pytest's command line, its ini file and the environment say.

Nothing else asks pytest for its options.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pytest_amlnn.disk import expanded
from pytest_amlnn.options import (
    NAMED,
    OPTIONS,
    PATHS,
    Option,
    OptionError,
    Options,
    check_options,
    is_there,
)


def add_options(parser: pytest.Parser) -> None:
    """Add one group of options, each with a setting of the same name for pytest.ini."""
    group = parser.getgroup("amlnn", "benchmarks of training")
    for option in OPTIONS:
        name = f"--amlnn-{option.name}"
        if option.switch:
            group.addoption(name, action="store_true", help=option.help)
            parser.addini(option.key, help=option.help, type="bool", default=False)
            continue
        group.addoption(
            name,
            choices=option.choices or None,
            help=option.help,
            metavar=None if option.choices else option.name.upper(),
            action="append" if option.many else "store",
        )
        if option.many:
            parser.addini(option.key, help=option.help, type="linelist")
        else:
            parser.addini(option.key, help=option.help)


def read_options(config: pytest.Config) -> Options:
    """Return the options of a pytest run, checked; raises OptionError.

    No file is looked at yet: whether anything trains is known after collection alone.
    """
    if "amlnn_options" in workerinput(config):
        plain = workerinput(config)["amlnn_options"]
        return Options(**{**plain, "out": Path(plain["out"]), "gates": Path(plain["gates"])})
    raw = {option.name: value_of(option, config) for option in OPTIONS}
    return check_options(raw, home=home_of(config))


def home_of(config: pytest.Config) -> Path:
    """Return the project's folder: pytest's rootdir, unless a path of ours misled pytest.

    It looks for rootdir and pytest.ini before it knows our options, and takes the path in
    `--amlnn-data PATH`, though not in `--amlnn-data=PATH`, for a place of tests. Raises
    OptionError where it has missed pytest.ini for that.
    """
    here = config.invocation_params.dir
    typed = [str(argument) for argument in config.invocation_params.args]
    flags = {f"--amlnn-{name}" for name in PATHS}
    misleading = [
        f"{flag}={path}"
        for flag, path in pairwise(typed)
        if flag in flags and is_there(here / path)
    ]
    if not misleading or config.inipath or config.getoption("rootdir"):
        return config.rootpath
    places = [here / argument.partition("::")[0] for argument in config.args]
    tests = Path(os.path.commonpath([p if p.is_dir() else p.parent for p in places]))
    for folder in (tests, *tests.parents):
        missed = [name for name, mark in INI_FILES.items() if holds(folder / name, mark)]
        if missed:
            raise OptionError(
                f"write {misleading[0]}, with =: else pytest takes the path for a place of"
                f" tests, and has not found {folder / missed[0]}"
            )
    both = Path(os.path.commonpath([here, tests]))
    return both if both != both.parent else tests


INI_FILES = {
    "pytest.ini": "",
    ".pytest.ini": "",
    "pyproject.toml": "[tool.pytest",
    "tox.ini": "[pytest]",
    "setup.cfg": "[tool:pytest]",
}
"""Where pytest looks for its settings, and what such a file then holds."""


def holds(file: Path, mark: str) -> bool:
    """Return whether there is such a file, with a mark in its text."""
    try:
        return file.is_file() and mark in file.read_text(errors="replace")
    except OSError:
        return False


def value_of(option: Option, config: pytest.Config) -> Any:
    """Return an option's value, of a path with the folder that it counts from in front.

    That is the folder of pytest.ini for what stands there, else the one that pytest was
    started in. Raises OptionError for a gate that is named by an empty text.
    """
    given, here = config.getoption(option.key), config.invocation_params.dir
    if given == "" and option.name in ("gates", "baseline"):
        # a variable of a CI job that is not set would switch the gate off
        raise OptionError(f"--amlnn-{option.name} is empty: name a file, or leave it out")
    if not given:
        given, here = config.getini(option.key), ini_folder(config)
    elif not on_command_line(option, config):  # in `addopts`
        here = ini_folder(config)
    if not given and option.name == "data" and os.environ.get("AMLNN_DATA"):
        given, here = [os.environ["AMLNN_DATA"]], config.invocation_params.dir
    if option.name not in PATHS or not given:
        return given or option.default
    return [absolute(text, here) for text in given] if option.many else absolute(given, here)


def on_command_line(option: Option, config: pytest.Config) -> bool:
    """Return whether an option was typed, here or into PYTEST_ADDOPTS."""
    typed = [*map(str, config.invocation_params.args), os.environ.get("PYTEST_ADDOPTS", "")]
    # `@file` holds options, too
    return any(f"--amlnn-{option.name}" in text or text[:1] == "@" for text in typed)


def ini_folder(config: pytest.Config) -> Path:
    """Return the folder that paths in pytest.ini count from."""
    return config.inipath.parent if config.inipath else config.rootpath


def absolute(text: str, here: Path) -> str:
    """Return `PATH` or `NAME=PATH` with an absolute path; an address such as s3://… stays."""
    named = NAMED.fullmatch(text)
    name, path = named.groups() if named else ("", text)
    if "://" in path or not path:
        return text
    return f"{name}{here / expanded(path)}"


def is_asking(config: pytest.Config) -> bool:
    """Return whether pytest is asked what there is, so that no test is run."""
    names = ("collectonly", "setuponly", "setupplan", "showfixtures", "show_fixtures_per_test")
    return any(config.getoption(name, False) for name in names)


def patterns_of_tests(config: pytest.Config) -> tuple[list[str], list[str]]:
    """Return patterns of names: of test files, and of folders that pytest does not enter."""
    return config.getini("python_files"), config.getini("norecursedirs")


def is_parallel(config: pytest.Config) -> bool:
    """Return whether this process deals tests to workers of pytest-xdist."""
    return not workerinput(config) and config.getoption("dist", "no") != "no"


def workerinput(config: pytest.Config) -> dict[str, Any]:
    """Return what the controller told this worker of pytest-xdist; empty elsewhere."""
    return getattr(config, "workerinput", {})
