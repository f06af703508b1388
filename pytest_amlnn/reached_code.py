"""Which code a function or class reaches, and a digest of it, module by module.

What is reached is followed by name: from a definition to the names that it uses, through
imports into other modules. Comments, docstrings and definitions that nothing leads to do not
count, so a test that is added beside a net changes nothing. Names that are put together while
the program runs are not followed. Of installed packages the version counts.
"""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from pytest_amlnn.parsed import Module, Place, Statement, parse_module, statement_of

ENGINE, TASKS = "pytest_amlnn", "pytest_amlnn.tasks"
"""The engine's own code has a version as a whole; a task's is part of what is trained."""
INSTALLED = tuple(
    Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")
)
EVERYTHING = "*"
"""The name that stands for all of a module."""
MOST_REGISTERED = 1000
"""Entries of a registry; what has more of them holds data."""
LAMBDA = ("lambda ", "lambda:")
"""How the text of a lambda begins, and no name does."""


def code_of(roots: Iterable[Any], *, sources: Iterable[Any] = ()) -> dict[str, str]:
    """Return the SHA-256 of the code that functions and classes reach, by module.

    Of an installed package that `roots` reach it is the version, by the package's name. What
    `sources` give is compared by a digest of its own, so their packages may change.
    """
    (own, versions), (others, _) = reach([*roots]), reach([*sources])
    modules = {*own, *others}
    return versions | {name: digest(own[name] | others[name]) for name in modules}


def reach(roots: list[Any]) -> tuple[defaultdict[str, set[str]], dict[str, str]]:
    """Return the statements that are reached, by module, and the packages' versions."""
    waiting = [place_of(root) for root in roots]
    seen: set[Place] = set()
    texts: defaultdict[str, set[str]] = defaultdict(set)
    versions: dict[str, str] = {}
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        name, wanted = place
        waiting += replacements(place)
        file = file_of(name)
        if file is None:
            versions |= version_of(name)
            continue
        module = module_of(name, file)
        texts[name] |= numbers_set_elsewhere(place, module)
        used = {wanted, *(module.imports if wanted == EVERYTHING else ())}
        for statement in statements(module, wanted):
            texts[name].add(statement.text)
            used |= {*statement.names}
        waiting += places(name, module, used)
    return texts, versions


def replacements(place: Place) -> Iterator[Place]:
    """Yield where functions are defined that were put in the place of others, or into a class.

    What is loaded is looked at: nothing in the text of a module tells that another module
    replaced a part of it.
    """
    found = loaded_at(place)
    members = vars(found).values() if isinstance(found, type) else ()
    for each in (found, *members):
        function = function_behind(each)
        if not isinstance(function, FunctionType | type):
            yield from registered(each, place[0])
        elif place_of(function) != place and file_of(function.__module__) is not None:
            yield place_of(function)


def registered(registry: Any, module: str, depth: int = 3) -> Iterator[Place]:
    """Yield where functions are defined that a module's code put into one of its registries.

    Those that other modules put there are left out: which of them are loaded is chance.
    """
    if isinstance(registry, FunctionType | type):
        if registry.__module__ == module:
            yield place_of(registry)
        return
    inside: Any = ()
    if isinstance(registry, dict):
        inside = registry.values()
    elif isinstance(registry, list | tuple | set):
        inside = registry
    elif type(registry).__dictoffset__ and file_of(type(registry).__module__) is not None:
        inside = vars(registry).values()  # of an object of their own class
    if depth and len(inside) <= MOST_REGISTERED:
        for each in [*inside]:
            yield from registered(each, module, depth - 1)


def function_behind(member: Any) -> Any:
    """Return the function of a property, a class method or a static one; others as they are."""
    if isinstance(member, classmethod | staticmethod):
        return member.__func__
    return member.fget if isinstance(member, property) else member


def loaded_at(place: Place) -> Any:
    """Return what a name stands for now; None where its module is not loaded."""
    name, wanted = place
    return vars(sys.modules[name]).get(wanted) if name in sys.modules else None


def numbers_set_elsewhere(place: Place, module: Module) -> set[str]:
    """Return numbers, of a name or of its class, that are not what the module's text says."""
    found = loaded_at(place)
    written = {k: v for k, v in module.numbers.items() if k.partition(".")[0] == place[1]}
    now = {k: getattr(found, k.partition(".")[2], found) for k in written if found is not None}
    return {f"{name} = {now[name]!r}" for name in now if repr(now[name]) != repr(written[name])}


def place_of(root: Any) -> Place:
    """Return where a function or class is defined; a lambda is named by its text.

    One whose text is not found is in all of its module.
    """
    first = root.__qualname__.partition(".")[0]
    if first == "<lambda>":
        first = lambda_text(root) if isinstance(root, FunctionType) else ""
    return root.__module__ or "builtins", first or EVERYTHING


def digest(texts: set[str]) -> str:
    """Return the SHA-256 of statements, whatever their order."""
    return hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()


def statements(module: Module, wanted: str) -> list[Statement]:
    """Return the statements that a name is bound by, and those that run in any case."""
    if wanted == EVERYTHING:
        bound = [each for group in module.definitions.values() for each in group]
    elif wanted.startswith(LAMBDA):
        bound = [statement_of(ast.parse(wanted).body[0])]
    else:
        bound = module.definitions.get(wanted, [])
    return [*bound, *module.others]


def places(name: str, module: Module, used: Iterable[str]) -> Iterator[Place]:
    """Yield where the names that are used in a module are defined."""
    for dotted in used:
        if dotted.startswith(LAMBDA):  # a text, and no name
            continue
        first, *rest = dotted.split(".")
        if first in module.definitions:
            yield name, first
        if first in module.imports:
            yield from (deepest(*place, rest) for place in module.imports[first])
        elif first not in module.definitions:
            yield from ((star, first) for star in module.stars)


def deepest(module: str, name: str, rest: list[str]) -> Place:
    """Follow dots through packages to the module that defines a name."""
    path = [name, *rest] if name else rest
    while path and is_package(module):
        inner = f"{module}.{path[0]}"
        if inner not in sys.modules and file_of(inner) is None:
            break
        module = f"{module}.{path.pop(0)}"
    return module, path[0] if path else EVERYTHING


def is_package(module: str) -> bool:
    """Return whether modules may lie in this one; to look for them in others imports those."""
    file = file_of(module)
    return file is None or file.name == "__init__.py"


def file_of(name: str) -> Path | None:
    """Return a module's file if its code is to be followed; None for what has a version."""
    if name == ENGINE or (name.startswith(f"{ENGINE}.") and not name.startswith(TASKS)):
        return None
    loaded = sys.modules.get(name)
    file = getattr(loaded, "__file__", None) if loaded else file_of_unloaded(name)
    if not file or not file.endswith(".py"):
        return None
    path = Path(file)
    own = path.is_file() and (name.startswith(TASKS) or not is_installed(path))
    return path if own else None


@lru_cache(maxsize=1024)
def file_of_unloaded(name: str) -> str | None:
    """Return the file of a module that was not imported yet; no installed package is."""
    top = name.partition(".")[0]
    try:
        spec = None if top in sys.stdlib_module_names else find_spec(top)
        if spec and spec.origin and not is_installed(Path(spec.origin)):
            spec = find_spec(name)  # which imports the packages above it
    except (ImportError, ValueError, AttributeError):
        return None
    return spec.origin if spec else None


@lru_cache(maxsize=1024)
def is_installed(path: Path) -> bool:
    """Return whether a file is of Python itself or of an installed package."""
    where = path.resolve()
    packages = {"site-packages", "dist-packages"} & {*where.parts}
    return bool(packages) or any(where.is_relative_to(place) for place in INSTALLED)


@lru_cache(maxsize=1024)
def version_of(module: str) -> dict[str, str]:
    """Return the version of the package that a module is of; nothing of Python's own."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top == ENGINE:
        return {}
    name = distribution_of(top)
    return {name: f"version {version(name)}"} if name else {}


@lru_cache(maxsize=256)
def distribution_of(top: str) -> str | None:
    """Return the name of the distribution that a package is of, None where it is of none."""
    try:
        version(top)
    except PackageNotFoundError:
        return next(iter(packages_distributions().get(top, ())), None)
    return top


READ: WeakKeyDictionary[ModuleType, Module] = WeakKeyDictionary()
"""Loaded modules as they were read first: files may be edited while they train."""


def module_of(name: str, file: Path) -> Module:
    """Return a module as it was when it was read first, or as it is now if it is not loaded."""
    loaded = sys.modules.get(name)
    if loaded is None:
        return parse_module(name, file)
    if loaded not in READ:
        READ[loaded] = parse_module(name, file)
    return READ[loaded]


def lambda_text(function: FunctionType) -> str:
    """Return the text of a lambda, whose name others of its module have too; nothing of others.

    Instructions tell where they stand: it is the innermost lambda with a body around those.
    """
    file = file_of(function.__module__) if function.__name__ == "<lambda>" else None
    if file is None:
        return ""
    here = [p for p in function.__code__.co_positions() if None not in p and p[2] != p[3]][:1]
    around = [
        node
        for node in module_of(function.__module__, file).lambdas
        for line, last_line, column, last_column in here
        if (node.body.lineno, node.body.col_offset) <= (line, column)
        and (last_line, last_column) <= (node.body.end_lineno, node.body.end_col_offset)
    ]
    innermost = max(around, key=lambda node: (node.lineno, node.col_offset), default=None)
    return ast.unparse(innermost) if innermost else ""
