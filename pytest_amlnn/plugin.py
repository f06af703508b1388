"""Hooks and fixtures, which hand over at once.

No torch is imported before a case needs it: this module is loaded into every pytest
run of the environment that it is installed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_amlnn import collection, disk, hooks, plans, report, store, workers
from pytest_amlnn import gate as gates
from pytest_amlnn.data import Data, DataError, Weights
from pytest_amlnn.identity import IdentityError
from pytest_amlnn.job import Job, job_of
from pytest_amlnn.options import (
    OptionError,
    Options,
    add_options,
    check_surroundings,
    is_parallel,
    read_options,
    workerinput,
)
from pytest_amlnn.result import FINISHED, Result, Run
from pytest_amlnn.session import (
    KEY,
    TERMINATED,
    Session,
    end_like_an_interrupt,
    session_of,
    uninterrupted,
)

if TYPE_CHECKING:
    import torch

    from pytest_amlnn.case import Case

ERRORS = (
    OptionError, store.StoreError, disk.DiskError, gates.GateError, DataError, IdentityError,
)  # fmt: skip


# start


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Let conftest.py files speak for their datasets."""
    pluginmanager.add_hookspecs(hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    add_options(parser)


def options_of(config: pytest.Config) -> Options:
    """Return the options of this pytest run, for a conftest.py that needs them."""
    return session_of(config).options


def pytest_configure(config: pytest.Config) -> None:
    """Check all that can be checked before collection; a worker's controller has."""
    config.addinivalue_line(
        "markers",
        "amlnn_cases(package, family): parametrize `case` over the package's cases of this"
        " family in the profile at hand",
    )
    if is_parallel(config):
        config.pluginmanager.register(workers, "amlnn-workers")
    try:
        options = read_options(config)
        if not workerinput(config):
            config.hook.pytest_amlnn_check(options=options)
            check_surroundings(options)
        limits = gates.load_for(options)
        config.stash[KEY] = Session(options=options, limits=limits)
    except ERRORS as error:
        raise pytest.UsageError(str(error)) from error


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say what is resumed."""
    options = options_of(config)
    if not options.resume:
        return None
    ended = len(store.read_runs(options.out)[0])
    return f"amlnn: resuming {options.out}, where {ended} runs have ended"


# collection


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one item of each case of the profile, for functions that ask for cases."""
    collection.parametrize(metafunc, session_of(metafunc.config))


@pytest.hookimpl(tryfirst=True)  # before -k and -m leave items out: those are cases too
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give every benchmark its clock, and skip the cases that cannot run here."""
    collection.prepare(items, session_of(config), training_clock, config.hook)


@pytest.hookimpl(tryfirst=True)  # before a worker tells its controller, which reads the plan
def pytest_collection_finish(session: pytest.Session) -> None:
    """Write down what is going to be run, so that what is missing later is known."""
    config, mine = session.config, session_of(session.config)
    plan = collection.plan_of(session.items, mine.options, mine.limits)
    again = workerinput(config).get("amlnn_planned")  # in the place of a worker that died
    if plan and not (again or config.option.collectonly or config.option.setupplan):
        try:
            plans.save(mine.options.out, plan)
        except (store.StoreError, disk.DiskError) as error:
            mine.trouble = str(error)  # raised here it would look like a bug of pytest
        end_like_an_interrupt(config)
        collection.remember_code(session.items)


# fixtures


class TrainingClock:
    """Counts the training seconds of every run that is handed back, whoever computed it."""

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
def train(request: pytest.FixtureRequest, benchmark: Any) -> Callable[..., Result]:
    """Train a case once for each seed, `train(case)`, and return its result.

    With `train(case, data)` the splits for a seed come from another source than the case
    names, or from a function; with `train(case, data, weights)` nets start from those. Every
    run is stored as soon as it ends, and pytest-benchmark's table shows the training seconds.
    The item fails where a run diverges or is implausible, whatever the gate says.
    """
    session = session_of(request.config)
    name, runs = request.node.name, list[Run]()
    bearers = session.nodes.get(store.key(name), [])
    if len(bearers) > 1:
        pytest.fail(
            f"{name} would be stored in one place with {' and '.join(sorted(bearers))}:"
            " rename a test function or a case",
            pytrace=False,
        )

    def train_case(
        case: Case, data: Data | None = None, weights: Weights | None = None
    ) -> Result:
        if session.trouble:
            pytest.fail(session.trouble, pytrace=False)
        if runs:
            pytest.fail(f"train was called twice in {name}: an item stores one case")
        job = job_of(case, data, weights, name, session.options)
        computed = compute(request, job)

        def train_next() -> None:
            run = next(computed)
            runs.append(run)
            TrainingClock.seconds += run.metrics.get("train_seconds") or 0.0

        def train_all() -> None:
            for _ in job.seeds:
                train_next()

        if benchmark.enabled:
            benchmark.pedantic(train_next, rounds=len(job.seeds))
        else:  # under pytest-xdist it calls its target once, whatever the rounds
            benchmark.pedantic(train_all)
        result = Result(id=name, runs=tuple(runs))
        benchmark.extra_info |= {name: s.mean for name, s in result.metrics.items()}
        if result.status != FINISHED:
            pytest.fail("\n".join(result.troubles), pytrace=False)
        return result

    return train_case


def compute(request: pytest.FixtureRequest, job: Job) -> Iterator[Run]:
    """Yield the runs of a job, as stored or trained now."""
    from pytest_amlnn.device import DeviceError
    from pytest_amlnn.engines import inline
    from pytest_amlnn.progress import Tally, progress_on

    plugins = request.config.pluginmanager
    worker = bool(workerinput(request.config))
    terminal = None if worker else plugins.getplugin("terminalreporter")

    training = job.case.training
    shares = {m.name.partition("_")[2] for m in training.task.metrics if m.share}

    def show(seeds: Sequence[int]) -> Any:
        epochs = training.recipe.epochs
        tally = Tally(id=job.id, seeds=seeds, epochs=epochs, shares=shares)
        return progress_on(terminal, plugins.getplugin("capturemanager"), tally)

    try:
        yield from inline.compute(job, show)
        return
    except (*ERRORS, DeviceError) as error:
        words = f"{job.id}: {error}"
    pytest.fail(words, pytrace=False)  # out here, where pytest shows nothing but the words


@pytest.fixture
def gate(request: pytest.FixtureRequest) -> Callable[[Result], gates.Verdict]:
    """Hold a result against the limits of its case: `assert gate(result).passed`."""
    session = session_of(request.config)
    function = getattr(request.node, "originalname", request.node.name)
    wrong = gates.unknown(session.limits, session.known.get(function, {}), function)
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)
    enforced = session.options.gate == "enforce"
    return partial(gates.judge, limits=session.limits, enforced=enforced)


# reports


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Note in the plan that a benchmark was skipped after all, or it would be missing."""
    raised, session = call.excinfo, session_of(item.config)
    skipped = raised and raised.errisinstance(pytest.skip.Exception)
    if not (raised and skipped and collection.trains(item)):
        return
    if item.get_closest_marker("skip"):  # the plan knows
        return
    out = session.options.out
    if (out / plans.PLAN).exists():
        try:
            plans.mark_skipped(out, item.name, str(raised.value))
        except ERRORS as error:
            session.trouble = str(error)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist waits for workers that are cut off
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Render the reports from the run directory, in the process that the user started."""
    config, mine = session.config, session_of(session.config)
    out = mine.options.out
    if mine.signals:
        session.exitstatus = TERMINATED
    if workerinput(config) or not (out / plans.PLAN).exists() or config.option.collectonly:
        return
    try:
        with uninterrupted():
            store.tidy(out)
            mine.sweep = report.write(out)
    except ERRORS as error:
        mine.trouble = str(error)
    complete = mine.sweep is not None and not (mine.sweep.missing or mine.sweep.unreadable)
    if not session.exitstatus and not complete:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)  # below pytest-benchmark's table: what was asked for comes last
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show the comparison, and where the whole report is."""
    session = session_of(config)
    if session.trouble:
        terminalreporter.section("no report", red=True)
        terminalreporter.write_line(session.trouble)
    unused = collection.unused_data(session)
    if session.nodes and unused:  # an ini file may name what is not collected
        names = ", ".join(unused)
        terminalreporter.write_line(f"--amlnn-data: no collected case is trained on {names}")
    if session.sweep is None:
        return
    from pytest_amlnn.report import text

    width = terminalreporter._tw.fullwidth
    for title, lines, marks in text.terminal(session.sweep, session.options.out, width):
        if title:
            terminalreporter.section(title, **marks)
        for line in lines:
            terminalreporter.write_line(line)
