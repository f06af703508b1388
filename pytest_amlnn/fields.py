"""Checks of the fields that users write: type, range and known words, as a value is made."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

LARGEST = 2**31 - 1
"""Of whole numbers: what every library and file that they go through can hold."""
WIDEST = 80
"""Letters of a value in a message."""

Bound = tuple[str, Callable[[Any], bool]]
"""What a field needs, in words, and whether a value of its type has it."""


def check_fields(value: Any, of: str, bounds: Mapping[str, Bound]) -> None:
    """Raise ValueError for the first field that is not of its declared type or out of bounds.

    `of` says in the message whose field it is. Numbers of numpy become Python's.
    """
    for name, hint in hints_of(value.__class__).items():
        given = without_numpy(getattr(value, name))
        if hint is float and is_number(given, float):  # 1 and 1.0 are one recipe
            given = float(given)
        object.__setattr__(value, name, given)  # frozen, but not handed out yet
        check_field(of, name, given, hint, bounds.get(name))


def check_field(of: str, name: str, given: Any, hint: Any, bound: Bound | None = None) -> None:
    """Raise ValueError unless a field holds what its type and its bound say."""
    needs, holds = bound or (words_of(hint), lambda given: True)
    typed = fits(given, hint)
    if typed and holds(given):
        return
    kind = words_of(hint).removesuffix(", or None")
    also = "" if typed or kind in needs or get_origin(hint) is tuple else f", {kind}"
    if not of.isprintable():  # a name may be what is wrong
        of = shown(of)[1:-1]
    of = of.strip()
    raise ValueError(f"{of}: {name} is {shown(given)}, needs {needs}{also}{guess(given, hint)}")


@cache
def hints_of(kind: Any) -> dict[str, Any]:
    """Return the types of a dataclass's fields, those that it inherits included."""
    return get_type_hints(kind)


def without_numpy(given: Any) -> Any:
    """Return a number of numpy as Python's own, in a tuple and a mapping too."""
    if type(given).__module__ == "numpy" and getattr(given, "ndim", None) == 0:
        return given.item()
    if type(given) is tuple:
        return tuple(map(without_numpy, given))
    if type(given) is dict:
        return {key: without_numpy(entry) for key, entry in given.items()}
    return given


def fits(given: Any, hint: Any) -> bool:
    """Return whether a value is of a type; numbers are finite, and an int is a float, too."""
    parts, origin = get_args(hint), get_origin(hint)
    if origin is Literal:
        return isinstance(given, str) and given in parts
    if origin is UnionType:
        return any(fits(given, part) for part in parts)
    if origin is tuple and parts[-1] is ...:
        return isinstance(given, tuple) and all(fits(entry, parts[0]) for entry in given)
    if origin is tuple:
        whole = isinstance(given, tuple) and len(given) == len(parts)
        return whole and all(map(fits, given, parts))
    if origin is not None and issubclass(origin, Mapping):
        pairs = given.items() if isinstance(given, Mapping) else [(None, None)]
        return all(fits(key, parts[0]) and fits(entry, parts[1]) for key, entry in pairs)
    if origin is Callable:
        return callable(given)
    if hint in (int, float):
        return is_number(given, hint)
    return hint in (Any, object) or isinstance(given, hint)


def is_number(given: Any, kind: type) -> bool:
    """Return whether a value is a finite number of this kind; True and False are none."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        return False
    if kind is int:
        return isinstance(given, int) and abs(given) <= LARGEST
    try:
        return math.isfinite(given)
    except OverflowError:  # an int that no float can hold
        return False


NAMES = {
    int: f"a whole number, {LARGEST} at most",
    float: "a finite number",
    str: "text",
    bool: "True or False",
    NoneType: "None",
    object: "anything",
}


def words_of(hint: Any) -> str:
    """Say what a type is."""
    origin = get_origin(hint)
    if origin is Literal:
        return " or ".join(get_args(hint))
    if origin is UnionType:
        return ", or ".join(map(words_of, get_args(hint)))
    if Callable in (hint, origin):
        return "a function"
    if origin is tuple:
        return f"a tuple of {words_of(get_args(hint)[0])}"
    if origin is not None and issubclass(origin, Mapping):
        return f"a dict from text to {words_of(get_args(hint)[1])}"
    return NAMES.get(hint) or f"a {getattr(hint, '__name__', hint)}"


def shown(given: Any) -> str:
    """Return a value for a message, cut where it is long."""
    try:
        text = repr(given)
    except Exception:  # such as an int of too many digits
        return f"one {type(given).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."


def guess(given: Any, hint: Any) -> str:
    """Return the known word that is nearest to the one that was given, as a question."""
    words = get_args(hint) if get_origin(hint) is Literal else ()
    return nearest(given, words) if isinstance(given, str) else ""


def nearest(given: str, known: Iterable[str]) -> str:
    """Return the known name that comes nearest, as a question; nothing where none is near."""
    near = get_close_matches(given, known, 1, 0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


NAME: Bound = (
    "text without line breaks and control characters, not empty",
    lambda text: bool(text.strip()) and text.isprintable(),
)
"""Of what stands in ids, files and tables."""
