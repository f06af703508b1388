"""Everything that pytest calls: options, hooks and fixtures, which hand over at once.

No torch is imported before a case needs it: this module is loaded into every pytest
run of the environment that it is installed in.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from pytest_benchmark.utils import get_commit_info

from pytest_amlnn import gate as gates
from pytest_amlnn import hooks, report, store
from pytest_amlnn.case import Case, discover, select
from pytest_amlnn.data import Data, DataError
from pytest_amlnn.options import OPTIONS, OptionError, Options, check
from pytest_amlnn.result import FINISHED, Result, Run, result_of

if TYPE_CHECKING:
    import torch

ERRORS = (OptionError, store.StoreError, gates.GateError, DataError)


@dataclass(frozen=True, kw_only=True)
class Session:
    """What the plugin knows while pytest runs."""

    options: Options
    limits: tuple[gates.Limit, ...]
    known: dict[str, dict[str, str]] = field(default_factory=dict)
    """By test function, the task of each case that it has in this profile."""
    nodes: dict[str, list[str]] = field(default_factory=dict)
    """By case key, the items that bear it; a run directory can hold only one."""
    datasets: set[str] = field(default_factory=set)
    """Names of those that the record of the machine holds already."""


SESSION = pytest.StashKey[Session]()
SWEEP = pytest.StashKey[report.Sweep]()


# options


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Let conftest.py files speak for their datasets."""
    pluginmanager.add_hookspecs(hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add one group of options, each with a setting of the same name for pytest.ini."""
    group = parser.getgroup("amlnn", "benchmarks of training")
    for option in OPTIONS:
        group.addoption(
            f"--amlnn-{option.name}",
            choices=option.choices or None,
            help=option.help,
            metavar=None if option.choices else option.name.upper(),
        )
        parser.addini(f"amlnn_{option.name}", help=option.help)


def options_of(config: pytest.Config) -> Options:
    """Return the options of this pytest run, for a conftest.py that needs them."""
    if SESSION in config.stash:
        return config.stash[SESSION].options
    raw = {
        option.name: config.getoption(f"amlnn_{option.name}")
        or config.getini(f"amlnn_{option.name}")
        or (os.environ.get("AMLNN_DATA") if option.name == "data" else None)
        or option.default
        for option in OPTIONS
    }
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    out = config.rootpath / ".amlnn" / f"{now}-{os.getpid()}"
    return check(raw, root=config.rootpath, out=workerinput(config).get("amlnn_out", out))


def workerinput(config: pytest.Config) -> dict[str, Any]:
    """Return what the controller told this worker of pytest-xdist; empty elsewhere."""
    return getattr(config, "workerinput", {})


def pytest_configure(config: pytest.Config) -> None:
    """Check all that can be checked before collection; a worker's controller has."""
    config.addinivalue_line(
        "markers",
        "amlnn_cases(package, family): parametrize `case` over the package's cases of this"
        " family in the profile at hand",
    )
    try:
        options = options_of(config)
        if not workerinput(config):
            config.hook.pytest_amlnn_check(options=options)
            check_surroundings(options)
        config.stash[SESSION] = Session(options=options, limits=limits_for(options))
    except ERRORS as error:
        raise pytest.UsageError(str(error)) from error


def check_surroundings(options: Options) -> None:
    """Refuse a run directory that cannot be used and a device that is not here."""
    store.claim(options.out)
    if options.device not in ("auto", "cpu"):
        from pytest_amlnn.device import DeviceError, resolve

        try:
            resolve(options.device)
        except DeviceError as error:
            raise OptionError(str(error)) from error


def limits_for(options: Options) -> tuple[gates.Limit, ...]:
    """Return the profile's limits; none with the gate off, or without the default file."""
    wanted = options.gates_named or options.gates.exists()
    return (
        gates.load(options.gates, options.profile) if wanted and options.gate != "off" else ()
    )


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where this sweep is stored."""
    node.workerinput["amlnn_out"] = str(options_of(node.config).out)


# collection


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one item of each case of the profile, for functions that ask for cases."""
    mark = metafunc.definition.get_closest_marker("amlnn_cases")
    if mark is None:
        return
    session = metafunc.config.stash[SESSION]
    chosen, known = select(
        discover(*mark.args),
        **mark.kwargs,
        profile=session.options.profile,
        archive=session.options.data is not None,
    )
    name = metafunc.function.__name__
    session.known[name] = {f"{name}[{case}]": case.task for case in known}
    metafunc.parametrize("case", chosen, ids=str)


def case_of(item: pytest.Item) -> Case | None:
    """Return the case that an item is parametrized with, if it is."""
    callspec = getattr(item, "callspec", None)
    case = callspec.params.get("case") if callspec else None
    return case if isinstance(case, Case) else None


def trains(item: pytest.Item) -> bool:
    """Return whether an item is a benchmark of ours."""
    return "train" in getattr(item, "fixturenames", ())


@pytest.hookimpl(tryfirst=True)  # before -k and -m leave items out: those are cases too
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give every benchmark its clock, and skip the cases that cannot run here."""
    session = config.stash[SESSION]
    for item in filter(trains, items):
        case = case_of(item)
        session.nodes.setdefault(store.key(item.name), []).append(item.nodeid)
        time_by_training(item, case)
        if case is None:
            continue
        function = getattr(item, "originalname", item.name)
        session.known.setdefault(function, {})[item.name] = case.task
        reason = config.hook.pytest_amlnn_unavailable(case=case, options=session.options)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


def time_by_training(item: pytest.Item, case: Case | None) -> None:
    """Have pytest-benchmark read the training clock; what the user's own mark says stays."""
    group = f"{case.family} {case.dataset} {case.size}" if case else None
    own = item.get_closest_marker("benchmark")
    settings = {"timer": training_clock, "group": group, **(own.kwargs if own else {})}
    item.add_marker(pytest.mark.benchmark(**settings), append=False)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write down what is going to be run, so that what is missing later is known."""
    mine = session.config.stash[SESSION]
    cases = [planned(item) for item in session.items if trains(item)]
    if not cases or session.config.option.collectonly:
        return
    options = mine.options
    kept = ("profile", "data", "device", "seed", "repeats", "gate")
    plan = {
        "options": {name: getattr(options, name) for name in kept},
        "limits": [gates.to_plain(limit) for limit in mine.limits],
        "cases": cases,
        "commit": get_commit_info(),
    }
    store.save_plan(options.out, plan)


def planned(item: pytest.Item) -> dict[str, Any]:
    """Return what the plan says of one item."""
    skips = [mark.kwargs.get("reason", "") for mark in item.iter_markers("skip")]
    return {"id": item.name, "nodeid": item.nodeid, "skip": skips[0] if skips else None}


# fixtures


class TrainingClock:
    """Count the training seconds of every run that is handed back, whoever computed it."""

    seconds = 0.0


def training_clock() -> float:
    """Return the training seconds so far: pytest-benchmark's timer."""
    return TrainingClock.seconds


@pytest.fixture(scope="session")
def device(pytestconfig: pytest.Config) -> torch.device:
    """The torch device that --amlnn-device chooses."""
    from pytest_amlnn.device import resolve

    return resolve(options_of(pytestconfig).device)


@pytest.fixture
def train(
    request: pytest.FixtureRequest, device: torch.device, benchmark: Any
) -> Callable[[Case, Data], Result]:
    """Train a case once for each seed, `train(case, data)`, and return its result.

    `data` gives the splits for a seed. Every run is stored as soon as it ends, and
    pytest-benchmark's table shows the training seconds. The item fails where a run
    diverges or is implausible, whatever the gate says.
    """
    session = request.config.stash[SESSION]
    options = session.options
    name, runs = request.node.name, list[Run]()
    bearers = session.nodes[store.key(name)]
    if len(bearers) > 1:
        pytest.fail(
            f"{name} would be stored in one place with {' and '.join(sorted(bearers))}:"
            " rename a test function or a case",
            pytrace=False,
        )

    def train_case(case: Case, data: Data) -> Result:
        if runs:
            pytest.fail(f"train was called twice in {name}: an item stores one case")
        first, repeats = options.seed, options.repeats or case.repeats
        seeds = iter(range(first, first + repeats))

        def train_next() -> None:
            run = train_once(request, case, data, next(seeds), device)
            runs.append(run)
            TrainingClock.seconds += run.metrics["train_seconds"] or 0.0

        if benchmark.enabled:
            benchmark.pedantic(train_next, rounds=repeats)
        else:  # under pytest-xdist, `pedantic` would call it once
            for _ in range(repeats):
                train_next()
        result = result_of(tuple(runs))
        benchmark.extra_info |= {name: s.mean for name, s in result.metrics.items()}
        if result.status != FINISHED:
            pytest.fail("\n".join(result.troubles), pytrace=False)
        return result

    return train_case


def train_once(
    request: pytest.FixtureRequest, case: Case, data: Data, seed: int, device: torch.device
) -> Run:
    """Train with one seed and store the run."""
    from pytest_amlnn import training

    session = request.config.stash[SESSION]
    with progress(request, f"{request.node.name} seed {seed}", case.recipe.epochs) as shown:
        outcome = training.train(
            case,
            data,
            id=request.node.name,
            seed=seed,
            device=device,
            progress=shown,
            contended=int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1,
        )
    run, out = outcome.run, session.options.out
    name = str(outcome.dataset["name"])
    if name not in session.datasets:
        facts = {"profile": session.options.profile, "engine": "inline", **run.environment}
        store.save_environment(out, facts, {name: dict(outcome.dataset)})
        session.datasets.add(name)
    store.save_run(out, run, outcome.examples, outcome.names)
    return run


def progress(request: pytest.FixtureRequest, title: str, epochs: int) -> Any:
    """Return what shows a run under way: frames on a terminal, lines elsewhere."""
    from pytest_amlnn.progress import Frames, Lines, Silent, Tally

    plugins = request.config.pluginmanager
    terminal, capture = (
        plugins.getplugin("terminalreporter"),
        plugins.getplugin("capturemanager"),
    )
    if terminal is None or workerinput(request.config):
        return Silent()
    tally = Tally(title=title, epochs=epochs)
    uncaptured = capture.global_and_fixture_disabled

    def write(line: str) -> None:
        with uncaptured():
            terminal.write_line(line)

    if not terminal.isatty:
        return Lines(tally, write)
    with uncaptured():
        terminal.ensure_newline()  # the frame's line is its own, and wiped in the end
    return Frames(tally, uncaptured)


@pytest.fixture
def gate(request: pytest.FixtureRequest) -> Callable[[Result], gates.Verdict]:
    """Hold a result against the limits of its case: `assert gate(result).passed`."""
    session = request.config.stash[SESSION]
    function = getattr(request.node, "originalname", request.node.name)
    wrong = gates.unknown(session.limits, session.known.get(function, {}), function)
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)
    enforced = session.options.gate == "enforce"
    return partial(gates.judge, limits=session.limits, enforced=enforced)


# reports


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Render the reports from the run directory, in the process that the user started."""
    config = session.config
    out = options_of(config).out
    if not workerinput(config) and (out / store.PLAN).exists():
        config.stash[SWEEP] = report.write(out)


@pytest.hookimpl(trylast=True)  # below pytest-benchmark's table: what was asked for comes last
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show the comparison, and where the whole report is."""
    if SWEEP in config.stash:
        from pytest_amlnn.report.table import tables

        for title, rows in tables(config.stash[SWEEP], "simple"):
            terminalreporter.section(title)
            terminalreporter.write_line(rows)
        terminalreporter.write_line(f"\nreport: {options_of(config).out / 'report.md'}")
