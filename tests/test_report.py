"""Reports, as they follow from what a run directory holds."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from small_cases import CPU, small_case, squares
from small_runs import DATASETS, ENVIRONMENT, small_run, sweep

from pytest_amlnn import CLASSIFICATION, FORECAST, outcome, report, training
from pytest_amlnn.gates.limits import Limit
from pytest_amlnn.metrics import COMMON
from pytest_amlnn.report import text
from pytest_amlnn.report.tables import document, tables
from pytest_amlnn.report.text import fit_width, grid, markdown, terminal, text_of
from pytest_amlnn.report.values import Cell, Table
from pytest_amlnn.result import SCHEMA
from pytest_amlnn.statistics import spread
from pytest_amlnn.store import StoreError

PICTURES, SERIES = "test_small[linear]", "test_line[line]"
LIMIT = Limit(case=PICTURES, metric="test_accuracy", at_least=0.9, where="gates.toml:3")


def small_runs(accuracies: tuple[float, ...] = (0.7, 0.8)) -> list:
    """Give a case of pictures with a run for each accuracy, and a series with one run."""
    runs = [
        small_run(PICTURES, seed, metrics={"test_accuracy": value, "train_seconds": 2.0 + seed})
        for seed, value in enumerate(accuracies)
    ]
    return [*runs, small_run(SERIES, task="forecast")]


def summary(folder: Path, *args: object, **options: object) -> dict:
    """Write the reports of a sweep and give its summary."""
    report.write(sweep(folder, *args, **options))
    return json.loads((folder / "summary.json").read_text())


def rows(folder: Path, runs: list, **options: object) -> list[dict[str, str]]:
    """Give the rows of the only table, its cells by column."""
    (table,) = tables(report.read(sweep(folder, runs, **options)))
    return [
        {head: text_of(cell) for head, cell in zip(table.heads, row, strict=True)}
        for row in table.rows
    ]


def parsed(folder: Path) -> list[Token]:
    """Read report.md as a viewer does that lets HTML through."""
    report.write(folder)
    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens = reader.parse((folder / "report.md").read_text())
    return [inner for token in tokens for inner in (token, *(token.children or ()))]


# summary.json


def test_summary_has_the_documented_form(tmp_path):
    """Other programs find the keys that the documentation promises, and no others."""
    plain = summary(
        tmp_path,
        small_runs(),
        limits=[LIMIT],
        skipped={"test_small[big]": "no data; `amlnn fetch` gets them"},
        missing=["test_small[lost]"],
    )
    pictures = plain["cases"][1]

    said = ("cases", "answer", "explanations")

    assert {name: value for name, value in plain.items() if name not in said} == {
        "schema": 2,
        "profile": "quick",
        "environment": {**ENVIRONMENT, "schema": SCHEMA, "datasets": DATASETS},
        "skipped": [{"id": "test_small[big]", "reason": "no data; `amlnn fetch` gets them"}],
        "missing": [{"id": "test_small[lost]", "reason": "no run ended with seed 0"}],
        "comparisons": [],
        "claims": [],
        "improvements": [],
    }
    assert len(plain["answer"]) == 3
    assert plain["explanations"] == []
    assert {name: value for name, value in pictures.items() if name != "metrics"} == {
        "id": PICTURES,
        "family": "small",
        "task": "classification",
        "model": "linear",
        "init": "random",
        "size": 60,
        "dataset": "squares",
        "status": "finished",
        "seeds": [0, 1],
        "digests": ["0" * 64, "0" * 64],
        "judged_by": {
            "name": "test_accuracy",
            "better": "higher",
            "share": True,
            "matters": None,
            "of_machine": False,
        },
        "gate": {
            "verdict": "regressed",
            "limits": [
                {
                    "metric": "test_accuracy",
                    "at_least": 0.9,
                    "at_most": None,
                    "exactly": None,
                    "where": "gates.toml:3",
                    "value": 0.75,
                    "reference": None,
                    "margin": None,
                    "low": None,
                    "high": None,
                    "verdict": "regressed",
                    "needs_seeds": None,
                    "why": [],
                }
            ],
        },
        "contended": False,
    }


def test_summary_has_every_metric(tmp_path):
    """Each case has the metrics of its task, each with mean, spread, interval and runs."""
    series, pictures = summary(tmp_path, small_runs())["cases"]

    for case, task in ((pictures, CLASSIFICATION), (series, FORECAST)):
        assert set(case["metrics"]) == {metric.name for metric in (*task.metrics, *COMMON)}
    assert pictures["metrics"]["train_seconds"] == {
        "mean": 2.5,
        "sd": pytest.approx(0.7071, abs=1e-4),
        "low": pytest.approx(0.197, abs=1e-3),
        "high": pytest.approx(31.73, abs=1e-2),
        "runs": [2.0, 3.0],
    }


def test_case_without_a_limit_has_no_verdict(tmp_path):
    """With the gate off, or no limit on a case, its verdict is null."""
    plain = summary(tmp_path, small_runs())

    assert [case["gate"] for case in plain["cases"]] == [{"verdict": None, "limits": []}] * 2


def test_value_that_is_no_number_is_null(tmp_path):
    """A metric that diverged is null in the summary, and so is its mean."""
    run = small_run(status="diverged", metrics={"test_loss": float("nan")})
    (case,) = summary(tmp_path, [run])["cases"]

    assert case["status"] == "diverged"
    assert case["metrics"]["test_loss"]["runs"] == [None]
    assert case["metrics"]["test_loss"]["mean"] is None


def test_case_with_a_run_is_not_missing(tmp_path):
    """A run that ended badly is there all the same."""
    plain = summary(tmp_path, [small_run(status="diverged")], missing=["test_small[lost]"])

    assert [case["id"] for case in plain["missing"]] == ["test_small[lost]"]


def test_lost_seed_is_missing(tmp_path):
    """A case that lacks a run is missing, with the seeds, and is not called finished."""
    folder = sweep(tmp_path, [small_run(seed=0)], seeds=[0, 1, 2])
    report.write(folder)
    plain = json.loads((folder / "summary.json").read_text())

    assert [case["status"] for case in plain["cases"]] == ["missing"]
    assert plain["missing"] == [
        {"id": "test_small[linear]", "reason": "no run ended with seed 1, 2"}
    ]


def test_skipped_case_is_not_missing(tmp_path):
    """A case that cannot run here is listed once, with its reason."""
    plain = summary(tmp_path, [], skipped={"test_small[big]": "no data"})

    assert plain["skipped"] == [{"id": "test_small[big]", "reason": "no data"}]
    assert plain["missing"] == []


# benchmark.json


def compare(*files: Path) -> str:
    """Give what `pytest-benchmark compare` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "compare", *files],
        capture_output=True,
        text=True,
        cwd=files[0].parent,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pytest_benchmark_reads_the_times(tmp_path):
    """`pytest-benchmark compare` shows each case, grouped by data and size."""
    report.write(sweep(tmp_path, small_runs()))
    shown = compare(tmp_path / "benchmark.json")

    assert "benchmark 'small squares 60': 1 tests" in shown
    assert re.search(r"test_small\[linear\] .* 2\.0+ +3\.0+ +2\.50+ ", shown)
    assert "benchmark 'small ar 60': 1 tests" in shown


def test_pytest_benchmark_compares_two_sweeps(tmp_path):
    """Two sweeps stand beside each other, case by case."""
    files = []
    for name in ("one", "two"):
        report.write(sweep(tmp_path / name, small_runs()))
        files.append(tmp_path / name / "benchmark.json")

    assert "benchmark 'small squares 60': 2 tests" in compare(*files)


def test_case_without_times_is_left_out_of_the_benchmark(tmp_path):
    """A run whose time is unknown has no place among times, and stays in the summary."""
    runs = [*small_runs(), small_run("test_small[lost]", metrics={"train_seconds": None})]
    plain = summary(tmp_path, runs)
    timed = json.loads((tmp_path / "benchmark.json").read_text())["benchmarks"]

    assert [case["name"] for case in timed] == [SERIES, PICTURES]
    assert "test_small[lost]" in [case["id"] for case in plain["cases"]]


def test_benchmark_names_the_item(tmp_path):
    """A benchmark's full name is the node id that pytest runs again."""
    report.write(sweep(tmp_path, small_runs()))
    timed = json.loads((tmp_path / "benchmark.json").read_text())["benchmarks"]

    assert timed[1]["fullname"] == f"benchmarks/test_small.py::{PICTURES}"
    assert timed[1]["extra_info"]["test_accuracy"] == 0.75


# the table


def test_table_of_pictures(tmp_path):
    """A case of pictures has its accuracy with interval, beside chance, costs and verdict."""
    runs = small_runs()[:2]
    (row,) = rows(tmp_path, runs, limits=[LIMIT])

    assert row == {
        "model": "linear",
        "init": "random",
        "size": "60",
        "accuracy %": "75.0 [11.5, 100.0]",
        "chance %": "33.3",
        "top-5 %": "95.0",
        "loss": "0.500",
        "epochs": "1",
        "train s": "2.5 [0.2, 31.7]",
        "samples/s": "3,000",
        "parameters": "579",
        "seeds": "2",
        "gate": "regressed",
    }


def test_table_of_series(tmp_path):
    """A forecast stands beside the oracle and the simple forecasts."""
    runs = [
        small_run(SERIES, seed, task="forecast", metrics={"test_mse": value})
        for seed, value in enumerate((1.5, 1.5))
    ]
    (row,) = rows(tmp_path, runs)

    assert row["MSE"] == "1.5 [1.5, 1.5]"
    assert (row["oracle"], row["autoregression"]) == ("1.2", "1.4")
    assert row["seasonal naive"] == "2.5"
    assert row["against autoregression"] == "0.933 [0.933, 0.933] worse"
    assert row["efficiency"] == "0.800 [0.800, 0.800]"
    assert "accuracy %" not in row


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ((1.3, 1.31), "better"),
        ((1.5, 1.51), "worse"),
        ((1.3, 1.5), "not distinguishable"),
        ((1.3,), "1.077"),
        ((1.3, None), "-"),
    ],
)
def test_report_says_where_autoregression_wins(errors, said, tmp_path):
    """A net is better or worse where the interval of the ratio of their errors leaves out 1."""
    runs = [
        small_run(SERIES, seed, task="forecast", metrics={"test_mse": value})
        for seed, value in enumerate(errors)
    ]
    (row,) = rows(tmp_path, runs)

    assert row["against autoregression"].endswith(said)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ((0.7,), "+15.0"),
        ((0.5,), "-5.0"),
        ((0.7, 0.72), "+16.0 [+3.3, +28.7]"),
        ((0.7, None), ""),
    ],
)
def test_report_says_what_training_added(after, said, tmp_path):
    """Accuracy on validation pictures after training, less that before the first step."""
    runs = [
        small_run(seed=seed, metrics={"start_accuracy": 0.55, "val_accuracy": value})
        for seed, value in enumerate(after)
    ]
    (row,) = rows(tmp_path, runs)

    assert row["start %"] == "55.0"
    assert row.get("added", "") == said


def test_net_that_starts_at_random_has_no_start(tmp_path):
    """The columns of trained weights are left out where nothing starts from any."""
    (row,) = rows(tmp_path, [small_run()])

    assert not {"start %", "added"} & row.keys()


def test_one_run_has_wilsons_interval(tmp_path):
    """One run's accuracy is as sure as its 240 test pictures make it."""
    (row,) = rows(tmp_path, [small_run()])

    assert row["accuracy %"] == "75.0 [69.2, 80.1]"
    assert row["train s"] == "2.0"


def test_unknown_value_is_a_dash(tmp_path):
    """A run that diverged has no accuracy, and says what became of it."""
    run = small_run(status="diverged", metrics={"test_accuracy": None, "test_top5": None})
    (row,) = rows(tmp_path, [run])

    assert (row["accuracy %"], row["top-5 %"], row["status"]) == ("-", "-", "diverged")


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ({"test_accuracy": 0.0023, "test_loss": 5.2}, "0.23 %"),
        ({"scaled_loss": 0.0084}, "loss 0.0084"),
    ],
)
def test_original_report_stands_beside_ours(tmp_path, reference, shown):
    """Where the original report has the model and size, its number is shown."""
    runs = [small_run(reference=reference), small_run("test_small[own]")]
    other, own = sorted(rows(tmp_path, runs), key=lambda row: row["model"])

    assert (other.get("original", ""), own.get("original", "")) == (shown, "")


def test_variant_is_marked(tmp_path):
    """Cases that differ in their variant alone can be told apart in the table."""
    runs = [
        small_run(f"test_line[60{variant}]", model="lstm", variant=variant)
        for variant in ("", "steps")
    ]

    assert [row["variant"] for row in rows(tmp_path, runs)] == ["", "steps"]


def test_rows_go_by_size_then_model(tmp_path):
    """Sizes are ordered as numbers, and models of one size stand together."""
    runs = [
        small_run(f"test_small[{model}-{size}]", model=model, size=size)
        for model in ("b", "a")
        for size in (10_000, 90_000, 500)
    ]
    found = [(row["size"], row["model"]) for row in rows(tmp_path, runs)]

    assert found == [(n, m) for n in ("500", "10,000", "90,000") for m in "ab"]


def test_each_dataset_has_a_table(tmp_path):
    """Results on different data are never put into one table."""
    found = tables(report.read(sweep(tmp_path, small_runs())))

    assert [table.title for table in found] == ["small on ar", "small on squares"]


def test_column_without_a_value_is_left_out(tmp_path):
    """A measured series has no oracle: nothing of one stands in its table."""
    unknown = dict.fromkeys(("oracle_mse", "efficiency", "autoregression_mse"))
    (row,) = rows(tmp_path, [small_run(SERIES, task="forecast", metrics=unknown)])
    absent = {"oracle", "efficiency", "autoregression", "against autoregression", "status"}

    assert row["MSE"] == "1.5"
    assert not absent & row.keys()


def test_chance_is_known_where_memory_was_lacking(tmp_path):
    """A run that saw its data and no more stands beside the accuracy of guessing."""
    begun = training.initial_run(small_case(), id=PICTURES, seed=0, device=CPU)
    ended = outcome.out_of_memory(small_case(), squares(), begun, CPU, "no memory")
    (row,) = rows(tmp_path, [ended.run])

    assert (row["accuracy %"], row["chance %"], row["status"]) == ("-", "33.3", "oom")


FEW, UNKNOWN = spread([0.5, 0.7]), spread([None, 0.5])


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Cell(), ""),
        (Cell(words="vgg19"), "vgg19"),
        (Cell(spread=FEW), "0.6"),
        (Cell(spread=FEW, scale=100, format="{:.1f}", interval=True), "60.0 [-67.1, 187.1]"),
        (Cell(spread=spread([0.5]), interval=True), "0.5"),
        (Cell(spread=spread([0.0]), format="{:+.1f}"), "+0.0"),
        (Cell(spread=spread([0.0312]), format="{:.1f}"), "0.0312"),
        (
            Cell(spread=spread([2e-5, 4e-5], low=0.0), interval=True),
            "3e-05 [4.342e-07, 0.002073]",
        ),
        (Cell(spread=spread([1e200]), format="{:,.0f}"), "1e+200"),
        (Cell(spread=FEW, words="better"), "0.6 better"),
        (Cell(spread=UNKNOWN), "-"),
        (Cell(spread=UNKNOWN, interval=True, words="better"), "- better"),
    ],
)
def test_cell_as_text(cell, text):
    """A cell reads as number, interval and words, as far as it has them; - is not known."""
    assert text_of(cell) == text
    assert cell.empty == (text == "")


def test_grid_escapes_every_cell():
    """Whatever a reader asks to be escaped is escaped in each cell of a table."""
    table = Table(title="t", heads=("a", "b"), rows=((Cell(words="x|y"), Cell(words="1")),))
    head, _, row = grid(table, "github", lambda text: text.replace("|", "!")).splitlines()

    assert [cell.strip() for cell in head.split("|")] == ["", "a", "b", ""]
    assert [cell.strip() for cell in row.split("|")] == ["", "x!y", "1", ""]


# report.md


def test_markdown_tells_all(tmp_path):
    """The report names machine, data, limits not kept, trouble, skipped and missing."""
    bad = small_run("test_small[bad]", status="diverged", reason="the loss is no number")
    folder = sweep(
        tmp_path,
        [*small_runs(), bad],
        limits=[LIMIT],
        skipped={"test_small[big]": "no data"},
        missing=["test_small[lost]"],
    )
    text = markdown(report.read(folder))

    for words in (
        "# Profile quick",
        "A processor, 2 cores, Python 3.11.7, torch 2.11.0, timm 1.0.26",
        "- squares: 60 train, 30 validation, 240 test; digest 0123456789ab",
        "## small on squares",
        f"- {PICTURES}: regressed: test_accuracy is 0.75, needs at least 0.9 (gates.toml:3)",
        "- test_small[bad], seed 0: diverged: the loss is no number",
        "- test_small[big]: no data",
        "- test_small[lost]: no run ended with seed 0",
    ):
        assert words in text


def test_good_sweep_has_no_bad_news(tmp_path):
    """Headings without anything under them are left out."""
    text = markdown(report.read(sweep(tmp_path, small_runs())))

    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# Profile quick",
        "## small on ar",
        "## small on squares",
    ]


@pytest.mark.parametrize(
    ("run", "said", "unsaid"),
    [
        (small_run(), ["Intervals are", "Training seconds"], ["Efficiency", "Added", "origin"]),
        (small_run(SERIES, task="forecast"), ["Efficiency", "autoregression"], ["Start is"]),
        (small_run(metrics={"start_accuracy": 0.5}), ["Start is", "Added is"], ["Efficiency"]),
        (small_run(reference={"scaled_loss": 0.1}), ["An original loss"], []),
    ],
    ids=["pictures", "series", "weights", "original"],
)
def test_notes_explain_the_columns_that_are_there(tmp_path, run, said, unsaid):
    """Below the tables stand the sentences of their columns, each once, and no others."""
    notes = document(report.read(sweep(tmp_path, [run]))).notes

    assert len({*notes}) == len(notes)
    for words in said:
        assert words in " ".join(notes)
    for words in unsaid:
        assert words not in " ".join(notes)


HOSTILE = ["a|b", "<script>alert(1)</script>", "two\nlines", "<!-- ", "|", "a\n\n# b"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_model_breaks_nothing(tmp_path, name):
    """A model's name is text in its cell: no HTML, no further column, row or heading."""
    plain, hostile = (
        parsed(sweep(tmp_path / folder, [small_run(model=model)]))
        for folder, model in (("plain", "linear"), ("hostile", name))
    )

    assert [t.type for t in hostile if t.level == 0] == [t.type for t in plain if t.level == 0]
    assert len([t for t in hostile if t.type == "td_open"]) == len(
        [t for t in plain if t.type == "td_open"]
    )
    assert not [token for token in hostile if token.type.startswith("html")]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_reason_of_a_skip_breaks_nothing(tmp_path, name):
    """The reason why a case was skipped is one item of its list, and no HTML."""
    tokens = parsed(sweep(tmp_path, [], skipped={"test_small[x]": name}))

    assert [token.type for token in tokens].count("list_item_open") == 2
    assert not [token for token in tokens if token.type.startswith("html")]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_reason_of_a_run_breaks_nothing(tmp_path, name):
    """What went wrong with a run is one item of each list that says it, and no HTML."""
    tokens = parsed(sweep(tmp_path, [small_run(status="crashed", reason=name)]))
    plain_tokens = parsed(sweep(tmp_path, [small_run(status="crashed", reason="oh")]))
    kinds = [[token.type for token in found] for found in (tokens, plain_tokens)]

    assert kinds[0].count("list_item_open") == kinds[1].count("list_item_open")
    assert not [token for token in tokens if token.type.startswith("html")]


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a\n\n# b"])
def test_hostile_dataset_breaks_nothing(tmp_path, name):
    """The name of a dataset or family is text in its heading."""
    tokens = parsed(sweep(tmp_path, [small_run(dataset=name)]))

    assert len([token for token in tokens if token.type == "heading_open"]) == 2
    assert not [token for token in tokens if token.type.startswith("html")]


# the terminal


def test_terminal_shows_tables_and_where_the_report_is(tmp_path):
    """Each table is a section of its own, then the answer; the last line names the report."""
    sections = terminal(report.read(sweep(tmp_path, small_runs())), tmp_path, 300)

    titles = ["small on ar", "small on squares", "answer", ""]
    assert [title for title, _, _ in sections] == titles
    assert sections[-1][1][-1][0] == f"report: {tmp_path / 'report.html'} and report.md"


def test_terminal_says_how_to_resume(tmp_path):
    """What is missing is listed in red, with the options that complete the sweep."""
    folder = sweep(tmp_path, small_runs(), missing=["test_small[lost]"])
    _, _, (title, lines, marks), *_ = terminal(report.read(folder), folder, 300)

    assert (title, marks) == ("missing", {"red": True})
    assert [line for line, _ in lines] == [
        "test_small[lost]: no run ended with seed 0",
        f"resume with: --amlnn-resume --amlnn-out {folder}",
    ]


@pytest.mark.parametrize("text", ["\x1b[2J", "a\rb", "\x07", "a\nb", "\u202e"])
def test_hostile_name_moves_no_cursor(tmp_path, text):
    """A terminal is given printable characters, whatever a model or dataset is called."""
    folder = sweep(tmp_path, [small_run(model=text, dataset=text)], missing=[f"t[{text}]"])
    found = terminal(report.read(folder), tmp_path, 300)
    shown = "".join(title + "".join(line for line, _ in lines) for title, lines, _ in found)

    assert [c for c in shown if not c.isprintable() and c != "\n"] == []
    assert text.encode("unicode_escape").decode() in shown


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Table:
    """The table of pictures, its columns of all kinds."""
    runs = [small_run(PICTURES, seed) for seed in range(2)]
    (table,) = tables(report.read(sweep(tmp_path_factory.mktemp("wide"), runs)))
    return table


def shown_and_left_out(table: Table, width: int) -> tuple[list[str], list[str], int]:
    """Give the heads that are shown and those that are named below, and the widest line."""
    lines = fit_width(table, width)
    rows, below = lines[: 2 + len(table.rows)], lines[2 + len(table.rows) :]
    names = " ".join(below).removeprefix("also in the report: ").split(", ") if below else []
    return re.split("  +", rows[0].strip()), names, max(map(len, rows))


@given(width=st.integers(1, 250))
def test_table_fits_the_terminal(wide, width):
    """As many columns as there is room for are shown, from the left, the others are named."""
    shown, left_out, widest = shown_and_left_out(wide, width)
    spared = [head for head in wide.heads if head not in wide.essential]

    assert sorted(shown + left_out) == sorted(wide.heads)
    assert left_out == spared[len(spared) - len(left_out) :]
    assert widest <= width or left_out == spared


def test_wide_terminal_shows_all(wide):
    """Nothing is left out where there is room, and the line that names it is not there."""
    shown, left_out, widest = shown_and_left_out(wide, 1000)

    assert shown == [*wide.heads]
    assert left_out == []
    assert shown_and_left_out(wide, widest)[1] == []
    assert shown_and_left_out(wide, widest - 1)[1] == [
        [head for head in wide.heads if head not in wide.essential][-1]
    ]


def test_narrow_terminal_shows_what_is_essential(tmp_path):
    """Which case, what it reached and what the gate says of it are shown on any terminal."""
    folder = sweep(tmp_path, small_runs(), limits=[LIMIT])
    shown = {
        table.title: shown_and_left_out(table, 1)[0] for table in tables(report.read(folder))
    }

    assert shown == {
        "small on ar": ["model", "size", "against autoregression", "efficiency"],
        "small on squares": ["model", "size", "accuracy %", "chance %", "gate"],
    }


# all of them


def contents(folder: Path) -> dict[str, object]:
    """Give all reports, without the time at which they were written."""
    timed = json.loads((folder / "benchmark.json").read_text())
    del timed["datetime"]
    names = ("summary.json", "report.md")
    return {name: (folder / name).read_bytes() for name in names} | {"benchmark": timed}


def test_reports_follow_from_the_run_directory(tmp_path):
    """Rendered again, every file is the same."""
    folder = sweep(tmp_path, small_runs(), limits=[LIMIT], missing=["test_small[lost]"])
    found = []
    for _ in range(2):
        report.write(folder)
        found.append(contents(folder))

    assert found[0] == found[1]


def test_reports_do_not_tell_where_they_were_rendered(tmp_path, monkeypatch):
    """A sweep rendered from elsewhere is not ascribed to the code that lies there."""
    folder = sweep(tmp_path / "out", small_runs())
    found = []
    for place in (tmp_path, Path(__file__).parent):
        monkeypatch.chdir(place)
        report.write(folder)
        found.append(contents(folder))

    assert found[0] == found[1]


def test_order_on_disk_does_not_matter(tmp_path):
    """Runs stored in another order, as workers do, give the same reports."""
    runs = small_runs()
    for name, some in (("one", runs), ("two", runs[::-1])):
        folder = sweep(tmp_path / name, [])
        sweep(folder, some)
        (folder / "plan.json").unlink()
        report.write(sweep(folder, [], missing=[SERIES, PICTURES]))

    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("environment", [None, ENVIRONMENT], ids=["bare", "known"])
def test_nothing_finished(tmp_path, environment):
    """A sweep cut before its first run ended has reports that say so."""
    plain = summary(tmp_path, [], missing=[PICTURES], environment=environment)
    text = (tmp_path / "report.md").read_text()

    assert plain["cases"] == []
    assert [case["id"] for case in plain["missing"]] == [PICTURES]
    assert f"- {PICTURES}: no run ended with seed 0" in text
    assert "Name (time in s)" not in compare(tmp_path / "benchmark.json")


def test_folder_without_a_plan_is_refused(tmp_path):
    """What is no run directory gets no reports."""
    with pytest.raises(StoreError, match="is no run directory"):
        report.write(tmp_path)

    assert list(tmp_path.iterdir()) == []


# the answer, and how much of the rest there is room for


def many_cases(count: int) -> list:
    """Give cases of so many models, three seeds each, each model better than the one before."""
    return [
        small_run(
            f"test_small[m{model:03}]",
            seed,
            model=f"m{model:03}",
            metrics={"test_accuracy": 0.4 + 0.5 * model / count + 0.001 * seed},
        )
        for model in range(count)
        for seed in range(3)
    ]


@pytest.fixture(scope="module")
def thirty(tmp_path_factory) -> Path:
    """A sweep of thirty cases."""
    return sweep(tmp_path_factory.mktemp("thirty"), many_cases(30))


@pytest.mark.parametrize("room", [65_536, 20_000, 14_000, 9_000, 2_000])
def test_markdown_fits_into_a_comment(thirty, monkeypatch, room):
    """report.md has at most the characters of a comment, and says so where it is cut."""
    whole = markdown(report.read(thirty))
    monkeypatch.setattr(text, "LARGEST_COMMENT", room)
    short = markdown(report.read(thirty))

    assert len(whole) <= 65_536
    assert len(short) <= room
    assert short.endswith("The rest is in report.html.\n") == (room < 10_000)
    assert "is best with test_accuracy" in short


def test_markdown_drops_evidence_first(thirty, monkeypatch):
    """Where there is not room for all, sentences stay, and what they rest on goes."""
    evidence, sentence = "chance of so large a difference between equals 0", "is better than m"
    whole = markdown(report.read(thirty))
    monkeypatch.setattr(text, "LARGEST_COMMENT", len(whole) - 1)
    short = markdown(report.read(thirty))

    assert evidence in whole
    assert evidence not in short
    assert short.count(sentence) == whole.count(sentence) > 5


def test_terminal_ends_with_the_answer(tmp_path):
    """At 100 columns no line is longer, and three sentences follow the tables."""
    folder = sweep(tmp_path, many_cases(12))
    *_, (title, lines, _), _ = found = terminal(report.read(folder), folder, 200)

    assert title == "answer"
    assert all(len(line) <= 100 for _, lines, _ in found[:-1] for line, _ in lines)
    assert " ".join(line for line, _ in lines) == " ".join(report.read(folder).findings.answer)


def test_rows_are_coloured_by_their_verdict(tmp_path):
    """On a terminal a case that fails is red, one that is not decided yellow, others plain."""
    limits = [
        replace(LIMIT, case="test_small[m000]"),
        replace(LIMIT, case="test_small[m001]", at_least=0.1),
    ]
    runs = [
        *many_cases(2),
        small_run("test_small[m002]", status="crashed", reason="oh", model="m002"),
    ]
    folder = sweep(tmp_path, runs, limits=limits)
    (_, lines, _), *_ = terminal(report.read(folder), folder, 100)
    colours = {line.split()[0]: marks for line, marks in lines[2:5]}

    assert colours == {"m000": {"red": True}, "m001": {}, "m002": {"red": True}}
