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
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

ENGINE, TASKS = "pytest_amlnn", "pytest_amlnn.tasks"
"""The engine's own code has a version as a whole; a task's is part of what is trained."""
INSTALLED = tuple(
    Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")
)
EVERYTHING = "*"
"""The name that stands for all of a module."""

Place = tuple[str, str]
"""A module, and a name in it."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A statement of a module's top level."""

    text: str
    """Without comments and docstrings."""
    names: tuple[str, ...]
    """Those that it uses, with dots where it looks into a module."""


@dataclass(frozen=True, kw_only=True)
class Module:
    """What a module defines, imports, and does besides when it is imported."""

    definitions: dict[str, list[Statement]] = field(default_factory=lambda: defaultdict(list))
    imports: dict[str, list[Place]] = field(default_factory=lambda: defaultdict(list))
    """By local name, what it stands for, here or there in the module."""
    stars: list[str] = field(default_factory=list)
    """Modules of which all names are imported."""
    others: list[Statement] = field(default_factory=list)


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
        file = file_of(name)
        if file is None:
            versions |= version_of(name)
            continue
        module = module_of(name, file)
        used = {wanted, *(module.imports if wanted == EVERYTHING else ())}
        for statement in statements(module, wanted):
            texts[name].add(statement.text)
            used |= {*statement.names}
        waiting += places(name, module, used)
    return texts, versions


def place_of(root: Any) -> Place:
    """Return where a function or class is defined; a lambda is in all of its module."""
    first = root.__qualname__.partition(".")[0]
    return root.__module__ or "builtins", EVERYTHING if first == "<lambda>" else first


def digest(texts: set[str]) -> str:
    """Return the SHA-256 of statements, whatever their order."""
    return hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()


def statements(module: Module, wanted: str) -> list[Statement]:
    """Return the statements that a name is bound by, and those that run in any case."""
    if wanted == EVERYTHING:
        bound = [each for group in module.definitions.values() for each in group]
    else:
        bound = module.definitions.get(wanted, [])
    return [*bound, *module.others]


def places(name: str, module: Module, used: Iterable[str]) -> Iterator[Place]:
    """Yield where the names that are used in a module are defined."""
    for dotted in used:
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
    while path and is_package(module) and file_of(f"{module}.{path[0]}") is not None:
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


def parse_module(name: str, file: Path) -> Module:
    """Read a module's file."""
    tree = ast.parse(file.read_bytes(), str(file))
    module = Module()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            note_import(module, node, name, is_package=file.name == "__init__.py")
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom) or is_aside(node):
            continue
        statement = Statement(text=text_of(node), names=tuple(sorted({*names_in(node)})))
        for bound in bound_by(node):
            module.definitions[bound].append(statement)
        if not bound_by(node):
            module.others.append(statement)
    return module


def is_aside(node: ast.stmt) -> bool:
    """Return whether a statement is a docstring, or for type checkers alone."""
    if isinstance(node, ast.If):
        return ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'")
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def bound_by(node: ast.stmt) -> list[str]:
    """Return the names that a statement binds at a module's top level."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    found = [part for target in targets for part in ast.walk(target)]
    if any(isinstance(part, ast.Attribute | ast.Subscript) for part in found):
        return []  # it changes what is there already
    return [part.id for part in found if isinstance(part, ast.Name)]


def note_import(
    module: Module, node: ast.Import | ast.ImportFrom, name: str, *, is_package: bool
) -> None:
    """Note what local names stand for after an import."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            whole = alias.name if alias.asname else alias.name.partition(".")[0]
            module.imports[alias.asname or whole].append((whole, ""))
        return
    package = name if is_package else name.rpartition(".")[0]
    source = node.module or ""
    if node.level:
        source = resolve_name("." * node.level + source, package)
    for alias in node.names:
        if alias.name == "*":
            module.stars.append(source)
        else:
            module.imports[alias.asname or alias.name].append((source, alias.name))


def names_in(node: ast.AST) -> Iterator[str]:
    """Yield the names that a statement uses, each with the dots that follow it."""
    dotted = dotted_name(node)
    if dotted:
        yield dotted
        return
    for part in ast.iter_child_nodes(node):
        yield from names_in(part)


def dotted_name(node: ast.AST) -> str | None:
    """Return `a.b.c` for names that are looked up one in another, else None."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        above = dotted_name(node.value)
        return above and f"{above}.{node.attr}"
    return None


class WithoutDocstrings(ast.NodeTransformer):
    """Leave out strings that stand alone."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Drop a string; keep every other expression."""
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)


def text_of(node: ast.stmt) -> str:
    """Return a statement as text that comments, docstrings and layout do not change."""
    return ast.unparse(WithoutDocstrings().visit(ast.parse(ast.unparse(node))))
