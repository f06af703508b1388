"""What a dataset says of itself, as data that JSON can hold."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from pytest_amlnn.escapes import encodable
from pytest_amlnn.fields import shown, without_numpy

DEEPEST = 32
LARGEST = 2**63
"""Of whole numbers, which other programs read as 64 bits."""
USE = "use text, bool, int, finite float, and lists and dicts of these"


def plain_facts(facts: Any) -> dict[str, Any]:
    """Return facts as JSON-ready data; ValueError names the first that cannot be one.

    Numbers of numpy, paths, dates, tuples and sets become numbers, text and lists.
    """
    if not isinstance(facts, Mapping):
        raise ValueError(f"facts are {shown(facts)}; use a dict")
    plain: dict[str, Any] = plain_fact(facts, "facts", ())
    counts = plain.get("counts", {})
    whole = isinstance(counts, dict) and all(type(n) is int for n in counts.values())
    if not whole:
        raise ValueError(
            f"facts['counts'] is {shown(counts)}; use a dict from split to a whole number"
        )
    return plain


def plain_fact(value: Any, place: str, above: tuple[int, ...]) -> Any:
    """Return one fact as plain data; `above` are the ids of those that hold it."""
    value = without_numpy(value)
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        if id(value) in above or len(above) == DEEPEST:
            raise ValueError(f"{place} holds itself, or lies more than {DEEPEST} deep; {USE}")
        inside = (*above, id(value))
        if isinstance(value, Mapping):
            return plain_mapping(value, place, inside)
        entries = [plain_fact(v, f"{place}[{i}]", inside) for i, v in enumerate(value)]
        # of a set, in an order that is the same in every process
        return entries if isinstance(value, list | tuple) else sorted(entries, key=json.dumps)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < LARGEST:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, str | PurePath):  # bytes that are no text stay visible
        return encodable(str(value))
    raise ValueError(f"{place} is {shown(value)}, a {type(value).__name__}; {USE}")


def plain_mapping(value: Mapping[Any, Any], place: str, above: tuple[int, ...]) -> Any:
    """Return a mapping with keys of text."""
    plain: dict[str, Any] = {}
    for key, entry in value.items():
        named = without_numpy(key)
        if not isinstance(named, str | int | float | PurePath):
            raise ValueError(f"{place} has the key {shown(key)}; keys are text")
        text = plain_fact(str(named), place, ())
        if text in plain:
            raise ValueError(f"{place} has two keys {text!r}; keys are text, and differ")
        plain[text] = plain_fact(entry, f"{place}[{text!r}]", above)
    return plain
