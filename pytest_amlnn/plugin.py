"""Hooks, which hand over at once.

No torch is imported before a case needs it: this module is loaded into every pytest
run of the environment that it is installed in, and those that train nothing are left alone.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any
from uuid import uuid4

import pytest

from pytest_amlnn import collection, hooks, planning, plans, store, workers
from pytest_amlnn.command_line import add_options, is_parallel, read_options, workerinput
from pytest_amlnn.errors import UserError
from pytest_amlnn.escapes import lines_for_terminal
from pytest_amlnn.fixtures import BROKEN, CALLED, TRAINED, device, gate, train, training_clock
from pytest_amlnn.options import Options
from pytest_amlnn.session import KEY, TERMINATED, Reported, Session, session_of, uninterrupted

__all__ = ["device", "gate", "options_of", "train"]


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
    """Check the options; no file is touched before a benchmark is about to run."""
    config.addinivalue_line(
        "markers",
        "amlnn_cases(package, family): parametrize `case` over the package's cases of this"
        " family in the profile at hand",
    )
    config.addinivalue_line(
        "markers",
        "improvement: of cases that are compared with a base case, which amlnn adds; left out"
        " unless -m asks for them",
    )
    if is_parallel(config):
        config.pluginmanager.register(workers, "amlnn-workers")
    try:
        options = read_options(config)
    except UserError as error:
        raise pytest.UsageError(lines_for_terminal(str(error))) from error
    token = workerinput(config).get("amlnn_token") or uuid4().hex
    config.stash[KEY] = Session(options=options, token=token)
    config.pluginmanager.register(Reported(config.stash[KEY]), "amlnn-reported")


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say what is resumed."""
    options = options_of(config)
    if not options.resume:
        return None
    ended = len([*store.run_files(options.out, [])])  # read they are in the end, once
    return (
        f"amlnn: resuming {planning.shown(options.out, config)}, where {ended} runs have ended"
    )


# collection


@pytest.hookimpl(trylast=True)  # once pytest has the fixtures of all plugins
def pytest_sessionstart(session: pytest.Session) -> None:
    """Leave the names of our fixtures to other plugins that have some of these names."""
    collection.yield_names(session, ("train", "gate", "device"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one item of each case of the profile, for functions that ask for cases."""
    collection.parametrize(metafunc, session_of(metafunc.config))


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Take note of all benchmarks that a file has, whichever are selected."""
    made = yield
    collection.remember(collector, made, session_of(collector.config))
    return made


@pytest.hookimpl(tryfirst=True)  # before -k and -m leave items out: those are cases too
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give every benchmark its clock, skip what cannot run here, leave out improvements."""
    collection.prepare(items, session_of(config), training_clock)
    collection.leave_out_improvements(items, config)


@pytest.hookimpl(tryfirst=True)  # before a worker tells its controller, which reads the plan
def pytest_collection_finish(session: pytest.Session) -> None:
    """In a worker, write down what is going to be run."""
    if workerinput(session.config):
        workers.begin(session)


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, Any, Any]:
    """Write down what is going to be run, so that what is missing later is known."""
    if not workerinput(session.config) and not is_parallel(session.config):
        planning.begin(session)
        planning.announce(session.config)
    return (yield)


# tests


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note why a benchmark was not run, and begin a failure's summary with what missed."""
    made = yield
    mine = collection.trains(item) or CALLED in item.stash
    if mine and not item.stash.get(TRAINED, False):
        planning.note_skip(item, made)
    crash = getattr(made.longrepr, "reprcrash", None)
    if crash and call.excinfo and (broken := item.stash.get(BROKEN, None)):
        said = str(call.excinfo.value)
        if broken in said or not said:  # and not another assertion of the same test
            crash.message = broken
    return made


# reports


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist waits for workers that are cut off
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Render the reports from the run directory, in the process that the user started."""
    mine = session_of(session.config)
    if mine.signals:
        session.exitstatus = TERMINATED
    if workerinput(session.config) or not mine.planned:
        return
    from pytest_amlnn import report
    from pytest_amlnn.progress import rendering

    terminal = session.config.pluginmanager.getplugin("terminalreporter")
    try:
        with uninterrupted(), rendering(len(mine.planned), terminal):
            store.tidy(mine.options.out)
            mine.sweep = report.write(mine.options.out, mine.options.data).with_late(
                mine.passed
            )
            mine.warning = report.append_summary(mine.sweep)
            plans.check_whole(mine.options.out, mine.planned)
    except UserError as error:
        mine.trouble = str(error)
    complete = not (mine.trouble or mine.sweep.missing or mine.sweep.unreadable)
    late = mine.sweep and mine.sweep.late and mine.options.gate == "enforce"
    if not session.exitstatus and (late or not complete):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)  # below pytest-benchmark's table: what was asked for comes last
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show the comparison, and where the whole report is."""
    session = session_of(config)
    if session.trouble:
        terminalreporter.section("no report", red=True)
        terminalreporter.write_line(lines_for_terminal(session.trouble))
    unused = collection.unused_data(session)
    if session.nodes and unused:  # an ini file may name what is not collected
        names = ", ".join(unused)
        terminalreporter.write_line(f"--amlnn-data: no collected case is trained on {names}")
    if session.sweep is None:
        return
    from pytest_amlnn import report
    from pytest_amlnn.report import text

    out, writer = planning.shown(session.options.out, config), terminalreporter._tw
    encoding = getattr(writer._file, "encoding", None) or "utf-8"
    for title, lines, marks in text.terminal(session.sweep, out, writer.fullwidth, encoding):
        if title:
            terminalreporter.section(title, **marks)
        for line, colours in lines:
            terminalreporter.write_line(line, **colours)
    for line in planning.limits_in_words(session.sweep, config):
        terminalreporter.write_line(lines_for_terminal(line))
    if session.warning:
        terminalreporter.write_line(lines_for_terminal(session.warning))
    for line in report.failures_for_ci(session.sweep):
        terminalreporter.write_line(line)
