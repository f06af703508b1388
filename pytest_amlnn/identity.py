"""What a run's numbers follow from, as plain data that can be stored and compared.

Functions and classes stand there by module and qualified name, and beside them is a digest of
the code that they reach (`pytest_amlnn.reached_code`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import _lru_cache_wrapper, cached_property, partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from pytest_amlnn.data import Source
from pytest_amlnn.reached_code import code_of

if TYPE_CHECKING:
    from pytest_amlnn.case import Case, Training
    from pytest_amlnn.data import Data
    from pytest_amlnn.result import Run

NAMED = (FunctionType, BuiltinFunctionType, MethodType, type)


class IdentityError(Exception):
    """A training that cannot be told from another one; the message says what to change."""


# values


def case_to_plain(case: Case, data: Data | None = None) -> dict[str, Any]:
    """Return a case as JSON-ready data; IdentityError for a value without a stable text.

    `data` is what a test gives to `train`, if that is not the case's own source.
    """
    plain = {
        name: getattr(case, name)
        for name in ("size", "label", "family", "profile", "variant", "repeats", "group")
    }
    try:
        training = training_to_plain(case.training, data)
    except RecursionError as error:
        raise IdentityError(
            f"{case}: build, task or data hold functions that hold each other"
        ) from error
    return plain | {"reference": dict(case.reference), "training": training}


def training_to_plain(training: Training, given: Data | None = None) -> dict[str, Any]:
    """Return what is trained as JSON-ready data; two trainings are equal where these are.

    Of data that are given as a function the code counts, and the digest that they have.
    """
    data = given if isinstance(given, Source) else training.data
    task, sources = training.task, [data.open, None if given is data else given]
    (build, filled_in), (opens, bound) = unwrap(training.build), unwrap(data.open)
    nets = [*functions_in((training.build, state_of(task))), type(task)]
    return {
        "model": training.model,
        "build": plain_function(build, "build"),
        "arguments": plain_of(filled_in, "an argument of build"),
        "recipe": plain_of(training.recipe, "recipe"),
        "task": task.name,
        "task_fields": plain_of(state_of(task), "a field of the task"),
        "dataset": data.name,
        "open": plain_function(opens, "data.open"),
        "data": plain_of({**bound, **data.arguments}, "an argument of data"),
        "start": training.start,
        "code": code_of(nets, sources=functions_in(sources)),
    }


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
    if isinstance(function, FunctionType) and function.__closure__:
        names = function.__code__.co_freevars
        held = zip(names, map(cell_of, function.__closure__), strict=True)
        arguments |= {f"closure.{name}": v for name, v in held if v is not function}
    return function, arguments


def cell_of(cell: Any) -> Any:
    """Return what a closure holds; None where nothing was assigned yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def plain_of(value: Any, what: str) -> Any:
    """Return a value as JSON-ready data that is the same in every process.

    `what` is for the message. Raises IdentityError for an object that has no such text.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return str(value) if isinstance(value, float) and not math.isfinite(value) else value
    function, arguments = unwrap(value)
    if arguments:
        return {"partial": plain_function(function, what), **plain_of(arguments, what)}
    if isinstance(function, NAMED):
        return plain_function(function, what)
    if is_dataclass(value):
        own = type(value).__module__.startswith("pytest_amlnn.")
        kind = {} if own else {"class": name_of(type(value))}
        return {**kind, **plain_of(state_of(value), what)}
    if isinstance(value, Mapping):
        return {str(key): plain_of(entry, what) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain_of(entry, what) for entry in value]
    if isinstance(value, set | frozenset):
        return sorted(str(plain_of(entry, what)) for entry in value)
    text = repr(value)
    if " at 0x" in text or "..." in text:
        raise IdentityError(
            f"{what} is {text}, which has another text in every process, so a stored run could"
            " not be told from another one: use a function, a class, a dataclass or plain data"
        )
    # of an array all digits: its text rounds them
    return f"{text} = {value.tolist()}" if hasattr(value, "tolist") else text


def plain_function(function: Any, what: str) -> Any:
    """Return the name of a function, and of a method the class and what its object holds."""
    if not isinstance(function, MethodType):
        return name_of(function) if isinstance(function, NAMED) else plain_of(function, what)
    method = {"method": name_of(function), "class": name_of(class_of(function.__self__))}
    return method | plain_of(state_of(function.__self__), what)


def class_of(owner: Any) -> type:
    """Return the class of what a method is bound to: an object, or a class."""
    return owner if isinstance(owner, type) else type(owner)


def name_of(value: Any) -> str:
    """Return the module and qualified name of a function or class."""
    return f"{value.__module__}.{value.__qualname__}"


def state_of(value: Any) -> dict[str, Any]:
    """Return what an object holds, by name: a dataclass its fields, a class nothing."""
    if isinstance(value, type):
        return {}
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return {
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
        if isinstance(function, MethodType):
            yield class_of(function.__self__)
            yield from functions_in(state_of(function.__self__))
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from functions_in(entry)
    elif isinstance(value, list | tuple | set | frozenset):
        for entry in value:
            yield from functions_in(entry)
    elif is_dataclass(value):
        yield type(value)
        yield from functions_in(state_of(value))
    elif callable(value):
        yield type(value)


# comparison


def identity_of(run: Run, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that a run's numbers follow from besides its seed, as plain data.

    `facts` is what the dataset says of itself.
    """
    return {
        **run.case["training"],
        "weights": run.weights.get("sha256"),
        "digest": facts.get("digest"),
        "device": str(run.environment.get("device")).partition(":")[0],
        "versions": {
            name: run.environment.get("packages", {}).get(name)
            for name in ("pytest-amlnn", "torch")
        },
        "precision": run.precision,
        "settings": run.environment.get("settings"),
        "accelerator": run.environment.get("accelerator"),
        "cuda": run.environment.get("cuda"),
    }


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say what differs between plain data then and now, field by field."""
    before, after = flat(then), flat(now)
    return [
        f"{name} was {before.get(name)}, is {after.get(name)}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def flat(plain: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested fields under names such as `recipe.epochs`."""
    found: dict[str, Any] = {}
    for name, value in plain.items():
        inner = isinstance(value, Mapping)
        found |= flat(value, f"{above}{name}.") if inner else {f"{above}{name}": value}
    return found
