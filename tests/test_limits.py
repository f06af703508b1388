"""Files of limits as a suite's users meet them: what they bind, and what nobody bears."""

from __future__ import annotations

import pytest

LIMITS = """
[quick."test_small[one]"]
test_loss = { at_most = 9 }

[quick."test_small[two]"]
test_loss = { at_most = 9 }
"""
MISSPELT = """
[quick."test_smal[one]"]
test_loss = { at_most = 0 }
"""
KNOWN_TO_BE_WRONG = {
    "a test function": (MISSPELT, "*:3: no test function 'test_smal' *mean 'test_small'?"),
    "a case": (
        MISSPELT.replace("smal[one", "small[oen"),
        "*:3: no case *mean 'test_small[[]one]'?",
    ),
    "a metric": (LIMITS.replace("loss", "los"), "*:3: unknown metric 'test_los'*'test_loss'?"),
}


@pytest.fixture
def suite(benchmarks) -> pytest.Pytester:
    """A suite of two files, with its limits in their default place."""
    folder = benchmarks.path / "benchmarks"
    folder.mkdir()
    source = (benchmarks.path / "test_small.py").read_text()
    (benchmarks.path / "test_small.py").unlink()
    (folder / "test_small.py").write_text(source)
    other = source.replace("test_small(", "test_other(").replace("batch_size=16", "epochs=2")
    (folder / "test_other.py").write_text(other)
    (folder / "gates.toml").write_text(LIMITS)
    return benchmarks


def limits(suite: pytest.Pytester, text: str) -> None:
    (suite.path / "benchmarks" / "gates.toml").write_text(text)


@pytest.mark.parametrize("kind", KNOWN_TO_BE_WRONG)
@pytest.mark.parametrize("arguments", [(), ("benchmarks",), ("-k", "one")])
def test_limit_on_what_does_not_exist(suite, kind, arguments):
    """Once every test was collected, a limit that nothing can bear ends pytest before training,
    with its line and the nearest name, whichever tests are selected."""
    text, words = KNOWN_TO_BE_WRONG[kind]
    limits(suite, text)
    result = suite.runpytest_inprocess("--amlnn-out=out", *arguments)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*gates.toml{words}"])
    assert not (suite.path / "out").exists()


PARTS = [
    ["benchmarks/test_small.py::test_small[one]"],
    ["benchmarks/test_small.py"],
    ["benchmarks/test_other.py::test_other[two]"],
    ["benchmarks/test_other.py", "--amlnn-gate=report"],
    ["--lf"],
    ["--deselect", "benchmarks/test_small.py::test_small[two]"],
    ["--ignore", "benchmarks/test_small.py"],
    ["-k", "one"],
]


@pytest.mark.parametrize("part", PARTS, ids=" ".join)
def test_part_of_a_suite_is_run_by_itself(suite, part):
    """Limits on siblings of what is run are no mistake, however the part is chosen."""
    (suite.path / "pytest.ini").write_text("[pytest]\n")
    if part == ["--lf"]:
        broken = LIMITS.replace("9", "0", 1)
        limits(suite, broken)
        suite.runpytest_inprocess("--amlnn-out=before")
        limits(suite, LIMITS)
    result = suite.runpytest_inprocess("--amlnn-out=out", "--amlnn-repeats=1", *part)

    assert result.ret == 0
    result.stdout.fnmatch_lines(["limits: *"])


@pytest.mark.parametrize("marker", [".hidden/x", "venv/pyvenv.cfg", "build/x"])
def test_files_that_pytest_does_not_collect_hide_no_limit(suite, marker):
    """Test files in folders that pytest does not enter, such as a virtual environment, leave a
    suite as complete as it is."""
    file = suite.path / "benchmarks" / marker
    file.parent.mkdir()
    file.touch()
    (file.parent / "test_elsewhere.py").write_text("def test_smal(): pass\n")
    limits(suite, MISSPELT)
    result = suite.runpytest_inprocess("--amlnn-out=out", "-k", "small")

    assert result.ret == pytest.ExitCode.USAGE_ERROR


CLASSES = """
class TestOne:
    @pytest.mark.parametrize("case", CASES[:1], ids=str)
    def test_small(self, case, train, gate):
        assert gate(train(case, squares())).passed


class TestTwo:
    @pytest.mark.parametrize("case", CASES[1:], ids=str)
    def test_small(self, case, train, gate):
        assert gate(train(case, squares())).passed
"""


@pytest.mark.parametrize("part", ["test_small.py::TestOne", "test_small.py"])
def test_functions_of_one_name_have_limits_of_their_own(suite, part):
    """A limit on a case of another class, or of another file, whose function is called alike
    is no mistake where that one was not collected."""
    folder = suite.path / "benchmarks"
    source = (folder / "test_small.py").read_text()
    (folder / "test_small.py").write_text(source.partition("@pytest")[0] + CLASSES)
    (folder / "test_other.py").write_text(source.replace('small_case("one")', ""))
    limits(suite, LIMITS + LIMITS.replace("two", "three").partition("\n\n")[2])
    result = suite.runpytest_inprocess(
        "--amlnn-out=out", "--amlnn-repeats=1", f"benchmarks/{part}"
    )

    assert result.ret == 0
    result.stdout.fnmatch_lines(["limits not checked, *: test_small (*)"])


def test_limits_that_a_part_may_not_know_are_named(suite):
    """Where a limit's test stands in a file that was not collected, it is said that the limit
    was not checked."""
    other = LIMITS.replace("test_small[one]", "test_other[none]")
    limits(suite, LIMITS + other.partition("\n\n")[0])
    result = suite.runpytest_inprocess("--amlnn-out=out", "benchmarks/test_small.py")

    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "limits: benchmarks/gates.toml, for 2 of 2 cases",
            "limits not checked, since no case of this run bears them: test_other (1)",
        ]
    )


@pytest.mark.parametrize("place", ["benchmarks/gates.toml", "elsewhere/gates.toml"])
@pytest.mark.parametrize("kind", KNOWN_TO_BE_WRONG)
def test_limit_that_no_file_can_bear_is_an_error_in_a_part_too(suite, kind, place):
    """Where no file of the project has a test of that name, or the test was collected and has
    no such case, nothing else has to be collected to know; wherever the limits stand."""
    text, words = KNOWN_TO_BE_WRONG[kind]
    (suite.path / place).parent.mkdir(exist_ok=True)
    (suite.path / place).write_text(text)
    part = "benchmarks/test_small.py::test_small[one]"
    result = suite.runpytest_inprocess("--amlnn-out=out", f"--amlnn-gates={place}", part)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*gates.toml{words}"])


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (LIMITS, (), "limits: benchmarks/gates.toml, for 2 of 4 cases; 2 have none"),
        ("", (), "limits: none for this profile in benchmarks/gates.toml"),
        (LIMITS.replace("quick", "full"), (), "limits: none for this profile in *gates.toml"),
        (None, (), "limits: none"),
    ],
)
def test_it_is_said_which_limits_there_were(run, suite, text, options, said):
    """The run ends with the file of limits, and how many cases have some."""
    if text is None:
        (suite.path / "benchmarks" / "gates.toml").unlink()
    else:
        limits(suite, text)
    result = run(*options, "--amlnn-repeats=1")

    assert result.ret == 0
    result.stdout.fnmatch_lines([said])


@pytest.mark.slow
@pytest.mark.parametrize("ini", ["[pytest]\n", None])
@pytest.mark.parametrize("start", [".", "benchmarks", "elsewhere"])
def test_limits_do_not_depend_on_where_pytest_is_started(suite, monkeypatch, start, ini):
    """From the project, from the tests' folder and from elsewhere, with an ini file and without
    one, the same limits are judged."""
    (suite.path / "tox.ini").unlink()
    if ini:
        (suite.path / "pytest.ini").write_text(ini)
    limits(suite, LIMITS.replace("9", "0"))
    (suite.path / "elsewhere").mkdir()
    monkeypatch.chdir(suite.path / start)
    folder = str(suite.path / "benchmarks")
    result = suite.runpytest_inprocess(folder, f"--amlnn-out={suite.path / 'out'}")

    result.assert_outcomes(passed=2, failed=2)


@pytest.mark.parametrize("how", ["a setting", "addopts"])
@pytest.mark.parametrize("start", [".", "benchmarks"])
def test_paths_of_an_ini_file_count_from_it(suite, monkeypatch, start, how):
    """Run directory, limits and data that pytest.ini names lie where it says, wherever pytest
    is started."""
    settings = {
        "a setting": "amlnn_out = results\namlnn_gates = own.toml\n",
        "addopts": "addopts = --amlnn-out=results --amlnn-gates own.toml\n",
    }
    (suite.path / "pytest.ini").write_text(f"[pytest]\n{settings[how]}")
    (suite.path / "own.toml").write_text(LIMITS)
    monkeypatch.chdir(suite.path / start)
    result = suite.runpytest_inprocess("-k", "small")

    assert result.ret == 0
    assert (suite.path / "results" / "summary.json").exists()
    result.stdout.fnmatch_lines(["limits: *own.toml, for 2 of 2 cases"])


def test_paths_that_are_typed_count_from_where_one_stands(suite, monkeypatch):
    """An option on the command line names a path as any program's does."""
    (suite.path / "pytest.ini").write_text("[pytest]\namlnn_out = results\n")
    monkeypatch.chdir(suite.path / "benchmarks")
    result = suite.runpytest_inprocess("--amlnn-out=mine", "-k", "small")

    assert result.ret == 0
    assert (suite.path / "benchmarks" / "mine" / "summary.json").exists()


@pytest.mark.parametrize("tests", [(), ("benchmarks",)])
@pytest.mark.parametrize("form", ["--amlnn-weights\n{}", "--amlnn-weights={}"])
def test_path_elsewhere_does_not_hide_the_limits(suite, tmp_path, form, tests):
    """A file that an option names outside of the project, which pytest takes for a place of
    tests, moves neither the limits nor the run directory."""
    (suite.path / "tox.ini").unlink()
    weights = tmp_path / "w.pth"
    weights.touch()
    result = suite.runpytest_inprocess(*form.format(weights).split("\n"), "-k", "small", *tests)

    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["report: .amlnn/*", "limits: benchmarks/gates.toml, for 2 of 2 cases"]
    )


@pytest.mark.parametrize(
    ("name", "text"), [("pytest.ini", ""), ("pyproject.toml", "[tool.pytest.ini_options]")]
)
def test_path_that_hides_the_settings_is_said(suite, tmp_path, name, text):
    """Where pytest has missed its ini file since it took an option's path for a place of
    tests, it is said how to write the option."""
    (suite.path / "tox.ini").unlink()
    (suite.path / name).write_text(text)
    weights = tmp_path / "w.pth"
    weights.touch()
    result = suite.runpytest_inprocess("--amlnn-weights", weights)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*write --amlnn-weights={weights}, with =*{name}*"])


@pytest.mark.parametrize("mark", ["\ufeff", ""])
def test_file_of_limits_may_begin_with_a_mark(suite, mark):
    """A byte order mark, as some editors write, is no part of the limits."""
    limits(suite, mark + LIMITS.lstrip())
    result = suite.runpytest_inprocess("--amlnn-out=out", "-k", "small")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["limits: benchmarks/gates.toml, for 2 of 2 cases"])
