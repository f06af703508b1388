"""What holds for the source tree as a whole."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "benchmarks": ROOT / "benchmarks",
    "amlnn_models": ROOT / "amlnn_models",
    "amlnn_datasets": ROOT / "datasets",
    "pytest_amlnn": ROOT / "pytest_amlnn",
}
"""By the name that they are imported by, each above those that it may import."""
ORDER = list(FOLDERS)
SOURCES = [path for folder in FOLDERS.values() for path in sorted(folder.rglob("*.py"))]
ENGINE = sorted(FOLDERS["pytest_amlnn"].rglob("*.py"))
TESTS = sorted((ROOT / "tests").glob("test_*.py"))
PROGRAMS = sorted((ROOT / "tests").glob("benchmark_*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 300, 50
"""In lines."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    """Give a file's path in the repository."""
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    """Parse a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[str]:
    """Give the full names of all that a file imports, wherever in it."""
    return imports_in(ast.walk(tree(path)), path)


def imports_in(nodes: Iterator[ast.AST], path: Path) -> Iterator[str]:
    """Give the full names of all that these nodes of a file import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def running(node: ast.AST) -> Iterator[ast.AST]:
    """Give all nodes that may run: those in functions too, none for type checkers alone."""
    yield node
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        nodes: list[ast.AST] = [*node.orelse]
    else:
        nodes = [*ast.iter_child_nodes(node)]
    for inner in nodes:
        yield from running(inner)


def module_of(path: Path) -> str:
    """Give the name that a file of the engine is imported by."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def functions(path: Path) -> list[Function]:
    """Give all functions of a file, methods and inner ones included."""
    return [node for node in ast.walk(tree(path)) if isinstance(node, Function)]


def calls(path: Path) -> Iterator[tuple[str, dict[str | None, str]]]:
    """Give the name and the keyword arguments of all calls in a file."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}


def test_all_folders_are_looked_at():
    """Every folder of sources has files, so none of these tests looks at nothing."""
    assert [name for name, folder in FOLDERS.items() if not list(folder.glob("*.py"))] == []


def test_datasets_is_no_package():
    """`datasets/` has no __init__.py: from the repository's root, `import datasets` would
    then find it in place of Hugging Face's package of that name."""
    assert not (ROOT / "datasets" / "__init__.py").exists()


def test_every_package_is_in_the_wheel():
    """Whatever folder holds sources is named among the packages that are installed."""
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    shipped = {name: folder for name, folder in FOLDERS.items() if name != "benchmarks"}
    there = {
        ".".join([name, *path.parent.relative_to(folder).parts])
        for name, folder in shipped.items()
        for path in folder.rglob("*.py")
    }

    assert sorted(named["packages"]) == sorted(there)


@pytest.mark.parametrize("package", ORDER)
def test_imports_point_one_way(package):
    """benchmarks -> amlnn_models -> amlnn_datasets -> pytest_amlnn, and never back."""
    above = {*ORDER[: ORDER.index(package)], "datasets", "conftest", "tests"}
    wrong = [
        f"{name_of(path)} imports {name}"
        for path in sorted(FOLDERS[package].rglob("*.py"))
        for name in imports(path)
        if name.partition(".")[0] in above
    ]

    assert wrong == []


@pytest.mark.parametrize("module", ["pytest_amlnn.plugin", "pytest_amlnn.cli"])
def test_import_is_light(module):
    """Whoever has the plugin installed waits for no torch, timm or scipy.stats."""
    ask = f"import sys, {module}; print(*sorted(sys.modules))"
    loaded = set(subprocess.check_output([sys.executable, "-c", ask], text=True).split())

    assert module in loaded
    assert loaded & {"torch", "torchvision", "timm", "scipy.stats", "matplotlib"} == set()


def test_pytest_runs_without_a_case_hardly_notice_the_plugin(tmp_path):
    """Beside pytest and pytest-benchmark it takes 50 ms at most, and not even numpy."""
    ask = (
        "import sys, pytest, pytest_benchmark.plugin; from time import process_time as now;"
        "start = now(); import pytest_amlnn.plugin; end = now();"
        "print(end - start, 'numpy' in sys.modules)"
    )
    compiled = {"PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
    command, environment = [sys.executable, "-c", ask], os.environ | compiled
    said = [
        subprocess.check_output(command, text=True, env=environment).split()
        for _ in range(6)  # the first one compiles
    ]

    assert min(float(seconds) for seconds, _ in said) <= 0.05
    assert {numpy for _, numpy in said} == {"False"}


def test_options_stop_at_the_border():
    """`getoption` and `getini` are asked in command_line.py alone."""
    asking = [
        name_of(path)
        for path in [*SOURCES, ROOT / "conftest.py"]
        if {name.rpartition(".")[2] for name, _ in calls(path)} & {"getoption", "getini"}
    ]

    assert asking == ["pytest_amlnn/command_line.py"]


def test_no_import_leads_back():
    """No module of the engine needs itself by way of others, those that it imports late too."""
    modules = {module_of(path): path for path in ENGINE}
    graph = {name: set[str]() for name in modules}
    for name, path in modules.items():
        for needed in imports_in(running(tree(path)), path):
            above = needed.rpartition(".")[0]
            graph[name] |= {needed if needed in modules else above} & modules.keys()
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("path", ENGINE, ids=name_of)
def test_file_can_be_read_in_one_sitting(path):
    """A file of the engine has 300 lines at most, and a function 50."""
    lines = len(path.read_text(encoding="utf-8").splitlines())
    long = [
        f"{name_of(path)}:{node.lineno}: {node.name} has {length} lines"
        for node in functions(path)
        if (length := node.end_lineno - node.lineno + 1) > LONGEST_FUNCTION
    ]

    assert lines <= LONGEST_FILE
    assert long == []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_function_is_annotated(path):
    """All arguments and results have a type, but for tests, whose fixtures tell theirs."""
    bare = [
        f"{name_of(path)}:{node.lineno}: {node.name}"
        for node in functions(path)
        if not node.name.startswith("test_") and not is_annotated(node)
    ]

    assert bare == []


def is_annotated(node: Function) -> bool:
    """Give whether a function's result and arguments have types, `self` and `cls` aside."""
    given = node.args
    rest = [argument for argument in (given.vararg, given.kwarg) if argument]
    named = [*given.posonlyargs, *given.args]
    own = named[1:] if named and named[0].arg in ("self", "cls") else named
    arguments = [*own, *given.kwonlyargs, *rest]
    return node.returns is not None and all(a.annotation is not None for a in arguments)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_everything_public_has_a_docstring(path):
    """Modules, classes, functions and methods say what they are, but for Python's own names."""
    whole = tree(path)
    public: list[ast.AST] = [whole]
    public += [node for node in outside_functions(whole) if not node.name.startswith("_")]
    silent = [
        f"{name_of(path)}: {getattr(node, 'name', 'module')}"
        for node in public
        if not ast.get_docstring(node)
    ]

    assert silent == []


def outside_functions(node: ast.AST) -> Iterator[ast.ClassDef | Function]:
    """Give classes and functions at a module's top level, and their methods."""
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.ClassDef | Function):
            yield inner
        if not isinstance(inner, Function):
            yield from outside_functions(inner)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_is_unpickled(path):
    """No file imports pickle, or lets torch or numpy unpickle what it reads."""
    roots = {name.partition(".")[0] for name in imports(path)}
    loads = [given for name, given in calls(path) if name == "torch.load"]
    unsafe = [given for _, given in calls(path) if given.get("allow_pickle") == "True"]

    assert roots & {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"} == set()
    assert [given for given in loads if given.get("weights_only") != "True"] == []
    assert unsafe == []


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_every_test_states_its_claim(path):
    """A test's docstring says in a sentence what it proves."""
    silent = [
        f"{name_of(path)}:{node.lineno}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test_")
        if not (ast.get_docstring(node) or "").endswith((".", "?"))
    ]

    assert silent == []


@pytest.mark.parametrize("path", PROGRAMS, ids=name_of)
def test_program_finds_all_that_it_imports(path):
    """Programs beside the tests, which docs name, use no name that is gone."""
    __import__(path.stem)


def test_architecture_names_files_that_are_there():
    """Every file that docs/architecture.md names exists: the way of a case can be followed."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = {*re.findall(r"`([\w/]+\.(?:py|toml))`", text)}
    places = (ROOT, ROOT / "pytest_amlnn")

    assert len(named) > 30
    assert [n for n in sorted(named) if not any((place / n).exists() for place in places)] == []
