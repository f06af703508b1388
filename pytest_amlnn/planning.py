"""What is checked and written down once benchmarks are about to run, and not before."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pytest_benchmark.utils import get_commit_info

from pytest_amlnn import plans
from pytest_amlnn.case import Case
from pytest_amlnn.collection import case_of, defined_elsewhere, trains
from pytest_amlnn.command_line import is_asking, workerinput
from pytest_amlnn.disk import expanded
from pytest_amlnn.errors import UserError
from pytest_amlnn.escapes import lines_for_terminal
from pytest_amlnn.identity import case_to_plain
from pytest_amlnn.options import Options, is_there
from pytest_amlnn.plain import IdentityError
from pytest_amlnn.session import Session, end_like_an_interrupt, session_of
from pytest_amlnn.time_left import announcement

if TYPE_CHECKING:
    from pytest_amlnn.gates.gate import Gate
    from pytest_amlnn.report.sweep import Sweep

OPTIONS = (
    "profile",
    "data",
    "device",
    "seed",
    "repeats",
    "gate",
    "strict",
    "baseline",
    "max_repeats",
)


def begin(session: pytest.Session) -> None:
    """Check what the benchmarks among the items need, and write the plan of the sweep.

    A run in which nothing trains is left alone. Raises pytest.UsageError.
    """
    config = session.config
    benchmarks = [item for item in session.items if trains(item)]
    broken = session.testsfailed and not config.option.continue_on_collection_errors
    if not benchmarks or broken or is_asking(config):
        return
    try:
        begin_sweep(benchmarks, config)
    except UserError as error:
        raise pytest.UsageError(lines_for_terminal(str(error))) from error


def announce(config: pytest.Config) -> None:
    """Say how long the sweep that was planned will take, where that is long."""
    session = session_of(config)
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if not session.planned or terminal is None:
        return
    options = session.options
    with suppress(UserError):  # said in the end
        words = announcement(plans.load(options.out), options.out, options.device)
        if words:
            terminal.write_line(words)


def begin_sweep(benchmarks: list[pytest.Item], config: pytest.Config) -> None:
    """Check options, data, limits and device, and write the plan; raises UserError."""
    from pytest_amlnn.gates import gate as gates  # not before something is to be trained

    session = session_of(config)
    options = session.options
    fix_cache(config)
    config.hook.pytest_amlnn_check(options=options)
    gate = gates.gate_of_options(options)
    check_limits(gate, session, config)
    check_device(options)
    plan = plan_of(benchmarks, gate, session)
    if not workerinput(config).get("amlnn_planned"):  # in the place of a worker that died
        plans.begin(options.out, plan, token=session.token, resume=options.resume)
        gate.keep_baseline()
    session.gate = replace(gate, planned=gates.planned_seeds(plans.load(options.out)))
    session.planned = {case["id"]: tuple(case["seeds"]) for case in plan["cases"]}
    end_like_an_interrupt(config)
    remember_code(benchmarks)


def check_limits(gate: Gate, session: Session, config: pytest.Config) -> None:
    """Refuse limits on what does not exist; raises GateError.

    Of a test that may stand where nothing was collected from nothing is known.
    """
    from pytest_amlnn.gates import limit_checks, limits

    known = {id for cases in session.known.values() for id in cases}
    held = gate.held.limits
    strange = {limit.case for limit in held} - known
    functions = {case.partition("[")[0] for case in strange}
    elsewhere = defined_elsewhere(functions, session, config)
    wrong = limit_checks.unknown(held, session.known, elsewhere=elsewhere)
    if wrong:
        raise limits.GateError("\n".join(wrong))


def fix_cache(config: pytest.Config) -> None:
    """Have a relative AMLNN_CACHE count from where pytest was started, wherever tests go."""
    if os.environ.get("AMLNN_CACHE"):
        place = config.invocation_params.dir / expanded(os.environ["AMLNN_CACHE"])
        os.environ["AMLNN_CACHE"] = str(place)


def check_device(options: Options) -> None:
    """Refuse a device that is not here; raises DeviceError."""
    if options.device not in ("auto", "cpu"):
        from pytest_amlnn.device import resolve

        resolve(options.device)


def plan_of(benchmarks: Iterable[pytest.Item], gate: Gate, session: Session) -> dict[str, Any]:
    """Return the plan of these items as plain data."""
    options = session.options
    return {
        "options": {name: getattr(options, name) for name in OPTIONS},
        "gates": str(options.gates) if is_there(options.gates) else None,
        **gate.held.to_plain(),
        "cases": with_bases(benchmarks, options),
        "costs": {item.nodeid: case.cost for item in benchmarks if (case := case_of(item))},
        "commit": get_commit_info(),
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def with_bases(benchmarks: Iterable[pytest.Item], options: Options) -> list[dict[str, Any]]:
    """Return the entries of all items, and of the bases that improvements are compared with.

    A base is trained in the item of the first improvement that wants it, if it has none.
    """
    items = [(item, case_of(item)) for item in benchmarks]
    entries = {item.name: plan_entry(item, case, options) for item, case in items}
    for item, case in items:
        entry = entries[item.name]
        if case is None or case.improvement is None or entry["skip"]:
            continue
        base = entries.setdefault(case.improvement.base.id, entry_of_base(entry))
        base["seeds"] = sorted({*base["seeds"], *entry["seeds"]})
        base["skip"] = None
    return [*entries.values()]


def entry_of_base(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the plan says of the base of an improvement that has no item of its own."""
    return {**entry, "id": entry["base"], "base": None}


def plan_entry(item: pytest.Item, case: Case | None, options: Options) -> dict[str, Any]:
    """Return what the plan says of one item; `case` is None where its body alone knows it."""
    skips = [
        str(mark.kwargs.get("reason") or next(iter(mark.args), "unconditional skip"))
        for mark in item.iter_markers("skip")
    ]
    return {
        "id": item.name,
        "nodeid": item.nodeid,
        "skip": skips[0] if skips else None,
        "seeds": (seeds := [*options.seeds_of(case.repeats if case else 1)]),
        "repeats": len(seeds),
        "base": case.improvement.base.id if case and case.improvement else None,
    }


def add_to_plan(item: pytest.Item, case: Case) -> None:
    """See that the plan has an item's case with all of its seeds; raises UserError.

    Which case that is may be known only as the test runs: from a fixture, or its body.
    """
    session = session_of(item.config)
    entry = plan_entry(item, case, session.options)
    if not session.planned:  # no item asked for `train` by its name
        begin_sweep([item], item.config)
    if case.improvement and case.improvement.base.id not in session.planned:
        base = entry_of_base(entry)
        plans.correct(session.options.out, base, ())
        session.planned[base["id"]] = tuple(base["seeds"])
    guessed = session.planned.get(item.name, ())
    if case_of(item) is not case and guessed != tuple(entry["seeds"]):
        plans.correct(session.options.out, entry, guessed)
        session.planned[item.name] = tuple(entry["seeds"])
    if session.gate is not None:  # which may have guessed its seeds, too
        planned = {**session.gate.planned, item.name: int(entry["repeats"])}
        session.gate = replace(session.gate, planned=planned)


def add_seeds(item: pytest.Item, id: str, seeds: Iterable[int]) -> None:
    """Put further seeds of an item's case, or of its base, into the plan, before they are
    trained."""
    session = session_of(item.config)
    whole = (*session.planned[id], *seeds)
    plans.add_seeds(session.options.out, id, whole)
    session.planned[id] = whole


def note_skip(item: pytest.Item, report: pytest.TestReport) -> None:
    """Note in the plan that a benchmark was not run after all, or it would be missing."""
    session = session_of(item.config)
    if not report.skipped or item.name not in session.planned:
        return
    if item.get_closest_marker("skip"):  # the plan knows
        return
    said = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    reason = getattr(report, "wasxfail", "") or said.removeprefix("Skipped: ")
    try:
        plans.mark_skipped(session.options.out, item.name, reason or "skipped")
    except UserError as error:
        session.trouble = str(error)


def limits_in_words(sweep: Sweep, config: pytest.Config) -> list[str]:
    """Say which cases of a sweep have limits, and from which file; and with what else they
    were compared."""
    from pytest_amlnn.gates import limit_checks, limits

    plan = sweep.plan
    if plan["options"]["gate"] == "off":
        return []
    file = str(shown(Path(plan["gates"]), config)) if plan["gates"] else None
    held = limits.from_plan(plan).limits
    ids = [case["id"] for case in plan["cases"]]
    lines = limit_checks.coverage(held, ids, file)
    if baseline := plan["options"].get("baseline"):
        place, known = shown(Path(baseline), config), {*ids} & {*sweep.compared}
        lines.append(f"baseline: {place}, for {len(known)} of {len(ids)} cases")
    return lines


def shown(path: Path, config: pytest.Config) -> Path:
    """Return a path as seen from the folder that pytest was started in, if it lies below."""
    here = config.invocation_params.dir
    return path.relative_to(here) if path.is_relative_to(here) else path


def remember_code(items: Iterable[pytest.Item]) -> None:
    """Read the code that cases reach, as it is now: it may be edited while they train."""
    for item in items:
        case = case_of(item)
        if case is not None:
            with suppress(IdentityError):  # said where the case is trained
                case_to_plain(case)
