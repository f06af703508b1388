"""Text of strangers (file names, server replies) as it can be stored and shown."""

from __future__ import annotations


def printable(text: object) -> str:
    """Escape what cannot be encoded or would act on a terminal; all else stays as it is.

    Bytes of a path that are no UTF-8, control characters and marks of direction become
    escapes such as `\\udce9`, `\\x1b` and `\\u202e`.
    """
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in str(text))


def _escaped(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
