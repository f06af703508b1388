"""Text of unknown origin, made safe for its reader: a terminal, Markdown or JSON.

A run directory may be a stranger's: names, reasons and facts in it hold whatever they like.
"""

from __future__ import annotations

import re

UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters and marks that show nothing: Unicode's Default_Ignorable_Code_Point, as far as Python
calls them printable."""

COMMAND = re.compile(r"(?P<colon>(?<!\S):(?=:))|(?<=#)#(?=\w*\[)")
"""What begins a command to a CI system that reads the log: `::error`, `##[error]`, `##vso[`."""

PUNCTUATION = r"!-/:-@\[-`{-~"
MARKDOWN = re.compile(
    rf"""
    (?P<signs>(?:[@\#] | GH-(?=\d))+)
    | (?P<less><)
    | (?P<entity>&(?=[\#\w]))
    | [`*~$|]
    | \\(?=[{PUNCTUATION}] | GH-\d)
    | (?<![^\W_])_     # after a letter it begins no emphasis
    | (?<=[!\[])\[     # a picture, a link of a wiki
    | (?<=\])\(        # a link
    | /(?=/)           # an address
    | (?<=www)\.
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""What a reader of GitHub's Markdown may take for more than text, wherever it stands.

The rest of links and footnotes needs a definition, and a definition begins a line.
"""
LINE = re.compile(r"[-+>\[]|:(?=:)|\d{1,9}(?=[.)](?: |$))")
"""What makes a list, a heading, a quotation or a definition of the line that it begins."""


def visible(value: object) -> str:
    """Return text in which all that a reader cannot see, or that moves others, is an escape."""
    text = str(value)
    return text.translate({ord(c): escape(c) for c in hidden(text)})


def encodable(text: str) -> str:
    """Return text in which bytes that are no text are escapes, and all else is as it was."""
    return text.encode(errors="backslashreplace").decode()


def hidden(text: str) -> set[str]:
    """Return the characters of a text that cannot be seen: controls, marks of direction."""
    if text.isascii() and text.isprintable():  # as nearly all is
        return set()
    return {c for c in {*text} if not c.isprintable() or UNSEEN.match(c)}


def escape(character: str) -> str:
    """Return a character as Python writes it: `\\x1b`, `\\u202e`."""
    return character.encode("unicode_escape").decode()


def for_terminal(text: str, encoding: str = "utf-8") -> str:
    """Return text as one line that a terminal, or the log of a CI system, only shows.

    What the encoding does not know is an escape, too.
    """
    shown = visible(text).encode(encoding, "backslashreplace").decode(encoding)
    return COMMAND.sub(lambda found: r"\x3a" if found["colon"] else r"\x23", shown)


def lines_for_terminal(text: str, encoding: str = "utf-8") -> str:
    """Return text of which a terminal only shows the lines, such as a message of several."""
    return "\n".join(for_terminal(line, encoding) for line in text.split("\n"))


def for_markdown(text: str) -> str:
    """Return text that is nothing but text within a line of Markdown, such as a table's cell.

    GitHub links mentions and issues even where they are escaped, but not where they are code.
    """
    return MARKDOWN.sub(escaped, visible(text).strip())


def escaped(found: re.Match[str]) -> str:
    """Return what stands in Markdown for something that would be more than text."""
    if signs := found["signs"]:
        number = found.string[found.end() : found.end() + 1].isdigit()
        return f"`{signs}`" if number or signs.strip("#") else signs.replace("#", r"\#")
    return "&lt;" if found["less"] else "&amp;" if found["entity"] else f"\\{found[0]}"


def line_for_markdown(text: str) -> str:
    """Return text that is nothing but text as a line of Markdown, or an item of a list."""
    shown = for_markdown(text)
    if not (found := LINE.match(shown)):
        return shown
    digits = found[0] if found[0].isdigit() else ""
    return f"{digits}\\{shown[len(digits) :]}"


def for_json(text: str) -> str:
    """Return JSON of the same meaning in which whatever cannot be seen is an escape.

    It can be shown on a terminal, and half of a surrogate pair does not keep it from the disk.
    """
    return text.translate(
        {
            ord(c): re.sub("....", r"\\u\g<0>", c.encode("utf-16-be", "surrogatepass").hex())
            for c in hidden(text) - {"\n"}
        }
    )
