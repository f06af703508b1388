"""Values as plain data that reads the same in every process, or a refusal in words.

Two values have equal plain data only where a builder cannot tell them apart: numbers keep their
type, arrays count to their last bit, functions by their names and what they hold.
"""

from __future__ import annotations

import enum
import hashlib
import math
import re
import sys
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from pathlib import PurePath
from types import FunctionType, GenericAlias, MethodType, ModuleType
from typing import Any

from pytest_amlnn.callables import (
    NAMED,
    attributes_of_local,
    class_of,
    importable_name,
    name_of,
    state_of,
    unwrap,
)
from pytest_amlnn.errors import UserError
from pytest_amlnn.escapes import encodable
from pytest_amlnn.reached_code import lambda_text

LARGEST = 2**63
"""Whole numbers from here on are written in hexadecimal: JSON takes no very long ones."""
ORDER = "(order)"
"""Under this name, the keys of a mapping that are not in alphabetical order."""


class IdentityError(UserError):
    """A training that cannot be told from another one; the message says what to change."""


def plain_of(value: Any, what: str) -> Any:
    """Return a value as JSON-ready data that is the same in every process.

    `what` is for the message. Raises IdentityError for an object that has no such text.
    """
    if value is None or type(value) in (bool, int, float, str):
        return plain_scalar(value)
    function, arguments = unwrap(value)
    if arguments:
        return {"partial": plain_function(function, what), **named(arguments, what)}
    if isinstance(function, NAMED):
        return plain_function(function, what)
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return plain_array(value, what)
    for kinds, convert in CONVERTED:
        if isinstance(value, kinds):
            return convert(value, what)
    if is_dataclass(value):
        own = type(value).__module__.startswith("pytest_amlnn.")
        return ({} if own else {"class": name_of(type(value))}) | named(state_of(value), what)
    return importable_name(value) or plain_object(value, what)


def named(values: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return values by the names that they have in an object or a call, as plain data."""
    return {name: plain_of(value, what) for name, value in values.items()}


# data


def plain_scalar(value: Any) -> Any:
    """Return a number or text as JSON holds it."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return hex(value) if isinstance(value, int) and abs(value) >= LARGEST else value


def plain_subclass(value: Any, what: str) -> dict[str, Any]:
    """Return a number or text of a class of its own."""
    base = next(base for base in (str, int, float) if isinstance(value, base))
    return {"class": name_of(type(value)), "value": plain_scalar(base(value))}


def plain_mapping(value: Mapping[Any, Any], what: str) -> dict[str, Any]:
    """Return a mapping by the texts of its keys, and their order where it is not that of texts.

    A builder may make its layers in that order.
    """
    texts = [str(plain_of(key, what)) for key in value]
    twice = [text for text, times in Counter(texts).items() if times > 1]
    if twice:
        raise IdentityError(f"{what} has two keys that read {twice[0]}: give them other names")
    plain = dict(zip(texts, plain_list(value.values(), what), strict=True))
    ordered = {text: plain[text] for text in sorted(texts)}
    return ordered if [*ordered] == texts else ordered | {ORDER: texts}


def plain_list(value: Any, what: str) -> list[Any]:
    """Return what a sequence holds."""
    return [plain_of(entry, what) for entry in value]


def plain_set(value: Any, what: str) -> dict[str, Any]:
    """Return what a set holds, in an order that is the same in every process."""
    return {"set": sorted(plain_list(value, what), key=repr)}


def plain_enum(value: enum.Enum, what: str) -> dict[str, Any]:
    """Return a member of an enumeration by its class, its name and its value."""
    kind = name_of(type(value))
    return {"class": kind, "name": value.name, "value": plain_of(value.value, what)}


def plain_pattern(value: re.Pattern[Any], what: str) -> dict[str, Any]:
    """Return a regular expression, which shows only the beginning of itself."""
    return {"pattern": plain_scalar(repr(value.pattern)), "flags": value.flags}


def plain_array(value: Any, what: str) -> Any:
    """Return an array or tensor by its kind, its shape and a digest of its bytes."""
    kind = f"{type(value).__name__} {value.dtype}"
    if str(value.dtype) == "object":
        return plain_of(value.tolist(), what)
    try:
        kind += f" {[*value.shape]}"
        if not value.shape and not hasattr(value, "detach"):
            return f"{value.dtype} {value.item()!r}"
        if hasattr(value, "detach"):
            byte = sys.modules["torch"].uint8  # loaded, since there is a tensor
            value = value.detach().cpu().contiguous().reshape(-1).view(byte).numpy()
        content = value.tobytes()
    except (RuntimeError, TypeError) as error:  # on `meta`, or sparse
        raise IdentityError(f"{what} is a {kind}, which cannot be read: {error}") from error
    return f"{kind} sha256 {hashlib.sha256(content).hexdigest()}"


CONVERTED: tuple[tuple[Any, Callable[[Any, str], Any]], ...] = (
    (enum.Enum, plain_enum),
    (Mapping, plain_mapping),
    ((list, tuple, deque), plain_list),
    ((set, frozenset), plain_set),
    (re.Pattern, plain_pattern),
    (PurePath, lambda value, what: {"path": plain_scalar(value.as_posix())}),
    (GenericAlias, lambda value, what: repr(value)),
    (ModuleType, lambda value, what: {"module": value.__name__}),
    ((str, int, float), plain_subclass),
)
"""How values of these kinds are written, the first one that fits."""


# objects, functions and classes


def plain_object(value: Any, what: str) -> Any:
    """Return an object of another kind by its text, and by what it holds if that is plain."""
    text = repr(value)
    write: object = type(value).__repr__
    if write is object.__repr__ or str(id(value)) in text or " at 0x" in text or "..." in text:
        raise IdentityError(
            f"{what} is {text}, which has another text in every process, so a stored run could"
            " not be told from another one: use a function, a class, a dataclass or plain data"
        )
    if hasattr(value, "state_dict") and value.state_dict():
        raise IdentityError(
            f"{what} is a {type(value).__name__} with weights, which a training changes: give a"
            " function or class that makes it"
        )
    try:
        held = named(public(state_of(value)), what)
    except IdentityError:
        return text  # which says what counts
    return {"class": name_of(type(value)), "text": text, **held} if held else text


def public(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an object holds for others to see."""
    return {name: value for name, value in state.items() if not name.startswith("_")}


def plain_function(function: Any, what: str) -> Any:
    """Return a function by its name, and by what tells it from others of that name."""
    if not isinstance(function, NAMED):
        return plain_of(function, what)
    name, owner = name_of(function), getattr(function, "__self__", None)
    if isinstance(function, type):
        held = named(attributes_of_local(function), what)
        return {"class": name, **held} if held else name
    if isinstance(function, MethodType):
        method = {"method": name, "class": name_of(class_of(owner))}
        return method | named(state_of(owner), what)
    if isinstance(function, FunctionType):
        text = lambda_text(function)
        return {"lambda": name, "text": text} if text else name
    if owner is None or isinstance(owner, ModuleType | type):
        return name
    return {"method": name, "self": plain_of(owner, what)}
