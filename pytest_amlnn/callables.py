"""What functions, classes and objects hold: closures, defaults, attributes, other functions."""

from __future__ import annotations

import enum
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import _lru_cache_wrapper, cached_property, partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from pytest_amlnn.reached_code import function_behind

NAMED = (FunctionType, BuiltinFunctionType, MethodType, type)


def unwrap(function: Any) -> tuple[Any, dict[str, Any]]:
    """Return the function behind partials and caches, and what they and closures fill in."""
    arguments: dict[str, Any] = {}
    while isinstance(function, partial | _lru_cache_wrapper):
        if isinstance(function, _lru_cache_wrapper):
            function = function.__wrapped__
            continue
        positional = {str(i): value for i, value in enumerate(function.args)}
        arguments = {**positional, **function.keywords, **arguments}
        function = function.func
    if isinstance(function, FunctionType):
        arguments |= {name: v for name, v in held_by(function).items() if v is not function}
    return function, arguments


def held_by(function: FunctionType) -> dict[str, Any]:
    """Return what a function took along from where it was made: closure and defaults.

    The text of others says what their defaults are.
    """
    names = function.__code__.co_freevars
    cells = zip(names, map(cell_of, function.__closure__ or ()), strict=True)
    held = {f"closure.{name}": value for name, value in cells}
    if "<" in function.__qualname__:  # it is local, or a lambda
        given, code = function.__defaults__ or (), function.__code__
        last = code.co_varnames[code.co_argcount - len(given) : code.co_argcount]
        held |= {f"default.{name}": value for name, value in zip(last, given, strict=True)}
        named_only = function.__kwdefaults__ or {}
        held |= {f"default.{name}": value for name, value in named_only.items()}
    return held


def cell_of(cell: Any) -> Any:
    """Return what a closure holds; None where nothing was assigned yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def attributes_of_local(kind: type) -> dict[str, Any]:
    """Return what a class that a function made took along from there; nothing of others."""
    held: dict[str, Any] = {}
    if importable_name(kind):
        return held
    for name, member in vars(kind).items():
        function = function_behind(member)
        if isinstance(function, FunctionType):
            inner = held_by(function).items()
            held |= {f"{name}.{key}": v for key, v in inner if key != "closure.__class__"}
        elif not name.startswith(("__", "_abc")) and not hasattr(member, "__get__"):
            held[name] = member
    return held


def importable_name(value: Any) -> str | None:
    """Return the name by which any process finds this very object, None where there is none."""
    module = getattr(value, "__module__", None)
    path = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if not isinstance(module, str) or not isinstance(path, str):
        return None
    found: Any = sys.modules.get(module)
    for name in path.split("."):
        found = getattr(found, name, None)
    return f"{module}.{path}" if found is value else None


def class_of(owner: Any) -> type:
    """Return the class of what a method is bound to: an object, or a class."""
    return owner if isinstance(owner, type) else type(owner)


def name_of(value: Any) -> str:
    """Return the module and qualified name of a function or class."""
    return f"{value.__module__ or 'builtins'}.{value.__qualname__}"


def state_of(value: Any) -> dict[str, Any]:
    """Return what an object holds, by name: a dataclass its fields, a class nothing."""
    if isinstance(value, type):
        return {}
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    slots = [
        name
        for kind in type(value).__mro__
        for name in [*getattr(kind, "__slots__", ())]
        if hasattr(value, name) and not name.startswith("__")
    ]
    return {name: getattr(value, name) for name in slots} | {
        name: held
        for name, held in getattr(value, "__dict__", {}).items()
        if not isinstance(getattr(type(value), name, None), cached_property)
    }


def functions_in(value: Any) -> Iterator[Any]:
    """Yield the functions and classes that a value is or holds."""
    function, arguments = unwrap(value)
    if arguments or isinstance(function, NAMED):
        yield from [function] if isinstance(function, NAMED) else functions_in(function)
        yield from functions_in(arguments)
        if isinstance(function, type):
            yield from functions_in(attributes_of_local(function))
        elif isinstance(function, MethodType):
            yield class_of(function.__self__)
            yield from functions_in(state_of(function.__self__))
    elif isinstance(value, Mapping):
        yield from functions_in([*value, *value.values()])
    elif isinstance(value, list | tuple | set | frozenset | deque):
        for entry in value:
            yield from functions_in(entry)
    elif isinstance(value, enum.Enum):
        yield type(value)
        yield from functions_in(value.value)
    elif is_dataclass(value) or callable(value):
        yield type(value)
        yield from functions_in(state_of(value))
