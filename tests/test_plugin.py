"""The plugin as its users see it: pytest runs in a repository of somebody else."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_cases import linear

EXIT_USAGE = 4


def summary(pytester: pytest.Pytester) -> dict:
    return json.loads((pytester.path / "out" / "summary.json").read_text())


def numbers(plain: dict) -> dict:
    """Return a summary's metrics without those that the machine has a say in."""
    return {
        case["id"]: {
            name: metric
            for name, metric in case["metrics"].items()
            if "second" not in name and "memory" not in name
        }
        for case in plain["cases"]
    }


def test_all_repeats_of_all_cases_are_recorded(run, benchmarks):
    """Every seed of every case is on disk and in the summary, and the table is shown."""
    result = run("--amlnn-repeats=3")
    plain = summary(benchmarks)

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["*small on squares*", "*accuracy*chance*", "*report: *report.md"]
    )
    assert [case["seeds"] for case in plain["cases"]] == [[0, 1, 2], [0, 1, 2]]
    assert {path.name for path in (benchmarks.path / "out" / "runs").iterdir()} == {
        "test_small_one", "test_small_two"
    }  # fmt: skip
    assert plain["missing"] == plain["skipped"] == []


def test_numbers_are_the_same_however_pytest_runs(run, benchmarks):
    """A plain run, -n 0 and -n 2 agree with a reference run bit for bit."""
    run()
    found = numbers(summary(benchmarks))
    benchmarks.runpytest_inprocess("--amlnn-out=again", "-k", "two")
    again = json.loads((benchmarks.path / "again" / "summary.json").read_text())

    assert found["test_small[two]"] == numbers(again)["test_small[two]"]


@pytest.mark.slow
@pytest.mark.xdist
def test_workers_that_are_started_anew_train_too(benchmarks):
    """Workers that import everything by themselves, as a user's do, give the same result."""
    result = benchmarks.runpytest_inprocess("--amlnn-out=out", "-n", "2", "-k", "one")
    benchmarks.runpytest_inprocess("--amlnn-out=again", "-k", "one")
    again = json.loads((benchmarks.path / "again" / "summary.json").read_text())

    result.assert_outcomes(passed=1)
    assert numbers(summary(benchmarks)) == numbers(again)


@pytest.mark.slow
def test_first_seed_is_an_option(run, benchmarks):
    """Runs use --amlnn-seed and the seeds that follow."""
    run("--amlnn-seed=5", "-k", "one")

    assert summary(benchmarks)["cases"][0]["seeds"] == [5, 6]


def test_benchmark_table_shows_training_seconds(benchmarks):
    """pytest-benchmark's table and JSON hold the recorded training time of each repeat."""
    result = benchmarks.runpytest_inprocess("--amlnn-out=out", "--benchmark-json=timings.json")
    timings = json.loads((benchmarks.path / "timings.json").read_text())["benchmarks"]
    runs = [case["metrics"]["train_seconds"]["runs"] for case in summary(benchmarks)["cases"]]

    result.stdout.fnmatch_lines(["*benchmark 'small squares 60': 2 tests*"])
    assert [b["stats"]["data"] for b in timings] == [pytest.approx(r) for r in runs]


def test_benchmark_json_is_alike_under_every_run(run, benchmarks):
    """benchmark.json holds both cases with two rounds each, however pytest ran."""
    run()
    plain = json.loads((benchmarks.path / "out" / "benchmark.json").read_text())

    assert [(b["name"], b["stats"]["rounds"]) for b in plain["benchmarks"]] == [
        ("test_small[one]", 2),
        ("test_small[two]", 2),
    ]
    assert plain["benchmarks"][0]["fullname"] == "test_small.py::test_small[one]"


STARTED = """
from pathlib import Path

import pytest
from pytest_amlnn import Weights
from small_cases import small_case, squares, started

CASES = [small_case("one", build=started, start="imagenet", repeats=1)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_small(case, train):
    path = Path("w.safetensors")
    train(case, squares(), Weights(path=path, source="file", tag="w", know_classes=False))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_without(case, train):
    train(case, squares())
"""


def test_cases_start_from_the_weights_given(benchmarks):
    """The record says which; other ones are not mixed with them, and none is refused."""
    benchmarks.makepyfile(test_small=STARTED)
    options = ("--amlnn-out=out", "--amlnn-resume")
    torch.manual_seed(0)  # of any weights, some are right on no picture
    state = linear(3).state_dict()
    file = benchmarks.path / "w.safetensors"
    save_file(state, file)
    first = benchmarks.runpytest_inprocess(*options)
    record = benchmarks.path / "out" / "runs" / "test_small_one" / "0.json"
    found, digest = json.loads(record.read_text()), sha256(file.read_bytes()).hexdigest()
    save_file({name: 2 * tensor for name, tensor in state.items()}, file)
    other = benchmarks.runpytest_inprocess(*options)

    first.assert_outcomes(passed=1, failed=1)
    first.stdout.fnmatch_lines(
        ["test_without[[]one]: the case starts from imagenet*given none*"]
    )
    assert found["weights"] == {"tag": "w", "source": "file", "sha256": digest}
    assert 0 < found["metrics"]["start_accuracy"] < 1
    other.assert_outcomes(failed=2)
    other.stdout.fnmatch_lines([f"*is of another training: weights was {digest}, is *"])


def limits(pytester: pytest.Pytester, text: str) -> str:
    """Write a file of limits, and return the option that names it."""
    (pytester.path / "gates.toml").write_text(text)
    return "--amlnn-gates=gates.toml"


def test_limit_that_is_not_kept_fails_the_item(run, benchmarks):
    """The message names case, metric, value and limit; the run is stored all the same."""
    option = limits(benchmarks, '[quick."test_small[one]"]\ntest_loss = { at_most = 1e-6 }\n')
    result = run(option)
    plain = summary(benchmarks)

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*test_small[[]one]: regressed: test_loss is *, needs at most 1e-06*gates.toml:2*"]
    )
    assert [case["gate"]["verdict"] for case in plain["cases"]] == ["regressed", None]
    assert plain["cases"][0]["status"] == "finished"


def test_gate_that_reports_fails_nothing(benchmarks):
    """--amlnn-gate=report puts the verdict into the summary and leaves the item green."""
    option = limits(benchmarks, '[quick."test_small[one]"]\ntest_loss = { at_most = 1e-6 }\n')
    result = benchmarks.runpytest_inprocess(option, "--amlnn-out=out", "--amlnn-gate=report")

    result.assert_outcomes(passed=2)
    assert summary(benchmarks)["cases"][0]["gate"]["verdict"] == "regressed"


def test_gate_that_is_off_judges_nothing(benchmarks):
    """--amlnn-gate=off leaves the verdict open, even with a limit."""
    option = limits(benchmarks, '[quick."test_small[one]"]\ntest_loss = { at_most = 1e-6 }\n')
    result = benchmarks.runpytest_inprocess(option, "--amlnn-out=out", "--amlnn-gate=off")

    result.assert_outcomes(passed=2)
    assert summary(benchmarks)["cases"][0]["gate"] == {"verdict": None, "limits": []}


def test_limit_on_an_unknown_case_fails_before_training(run, benchmarks):
    """A limit's case that does not exist is an error with its line and the nearest name."""
    option = limits(benchmarks, '[quick."test_small[onn]"]\ntest_loss = { at_most = 9 }\n')
    result = run(option)

    assert result.ret == EXIT_USAGE
    result.stderr.fnmatch_lines(["*gates.toml:2*no case 'test_small[[]onn]'*did you mean*"])
    assert not (benchmarks.path / "out").exists()


def test_limit_on_a_left_out_case_is_no_error(benchmarks):
    """A limit on a case that -k leaves out stays a limit on a known case."""
    option = limits(benchmarks, '[quick."test_small[one]"]\ntest_loss = { at_most = 9 }\n')
    result = benchmarks.runpytest_inprocess(option, "--amlnn-out=out", "-k", "two")

    result.assert_outcomes(passed=1, deselected=1)


@pytest.mark.slow
def test_recipe_broken_on_purpose_turns_the_suite_red(pytester, benchmarks):
    """A learning rate of 0 misses the limit that the whole recipe keeps."""
    benchmarks.makepyfile(
        test_small="""
        import pytest
        from amlnn_datasets import series
        from small_cases import line_case

        DATA = {"preset": "ar", "points": 300, "longest": 300, "test": 200, "window": 8}
        CASES = [
            line_case("whole", epochs=60, learning_rate=0.05, optimizer="adam"),
            line_case("broken", epochs=60, learning_rate=0.0, optimizer="adam"),
        ]

        @pytest.mark.parametrize("case", CASES, ids=str)
        def test_small(case, train, gate):
            verdict = gate(train(case, lambda seed: series.splits(**DATA, seed=seed)))

            assert verdict.passed, verdict.message
        """
    )
    option = limits(
        benchmarks,
        '[quick."test_small[whole]"]\nefficiency = { at_least = 0.7 }\n'
        '[quick."test_small[broken]"]\nefficiency = { at_least = 0.7 }\n',
    )
    result = benchmarks.runpytest_inprocess(option, "--amlnn-out=out")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*test_small[[]broken]: regressed: efficiency is 0.*, needs at least 0.7*"]
    )


def test_label_map_that_is_broken_fails_whatever_the_gate(run, benchmarks):
    """A test accuracy below chance fails the case with the words `label map`."""
    source = (benchmarks.path / "test_small.py").read_text()
    broken = source.replace("squares()", "squares(swapped=True)").replace(
        'small_case("one")', 'small_case("one", epochs=6)'
    )
    (benchmarks.path / "test_small.py").write_text(broken)
    result = run("--amlnn-gate=off", "-k", "one")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*test_small[[]one], seed 0: implausible*label map*"])
    assert summary(benchmarks)["cases"][0]["status"] == "implausible"


def test_run_that_diverges_fails_and_is_named(run, benchmarks):
    """A diverged run is stored, named in the report, and fails its item; it has no times."""
    source = (benchmarks.path / "test_small.py").read_text()
    broken = source.replace('small_case("one")', 'small_case("one", learning_rate=1e38)')
    (benchmarks.path / "test_small.py").write_text(broken)
    result = run("-k", "one", "--benchmark-save=times")
    saved = [json.loads(path.read_text()) for path in benchmarks.path.glob(".benchmarks/*/*")]
    own = json.loads((benchmarks.path / "out" / "benchmark.json").read_text())

    result.assert_outcomes(failed=1)
    assert [timed["benchmarks"] for timed in [*saved, own]] == [[]] * (len(saved) + 1)
    result.stdout.no_fnmatch_line("*Rounds*")
    result.stdout.fnmatch_lines(["*test_small[[]one], seed 0: diverged: the loss of epoch*"])
    assert "diverged: the loss of epoch" in (benchmarks.path / "out" / "report.md").read_text()
    assert summary(benchmarks)["cases"][0]["metrics"]["test_accuracy"]["mean"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--amlnn-profile=huge",), "*--amlnn-profile*invalid choice: 'huge'*"),
        (("--amlnn-gate=maybe",), "*--amlnn-gate*invalid choice: 'maybe'*"),
        (("--amlnn-device=tpu",), "*--amlnn-device tpu: needs auto, cpu, cuda, cuda:N or mps*"),
        (("--amlnn-repeats=0",), "*--amlnn-repeats 0: needs a whole number from 1 up*"),
        (("--amlnn-repeats=two",), "*--amlnn-repeats two: needs a whole number from 1 up*"),
        (("--amlnn-seed=-1",), "*--amlnn-seed -1: needs a whole number from 0 up*"),
        (("--amlnn-gates=nowhere.toml",), "*nowhere.toml: No such file or directory*"),
        (
            ("--amlnn-out=/proc/amlnn/out",),
            "*--amlnn-out /proc/amlnn/out cannot be written to*",
        ),
        (("--amlnn-out=test_small.py",), "*--amlnn-out *test_small.py cannot be written to*"),
        (("--amlnn-device=cuda:99",), "*--amlnn-device cuda:99: torch sees*"),
        (
            ("-o", "amlnn_profile=huge"),
            "*--amlnn-profile huge: needs quick or seed or lab or full*",
        ),
    ],
)
@pytest.mark.parametrize(
    "parallel",
    [(), pytest.param(("-n", "2"), marks=[pytest.mark.slow, pytest.mark.xdist])],
)
def test_bad_option_is_a_usage_error(benchmarks, arguments, message, parallel):
    """The message names option and value, nothing is trained, nothing is left behind."""
    before = [*benchmarks.path.iterdir()]
    result = benchmarks.runpytest_inprocess(*arguments, *parallel)

    assert result.ret == EXIT_USAGE
    result.stderr.fnmatch_lines([message])
    made = {path.name for path in {*benchmarks.path.iterdir()} - {*before}}

    assert made <= {".benchmarks", "__pycache__"}  # those are not ours


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[quick\n", "*gates.toml: not TOML: *line 1*"),
        (
            '[quick."a"]\ntest_accuracy = { at_least = 1.5 }\n',
            "*gates.toml:2*share from 0 to 1*",
        ),
        (
            '[quick."a"]\ntest_loss = { at_last = 0.5 }\n',
            "*gates.toml:2: *unknown key 'at_last'; did you mean 'at_least'[?]",
        ),
    ],
)
def test_bad_limits_are_a_usage_error(run, benchmarks, text, message):
    """A malformed file of limits ends pytest with its line, before anything is trained."""
    result = run(limits(benchmarks, text))

    assert result.ret == EXIT_USAGE
    result.stderr.fnmatch_lines([message])
    assert not (benchmarks.path / "out").exists()


def test_run_directory_of_another_sweep_is_refused(run, benchmarks):
    """A second sweep into the same folder is a usage error, and the first stays as it is."""
    run("-k", "one")
    before = (benchmarks.path / "out" / "summary.json").read_bytes()
    result = run("-k", "one")

    assert result.ret == EXIT_USAGE
    result.stderr.fnmatch_lines(["*--amlnn-out */out holds another sweep*"])
    assert (benchmarks.path / "out" / "summary.json").read_bytes() == before


def test_settings_come_from_the_ini_file_too(benchmarks):
    """Each option has a setting of the same name; the command line wins."""
    benchmarks.makeini("[pytest]\namlnn_repeats = 1\namlnn_seed = 3\namlnn_out = out\n")
    benchmarks.runpytest_inprocess("-k", "one", "--amlnn-seed=4")

    assert summary(benchmarks)["cases"][0]["seeds"] == [4]


def test_plan_is_written_before_training(benchmarks):
    """A case that never ended is known from the plan, and listed as missing."""
    source = (benchmarks.path / "test_small.py").read_text()
    stopped = source.replace("verdict = gate", "pytest.exit('power cut')\n    verdict = gate")
    (benchmarks.path / "test_small.py").write_text(stopped)
    benchmarks.runpytest_inprocess("--amlnn-out=out")
    plain = summary(benchmarks)

    assert plain["cases"] == []
    assert [case["id"] for case in plain["missing"]] == ["test_small[one]", "test_small[two]"]


@pytest.mark.slow
def test_case_that_cannot_run_here_is_skipped_with_the_reason(run, benchmarks):
    """What a conftest.py says of a case stands on the terminal, in plan and summary."""
    benchmarks.makeconftest(
        "def pytest_amlnn_unavailable(case, options):\n"
        "    if case.label == 'one':\n"
        "        return 'squares are not here; `make squares` gets them'"
    )
    result = run("-rs")
    reason = "squares are not here; `make squares` gets them"

    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*SKIPPED*" + reason + "*"])
    assert summary(benchmarks)["skipped"] == [{"id": "test_small[one]", "reason": reason}]
    assert summary(benchmarks)["missing"] == []


@pytest.mark.parametrize(
    ("mark", "reason"),
    [
        ('skip("later")', "later"),
        ('skip(reason="later")', "later"),
        ("skip", "unconditional skip"),
        ('skipif(True, reason="later")', "later"),
    ],
)
def test_case_that_is_marked_is_skipped_with_the_reason(mark, reason, benchmarks):
    """However a mark says it, the case is skipped and not missing."""
    file = benchmarks.path / "test_small.py"
    file.write_text(file.read_text().replace("@pytest", f"@pytest.mark.{mark}\n@pytest"))
    result = benchmarks.runpytest_inprocess("--amlnn-out=out")

    assert result.ret == 0
    assert [case["reason"] for case in summary(benchmarks)["skipped"]] == [reason] * 2


def test_data_that_a_conftest_refuses_end_the_run(run, benchmarks):
    """A DataError from a conftest.py's check is a usage error with its words."""
    benchmarks.makeconftest(
        "from pytest_amlnn import DataError\n"
        "def pytest_amlnn_check(options):\n"
        "    raise DataError('squares.zip is truncated')"
    )
    result = run()

    assert result.ret == EXIT_USAGE
    result.stderr.fnmatch_lines(["*squares.zip is truncated*"])


PLACED = """
import pytest
from pathlib import Path
from pytest_amlnn import DataError, Source
from small_cases import small_case, squares

def opened(*, place):
    if place is None:
        raise DataError("no squares")
    assert Path(place).read_text() == "squares"
    return squares()(0)

def missing(*, place):
    return None if place else "squares are not here: --amlnn-data squares=FILE"

DATA = Source(name="squares", open=opened, placed=True, missing=missing)
CASES = [small_case("one", data=DATA, repeats=1)]

@pytest.mark.parametrize("case", CASES, ids=str)
def test_small(case, train):
    train(case)
"""


@pytest.mark.parametrize(
    ("given", "outcome", "words"),
    [
        ("--amlnn-data=squares=here.txt", {"passed": 1}, "*small on squares*"),
        ("--amlnn-seed=0", {"skipped": 1}, "*squares are not here: --amlnn-data squares=FILE*"),
        ("--amlnn-data=sqares=here.txt", {"skipped": 1}, "*squares are not here*"),
    ],
)
def test_dataset_lies_where_its_option_says(benchmarks, given, outcome, words):
    """--amlnn-data NAME=PATH reaches the source; without it the case is skipped."""
    benchmarks.makepyfile(test_small=PLACED)
    (benchmarks.path / "here.txt").write_text("squares")
    result = benchmarks.runpytest_inprocess("--amlnn-out=out", "-rs", given)

    result.assert_outcomes(**outcome)
    result.stdout.fnmatch_lines([words])


def test_dataset_that_no_case_has_is_named(benchmarks):
    """A name in --amlnn-data that no collected case has is told; an ini file may hold it."""
    result = benchmarks.runpytest_inprocess("--amlnn-out=out", "--amlnn-data=sqares=x.zip")

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["--amlnn-data: no collected case is trained on sqares"])


def test_example_of_the_readme_runs(pytester):
    """What the README shows of one's own net and data is a whole test that passes."""
    text = (Path(__file__).parent.parent / "README.md").read_text()
    pytester.makepyfile(test_tiles=text.partition("```python\n")[2].partition("```")[0])
    limits = text.partition("```toml\n")[2].partition("```")[0]
    (pytester.path / "gates.toml").write_text(limits)
    result = pytester.runpytest_inprocess("--amlnn-gates=gates.toml", "--amlnn-repeats=1")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*tiles on tiles*", "*passed*"])


def test_progress_is_plain_lines_without_a_terminal(benchmarks, monkeypatch):
    """An epoch's line holds epoch, losses, accuracy, speed and time left."""
    monkeypatch.setattr("pytest_amlnn.progress.SECONDS_BETWEEN_LINES", 0.0)
    result = benchmarks.runpytest_inprocess("--amlnn-out=out", "-k", "one")

    result.stdout.fnmatch_lines(
        ["test_small[[]one] seed 0, epoch 3/3, loss *, validation *, *%, */s, 0:00 left"]
    )


def test_collecting_alone_leaves_nothing_behind(benchmarks):
    """--collect-only lists the cases and writes no run directory."""
    result = benchmarks.runpytest_inprocess("--collect-only", "-q", "--amlnn-out=out")

    result.stdout.fnmatch_lines(["test_small.py::test_small[[]one]"])
    assert not (benchmarks.path / "out").exists()


def test_two_cases_in_one_item_are_refused(benchmarks):
    """One item stores one case: a second call of `train` says so."""
    benchmarks.makepyfile(
        test_small="""
        from small_cases import small_case, squares

        def test_small(train):
            train(small_case("one"), squares())
            train(small_case("two"), squares())
        """
    )
    result = benchmarks.runpytest_inprocess("--amlnn-out=out")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*train was called twice in test_small*"])


def test_two_items_of_one_name_are_refused(benchmarks):
    """Two files with a case of the same id cannot share a run directory."""
    (benchmarks.path / "test_other.py").write_text(
        (benchmarks.path / "test_small.py").read_text()
    )
    result = benchmarks.runpytest_inprocess("--amlnn-out=out")

    result.stdout.fnmatch_lines(
        ["*test_small[[]one] would be stored in one place*test_other.py*test_small.py*"]
    )
    assert result.ret != 0
    assert not (benchmarks.path / "out" / "runs").exists()


def test_plugin_is_silent_where_there_is_no_case(pytester):
    """In a repository without cases it prints nothing, writes nothing, fails nothing."""
    pytester.makepyfile("def test_other(): pass")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=1)
    assert "amlnn" not in result.stdout.str().replace("amlnn-0", "")
    assert not (pytester.path / ".amlnn").exists()


@pytest.mark.slow
def test_fixtures_are_documented(zygote, tmp_path):
    """`pytest --fixtures benchmarks` shows each fixture of the interface with a docstring."""
    root = Path(__file__).parent.parent
    asked = ("--fixtures", "benchmarks", "-p", "no:cacheprovider")
    _, shown = zygote.pytest(*asked, folder=root, output=tmp_path / "output.txt")
    lines = shown.splitlines()

    for name in ("device", "tiny_imagenet", "series", "train", "gate"):
        line = next(i for i, text in enumerate(lines) if text.startswith(name))
        assert "no docstring" not in lines[line + 1]
