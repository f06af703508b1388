"""A module's file, read into what it defines, imports, and does besides when it is imported."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

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
    lambdas: list[ast.Lambda] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    """By name, or class and name, the numbers that are written out and stay what they are."""


def parse_module(name: str, file: Path) -> Module:
    """Read a module's file."""
    tree = ast.parse(file.read_bytes(), str(file))
    module = Module()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            note_import(module, node, name, is_package=file.name == "__init__.py")
        elif isinstance(node, ast.Lambda):
            module.lambdas.append(node)
    module.numbers.update(numbers_in(tree))
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom) or is_aside(node):
            continue
        statement = statement_of(node)
        for bound in bound_by(node):
            module.definitions[bound].append(statement)
        if not bound_by(node):
            module.others.append(statement)
    return module


def statement_of(node: ast.stmt) -> Statement:
    """Return a statement's text, and the names that it uses."""
    return Statement(text=text_of(node), names=tuple(sorted({*names_in(node)})))


def numbers_in(tree: ast.Module) -> dict[str, Any]:
    """Return the numbers that a module and its classes name, but those that it counts in."""
    counted = {name for node in ast.walk(tree) for name in counted_in(node)}
    bodies = [("", tree.body)]
    bodies += [(f"{n.name}.", n.body) for n in tree.body if isinstance(n, ast.ClassDef)]
    found: dict[str, list[ast.expr | None]] = defaultdict(list)
    for prefix, body in bodies:
        for node in body:
            for name in bound_by(node):
                found[f"{prefix}{name}"].append(getattr(node, "value", None))
    single = {name: values[0] for name, values in found.items() if len(values) == 1}
    numbers = {name: literal(value) for name, value in single.items()}
    return {
        name: number
        for name, number in numbers.items()
        if number is not None and name.rpartition(".")[2] not in counted
    }


def counted_in(node: ast.AST) -> list[str]:
    """Return the names of a module, or the attributes, that a statement sets later on."""
    if isinstance(node, ast.Global):
        return node.names
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        return [node.attr]
    return []


def literal(node: ast.expr | None) -> Any:
    """Return the number, or the tuple of them, that an expression is; None for all others."""
    try:
        value = ast.literal_eval(node) if node is not None else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    parts = value if isinstance(value, tuple) else (value,)
    return value if all(isinstance(part, bool | int | float) for part in parts) else None


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
