"""Everything that pytest calls: options, hooks and fixtures, which hand over at once.

No torch is imported before a case needs it: this module is loaded into every pytest
run of the environment that it is installed in.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_amlnn import disk, hooks, plan, report, store
from pytest_amlnn import gate as gates
from pytest_amlnn.case import Case, discover, group_of, select
from pytest_amlnn.data import Data, DataError, Weights
from pytest_amlnn.options import OPTIONS, OptionError, Options, check
from pytest_amlnn.result import FINISHED, Result, Run, result_of

if TYPE_CHECKING:
    import torch

ERRORS = (OptionError, store.StoreError, disk.DiskError, gates.GateError, DataError)


@dataclass(frozen=True, kw_only=True)
class Session:
    """What the plugin knows while pytest runs."""

    options: Options
    limits: tuple[gates.Limit, ...]
    known: dict[str, dict[str, str]] = field(default_factory=dict)
    """By test function, the task of each case that it has in this profile."""
    nodes: dict[str, list[str]] = field(default_factory=dict)
    """By case key, the items that bear it; a run directory can hold only one."""


SESSION = pytest.StashKey[Session]()
SWEEP = pytest.StashKey[report.Sweep]()
TROUBLE = pytest.StashKey[str]()
"""Why there is no report."""
TERMINATED = pytest.StashKey[list[int]]()
"""The signal that ended pytest; there once a handler is set."""
CRASHES = pytest.StashKey[Counter[str]]()
"""By node id, how many workers died with it; there once a parallel sweep is planned."""

RERUNS = 2
"""Times that a case is run again whose worker died."""


# options


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Let conftest.py files speak for their datasets."""
    pluginmanager.add_hookspecs(hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add one group of options, each with a setting of the same name for pytest.ini."""
    group = parser.getgroup("amlnn", "benchmarks of training")
    for option in OPTIONS:
        if option.switch:
            group.addoption(f"--amlnn-{option.name}", action="store_true", help=option.help)
            parser.addini(f"amlnn_{option.name}", help=option.help, type="bool", default=False)
            continue
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
    return check(raw, root=config.rootpath, out=default_out(config, bool(raw["resume"])))


def default_out(config: pytest.Config, resume: bool) -> Path:
    """Return the run directory where none is named: a new one, or the newest to resume."""
    if "amlnn_out" in workerinput(config):
        return Path(workerinput(config)["amlnn_out"])
    home = config.rootpath / ".amlnn"
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return (store.newest(home) if resume else None) or home / f"{now}-{os.getpid()}"


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
    store.claim(options.out, resume=options.resume)
    if (options.out / store.PLAN).exists():
        profile = store.load_plan(options.out)["options"]["profile"]
        if profile != options.profile:
            raise store.StoreError(
                f"--amlnn-out {options.out} holds a sweep of the profile {profile}, not"
                f" {options.profile}: resume it with --amlnn-profile {profile}"
            )
        store.retry_unlucky(options.out)
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


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say what is resumed."""
    options = options_of(config)
    if not options.resume:
        return None
    ended = len(store.load_runs(options.out))
    return f"amlnn: going on in {options.out}, where {ended} runs have ended"


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where this sweep is stored, and whether it is planned."""
    node.workerinput["amlnn_out"] = str(options_of(node.config).out)
    node.workerinput["amlnn_planned"] = CRASHES in node.config.stash


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


@pytest.hookimpl(tryfirst=True)  # before -k and -m leave items out: those are cases too
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give every benchmark its clock, and skip the cases that cannot run here."""
    session = config.stash[SESSION]
    for item in filter(plan.trains, items):
        case = plan.case_of(item)
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
    group = group_of(vars(case)) if case else None
    own = item.get_closest_marker("benchmark")
    settings = {"timer": training_clock, "group": group, **(own.kwargs if own else {})}
    item.add_marker(pytest.mark.benchmark(**settings), append=False)


@pytest.hookimpl(tryfirst=True)  # before a worker tells its controller, which reads the plan
def pytest_collection_finish(session: pytest.Session) -> None:
    """Write down what is going to be run, so that what is missing later is known."""
    config, mine = session.config, session.config.stash[SESSION]
    planned = plan.plain(session.items, mine.options, mine.limits)
    again = workerinput(config).get("amlnn_planned")  # in the place of a worker that died
    if planned and not (again or config.option.collectonly or config.option.setupplan):
        try:
            store.save_plan(mine.options.out, planned)
        except disk.DiskError as error:
            config.stash[TROUBLE] = str(error)  # raised here it would look like a bug of pytest
        end_like_an_interrupt(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any) -> None:
    """Do in the controller, which collects nothing itself, what collection asks for."""
    config, out = node.config, options_of(node.config).out
    if CRASHES in config.stash or not (out / store.PLAN).exists():
        return
    config.stash[CRASHES] = Counter()
    end_like_an_interrupt(config)
    distributed = config.pluginmanager.getplugin("dsession")
    if config.option.maxworkerrestart is None and distributed._max_worker_restart is not None:
        # as many as the cases may cost; xdist's own limit would end the sweep before that
        cases = len(store.load_plan(out)["cases"])
        distributed._max_worker_restart += cases * (RERUNS + 1)


def end_like_an_interrupt(config: pytest.Config) -> None:
    """Have SIGTERM end pytest as Ctrl-C does, with a report, but with its own exit status."""
    if workerinput(config) or TERMINATED in config.stash:
        return
    if threading.current_thread() is not threading.main_thread():
        return  # Python lets no other thread set handlers
    config.stash[TERMINATED] = []

    def interrupt(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # once is enough: the report is on its way
        config.stash[TERMINATED].append(number)
        raise KeyboardInterrupt

    restore = partial(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, interrupt))
    config.add_cleanup(restore)  # type: ignore[arg-type]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let no signal cut a report that is being written, as far as Python allows."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# workers


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Start the costliest trainings first."""
    from pytest_amlnn.schedule import SCHEDULERS

    scheduler = SCHEDULERS.get(config.getvalue("dist"))
    return scheduler and scheduler(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: Any, sched: Any) -> None:
    """Run a case again whose worker died, some times; then record it as crashed."""
    config = report.node.config
    out = options_of(config).out
    planned = store.load_plan(out)["cases"] if CRASHES in config.stash else []
    ids = {case["nodeid"]: case["id"] for case in planned}
    if crashitem not in ids:
        return
    crashes = config.stash[CRASHES]
    crashes[crashitem] += 1
    if crashes[crashitem] <= RERUNS:
        with suppress(NotImplementedError):  # schedulers that keep items together do it anyway
            sched.mark_test_pending(crashitem)
        report.outcome = "rerun"
        return
    times = f"its process died {crashes[crashitem]} times"
    report.longrepr = f"{crashitem}: {times}, without a word: killed, or out of memory?"
    try:
        store.give_up(out, ids[crashitem], times)
    except ERRORS as error:
        config.stash[TROUBLE] = str(error)


def pytest_report_teststatus(
    report: Any,
) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Show that a case is run again."""
    return ("rerun", "R", ("RERUN", {"yellow": True})) if report.outcome == "rerun" else None


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
def train(request: pytest.FixtureRequest, benchmark: Any) -> Callable[..., Result]:
    """Train a case once for each seed, `train(case, data)`, and return its result.

    `data` gives the splits for a seed; with `train(case, data, weights)` nets start from
    those. Every run is stored as soon as it ends, and pytest-benchmark's table shows the
    training seconds. The item fails where a run diverges or is implausible, whatever the
    gate says.
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

    def train_case(case: Case, data: Data, weights: Weights | None = None) -> Result:
        if TROUBLE in request.config.stash:
            pytest.fail(request.config.stash[TROUBLE], pytrace=False)
        if runs:
            pytest.fail(f"train was called twice in {name}: an item stores one case")
        first, repeats = options.seed, options.repeats or case.repeats
        computed = compute(request, case, data, range(first, first + repeats), weights)

        def train_next() -> None:
            run = next(computed)
            runs.append(run)
            TrainingClock.seconds += run.metrics.get("train_seconds") or 0.0

        def train_all() -> None:
            for _ in range(repeats):
                train_next()

        if benchmark.enabled:
            benchmark.pedantic(train_next, rounds=repeats)
        else:  # under pytest-xdist it calls its target once, whatever the rounds
            benchmark.pedantic(train_all)
        result = result_of(tuple(runs))
        benchmark.extra_info |= {name: s.mean for name, s in result.metrics.items()}
        if result.status != FINISHED:
            pytest.fail("\n".join(result.troubles), pytrace=False)
        return result

    return train_case


def compute(
    request: pytest.FixtureRequest,
    case: Case,
    data: Data,
    seeds: Sequence[int],
    weights: Weights | None,
) -> Iterator[Run]:
    """Yield the runs with these seeds, as stored or trained now."""
    from pytest_amlnn.device import DeviceError
    from pytest_amlnn.engines import inline

    options = request.config.stash[SESSION].options
    name = request.node.name

    def shown(waiting: Sequence[int]) -> Any:
        plural = "seeds" if len(waiting) > 1 else "seed"
        title = f"{name} {plural} {', '.join(map(str, waiting))}"
        return progress(request, title, case.recipe.epochs)

    job = inline.Job(
        case=case,
        data=data,
        id=name,
        out=options.out,
        device=options.device,
        facts={"profile": options.profile, "engine": "inline"},
        weights=weights,
        contended=int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1,
    )
    try:
        yield from inline.compute(job, seeds, shown)
        return
    except (*ERRORS, DeviceError) as error:
        words = f"{name}: {error}"
    pytest.fail(words, pytrace=False)  # out here, where pytest shows nothing but the words


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


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Note in the plan that a benchmark was skipped after all, or it would be missing."""
    raised, out = call.excinfo, options_of(item.config).out
    if not (raised and raised.errisinstance(pytest.skip.Exception) and plan.trains(item)):
        return
    if item.get_closest_marker("skip"):  # the plan knows
        return
    if (out / store.PLAN).exists():
        try:
            store.mark_skipped(out, item.name, str(raised.value))
        except ERRORS as error:
            item.config.stash[TROUBLE] = str(error)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist waits for workers that are cut off
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Render the reports from the run directory, in the process that the user started."""
    config = session.config
    out = options_of(config).out
    if config.stash.get(TERMINATED, []):
        session.exitstatus = 128 + signal.SIGTERM
    if workerinput(config) or not (out / store.PLAN).exists() or config.option.collectonly:
        return
    try:
        with undisturbed():
            store.tidy(out)
            config.stash[SWEEP] = report.write(out)
    except ERRORS as error:
        config.stash[TROUBLE] = str(error)
    complete = SWEEP in config.stash and not config.stash[SWEEP].missing
    if not session.exitstatus and not complete:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)  # below pytest-benchmark's table: what was asked for comes last
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show the comparison, and where the whole report is."""
    if TROUBLE in config.stash:
        terminalreporter.section("no report", red=True)
        terminalreporter.write_line(config.stash[TROUBLE])
    if SWEEP not in config.stash:
        return
    from pytest_amlnn.report.table import tables

    sweep, out = config.stash[SWEEP], options_of(config).out
    for title, rows in tables(sweep, "simple"):
        terminalreporter.section(title)
        terminalreporter.write_line(rows)
    if sweep.missing:
        terminalreporter.section("missing", red=True)
        for case in sweep.missing:
            terminalreporter.write_line(f"{case['id']}: {case['reason']}")
        terminalreporter.write_line(f"go on with: --amlnn-resume --amlnn-out {out}")
    terminalreporter.write_line(f"\nreport: {out / 'report.md'}")
