"""Where in a file of limits a key stands, for messages: tomllib keeps no positions."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path


def at(path: Path, text: str, *keys: str) -> str:
    """Return file and line of nested keys."""
    lines = lines_of(text)
    start = 0
    for count in range(len(keys), 0, -1):  # the heading that names most of them comes first
        found = first_line(lines, 0, keys[:count])
        if found is not None:
            start = found
            break
    for key in keys[count:]:
        start = first_line(lines, start, (key,)) or start
    return f"{path}:{start + 1}"


@lru_cache(maxsize=1)  # one file is read at a time, and each of its limits is looked for
def lines_of(text: str) -> list[str]:
    """Return the lines of a file without their comments."""
    return [line.partition("#")[0] for line in text.splitlines()]


def first_line(lines: list[str], start: int, keys: tuple[str, ...]) -> int | None:
    """Return the index of the first line that holds all of these keys as whole words."""
    words = [re.compile(rf"(?<![\w-]){re.escape(key)}(?![\w-])") for key in keys]
    for i in range(start, len(lines)):
        line = lines[i]
        if all(key in line for key in keys) and all(word.search(line) for word in words):
            return i
    return None
