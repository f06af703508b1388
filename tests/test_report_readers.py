"""Reports of a stranger's run directory, as their readers take them: people and programs."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

import pytest
from hostile_texts import INLINE, hostile, shown, text_of, tokens
from hypothesis import given
from hypothesis import strategies as st
from small_runs import DATASETS, ENVIRONMENT, planned, small_run, sweep
from wcwidth import wcswidth

from pytest_amlnn import Run, plans, report, store
from pytest_amlnn.gates.gate import Gate, judge_all
from pytest_amlnn.gates.limits import Limit, Limits
from pytest_amlnn.report import text
from pytest_amlnn.report.sweep import Sweep
from pytest_amlnn.report.tables import document, tables
from pytest_amlnn.report.values import Cell, Table
from pytest_amlnn.result import gather
from pytest_amlnn.statistics import spread

RUN = small_run()
LISTED = {"family", "variant", "label", "group"}


def with_case(run: Run, id: str, **changes: Any) -> Run:
    """Give a run of another case, whatever a stranger's record says of it."""
    training = {name: value for name, value in changes.items() if name not in LISTED}
    listed = {name: changes[name] for name in LISTED & changes.keys()}
    plain = {**run.case, **listed, "training": {**run.case["training"], **training}}
    return replace(run, id=id, case=plain)


def stranger(run: Run, name: str) -> Run:
    """Give a run of which every text is the one given."""
    texts = dict.fromkeys(("model", "start", "dataset", "task", *LISTED), name)
    columns = [
        {**column, "head": f"{column['head']}{name}", "sentence": name}
        for column in run.task["columns"]
    ]
    changed = with_case(run, f"test[{name}]", **texts)
    task = {**run.task, "columns": columns}
    return replace(changed, status="crashed", reason=name, init=name, task=task)


def sweep_of(runs: Iterable[Run], **plan: Any) -> Sweep:
    """Give what would be read of a run directory with these runs."""
    runs = list(runs)
    plan = {"options": {"profile": "quick"}, "limits": [], "commit": {}, "cases": [], **plan}
    results = gather(runs)
    return Sweep(
        folder=Path(),
        plan=plan,
        environment={**ENVIRONMENT, "datasets": DATASETS},
        results=tuple(results),
        verdicts=judge_all(results, Gate(held=Limits(limits=tuple(plan["limits"])))),
        lacking=plans.lacking(plan, {r.id: r.seeds for r in results}),
    )


def stranger_sweep(name: str) -> Sweep:
    """Give a sweep in which every text is the one given."""
    run = stranger(RUN, name)
    return replace(
        sweep_of(
            [run],
            options={"profile": name},
            commit={"id": name},
            cases=[
                planned(f"skipped{name}", name or "x"),
                planned(f"lost{name}"),
                planned(run.id),
            ],
            limits=[Limit(case=run.id, metric="test_accuracy", at_least=0.9, where=name)],
        ),
        environment={
            **ENVIRONMENT,
            **dict.fromkeys(("processor", "accelerator", "python"), name),
            "packages": {"torch": name, "timm": name},
            "datasets": {name: {"name": name, "digest": name, "counts": {name: 3}}},
        },
    )


# whatever a record says


@hostile
def test_markdown_is_text_whatever_a_record_says(text):
    """report.md has its own headings, lists and tables; the rest is the record's very text."""
    found = tokens(report.text.markdown(stranger_sweep(text)))
    kinds = {"heading", "paragraph", "list_item", "bullet_list"}
    blocks = {f"{kind}_{end}" for kind in kinds for end in ("open", "close")}
    table = {
        token.type
        for token in found
        if token.type.startswith(("table", "th", "tb", "tr", "td"))
    }
    headings = [i for i, token in enumerate(found) if token.type == "heading_open"]
    titles = [text_of([*found[i + 1].children]) for i in headings]
    cells = [text_of([*t.children]) for t in found if t.type == "inline" and t.level == 4]

    assert {token.type for token in found} - table <= blocks | INLINE
    assert titles == [
        shown(f"Profile {text}"),
        shown(f"{text} on {text}"),
        *("Limits not kept", "Runs in trouble", "Skipped", "Missing", "Why"),
    ]
    assert {shown(f"loss{text}"), shown(text), "75.0 [69.2, 80.1]"} - {""} <= {*cells}
    assert [token.type for token in found].count("list_item_open") == 8


@hostile
@pytest.mark.parametrize("width", [1, 80, 10_000])
def test_terminal_is_text_whatever_a_record_says(text, width):
    """No printed line moves a cursor, turns the direction or commands a CI system."""
    found = stranger_sweep(text)
    sections = report.text.terminal(found, Path(text), width)
    printed = [report.text.plain(found, width)]
    printed += [title for title, _, _ in sections]
    printed += [line for _, lines, _ in sections for line, _ in lines]

    for line in "\n".join(printed).split("\n"):
        assert line.isprintable()
        assert not line.lstrip().startswith("::")
        assert not re.search(r"##\w*\[", line)


@hostile
def test_programs_read_what_a_record_says(text):
    """summary.json tells the very text; what pytest-benchmark prints of it is visible."""
    found = stranger_sweep(text)
    plain = report.summary(found)
    timed = report.benchmark(stranger_sweep_that_finished(text))

    assert plain["cases"][0]["model"] == text
    assert [case["id"] for case in plain["missing"]] == [f"lost{text}"]
    assert json.dumps(timed, ensure_ascii=False, allow_nan=False).isprintable()
    assert not re.match(r"\s*::", timed["benchmarks"][0]["name"])


def stranger_sweep_that_finished(name: str) -> Sweep:
    """Give a sweep with a stranger's texts and times."""
    run = stranger(RUN, name)
    return sweep_of([replace(run, id=name, status="finished")], cases=[planned(name)])


AMLNN = "from pytest_amlnn.cli import main; raise SystemExit(main())"
TEXT = "模型 é\udcff\x1b[2J \\| <b> &lt;"


@pytest.fixture(scope="module")
def strange_folder(tmp_path_factory) -> Path:
    """A run directory with a name that not every terminal can show."""
    folder = tmp_path_factory.mktemp("strange")
    sweep(folder, [small_run()])
    for path in (folder / "plan.json", *folder.glob("runs/*/*.json")):
        text = json.dumps(store.as_stored(TEXT))[1:-1].replace("\\", "\\\\")
        path.write_text(re.sub('quick(?=")|random(?=")', text, path.read_text()))
    return folder


@pytest.mark.parametrize(
    ("encoding", "seen"),
    [
        ("utf-8", r"模型 é\udcff\x1b[2J \| <b> &lt;"),
        ("latin-1", r"\u6a21\u578b é\udcff\x1b[2J \| <b> &lt;"),
        ("ascii", r"\u6a21\u578b \xe9\udcff\x1b[2J \| <b> &lt;"),
    ],
)
def test_report_is_printed_in_any_encoding(strange_folder, encoding, seen):
    """`amlnn report` prints what a terminal can show, the rest as escapes, no Markdown."""
    done = subprocess.run(
        [sys.executable, "-c", AMLNN, "report", strange_folder],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    printed = done.stdout.decode(encoding)

    assert (done.returncode, done.stderr) == (0, b"")
    assert f"# Profile {seen}" in printed
    assert re.search(rf"linear +{re.escape(seen)} ", printed)


# rows


def rows_on(width: int, runs: Iterable[Run]) -> list[str]:
    """Give the rows of the only table on a terminal."""
    (table,) = tables(sweep_of(runs))
    return text.fit_width(table, width)[2 : 2 + len(table.rows)]


@pytest.mark.parametrize("width", [1, 10_000], ids=["narrow", "wide"])
@given(
    cases=st.lists(
        st.fixed_dictionaries(
            {name: st.sampled_from(["a", "b", "b "]) for name in ("model", "start", "variant")}
        ),
        min_size=2,
        max_size=6,
    )
)
def test_no_two_rows_are_named_alike(width, cases):
    """Whatever cases have in common, each row says which one it is, on any terminal."""
    rows = rows_on(width, [with_case(RUN, f"test[{i}]", **c) for i, c in enumerate(cases)])

    assert len({*rows}) == len(cases)


def test_rows_are_named_by_what_distinguishes_them():
    """Starts are essential where they tell cases apart; ids are shown if nothing else does."""
    alike = [with_case(RUN, f"test[{name}]") for name in "ab"]
    starts = [with_case(RUN, f"test[{name}]", start=name) for name in "ab"]

    assert [row.split()[0] for row in rows_on(1, alike)] == ["test[a]", "test[b]"]
    assert [row.split()[:3] for row in rows_on(1, starts)] == [
        ["linear", x, "60"] for x in "ab"
    ]
    assert "case" not in tables(sweep_of(starts))[0].heads


@pytest.mark.parametrize("name", ["模型模型", "e\u0301e\u0301", "ｗｉｄｅ", "linear", "мо"])
def test_columns_of_wide_letters_stay_in_line(name):
    """Letters of two columns, and accents of none, move no column, and the table fits."""
    runs = [with_case(RUN, f"test[{model}]", model=model) for model in (name, "linear", "x")]
    (table,) = tables(sweep_of(runs))
    lines = text.fit_width(table, 60)[: 2 + len(table.rows)]
    starts = {wcswidth(line[: line.index("75.0 [")]) for line in lines[2:]}

    assert len(starts) == 1
    assert max(map(wcswidth, lines)) <= 60


# times


@pytest.mark.parametrize("status", ["diverged", "oom", "crashed", "implausible"])
def test_only_finished_runs_are_timed(status):
    """A run that broke off has no time in benchmark.json, alone or beside finished ones."""
    bad = replace(small_run(seed=1, metrics={"train_seconds": 0.001}), status=status)
    alone = with_case(bad, "test_small[bad]")
    (timed,) = report.benchmark(sweep_of([small_run(), bad, alone]))["benchmarks"]

    assert timed["name"] == RUN.id
    assert timed["stats"]["data"] == [2.0]
    assert timed["extra_info"]["train_seconds"] == 2.0
    assert (timed["extra_info"]["status"], timed["extra_info"]["unfinished"]) == (status, 1)


# numbers


NUMBERS = st.lists(st.floats(allow_nan=True, allow_infinity=True) | st.none(), max_size=3)


@given(values=NUMBERS, form=st.sampled_from(["{:.1f}", "{:,.0f}", "{:.4g}", "{:+.1f}"]))
def test_nothing_infinite_is_shown(values, form):
    """A cell holds numbers or a dash: none that is not finite, and none as long as a line."""
    bounds = {"low": 0.0} if all(v is None or v >= 0 for v in values) else {}
    cell = Cell(spread=spread(values, **bounds), format=form, scale=100.0, interval=True)
    said = text.text_of(cell)

    assert re.fullmatch(r"-|[-+\d.,e]+( \[[-+\d.,e]+, [-+\d.,e]+\])?", said)
    assert len(said) < 80


@given(values=st.lists(st.floats(0, 1e300), min_size=1, max_size=3))
def test_programs_are_told_finite_numbers(values):
    """Both files for programs are JSON, whatever seconds a record names."""
    runs = [small_run(seed=i, metrics={"train_seconds": v}) for i, v in enumerate(values)]
    found = sweep_of(runs)
    timed = report.benchmark(found)["benchmarks"]

    assert json.dumps([report.summary(found), timed], allow_nan=False)
    assert all(math.isfinite(value) for case in timed for value in case["stats"]["data"])
    assert None not in [value for case in timed for value in case["stats"].values()]


# size


@pytest.mark.slow
def test_five_thousand_rows_take_seconds():
    """A table is laid out in proportion to its rows, however many columns do not fit."""
    runs = [with_case(RUN, f"test_small[{i:05}]", model=f"model{i}") for i in range(5000)]
    found = sweep_of(runs)
    start = process_time()
    section, *_ = text.terminal(found, Path("out"), 40)
    markdown = text.markdown(found)

    assert process_time() - start < 20
    assert len(section[1]) >= 5002
    assert len(markdown) <= text.LARGEST_COMMENT


def test_twenty_thousand_lost_cases_take_seconds():
    """What is missing is listed in proportion to how much it is."""
    found = sweep_of([], cases=[planned(f"test_small[{i}]") for i in range(20_000)])
    start = process_time()
    text.terminal(found, Path("out"), 80)
    document(found)
    text.markdown(found)

    assert process_time() - start < 5


def test_table_keeps_the_order_of_its_columns():
    """Some columns of a table stand as they stood, row by row."""
    row = tuple(Cell(words=word) for word in "abc")
    table = Table(title="t", heads=("1", "2", "3"), rows=(row,)).only(["3", "1"])

    assert (table.heads, table.rows) == (("1", "3"), ((row[0], row[2]),))
