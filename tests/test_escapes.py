"""Text of unknown origin, as a terminal, a reader of Markdown and one of JSON take it."""

from __future__ import annotations

import json
import re
from time import process_time

import pytest
from hostile_texts import HOSTILE, INLINE, hostile, shown, text_of, tokens
from hypothesis import given

from pytest_amlnn.escapes import (
    for_json,
    for_markdown,
    for_terminal,
    line_for_markdown,
    lines_for_terminal,
)

# Markdown


@hostile
def test_line_of_markdown_is_text_alone(text):
    """Whatever a stranger writes is, in a list, exactly that text: no block, link or HTML."""
    found = tokens(f"- before\n- {line_for_markdown(text)}\n- after\n")
    items = [token.type for token in found if token.type not in INLINE | {"softbreak"}]
    item = ["list_item_open", "paragraph_open", "paragraph_close", "list_item_close"]
    empty = ["list_item_open", "list_item_close"]
    middle = item if shown(text) else empty

    assert items == ["bullet_list_open", *item, *middle, *item, "bullet_list_close"]
    assert text_of(found) == f"before{shown(text)}after"


@hostile
@pytest.mark.parametrize("before", ["# ", ""], ids=["heading", "paragraph"])
def test_heading_and_paragraph_are_text_alone(text, before):
    """What stands in a heading or a paragraph is that text, and begins nothing else."""
    found = tokens(f"{before}{line_for_markdown(text)}\n\nafter")
    kind = "heading" if before else "paragraph"
    blocks = [t.type for t in found if t.type.endswith("_open")]

    assert blocks == [f"{kind}_open"] * bool(before or shown(text)) + ["paragraph_open"]
    assert {token.type for token in found} <= INLINE | {
        *("heading_open", "heading_close", "paragraph_open", "paragraph_close"),
    }
    assert text_of(found) == f"{shown(text)}after"


@given(first=HOSTILE, second=HOSTILE)
def test_cell_of_markdown_is_text_alone(first, second):
    """Whatever a stranger writes stays in its cell of a table, and is exactly that text."""
    row = f"| {for_markdown(first)} | {for_markdown(second)} |"
    found = tokens(f"| a | b |\n|---|---|\n{row}\n")
    kinds = [t.type.removesuffix("_open") for t in found if t.type.endswith("_open")]
    cells = [t for t in found if t.type == "inline"][2:]

    assert kinds == ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]
    assert {t.type for cell in cells for t in cell.children} <= INLINE
    assert [text_of(cell.children) for cell in cells] == [shown(first), shown(second)]


@hostile
def test_github_links_nothing(text):
    """Nobody is mentioned, no issue is referred to: GitHub looks for both in rendered text."""
    escaped = line_for_markdown(text)
    plain = [token.content for token in tokens(escaped) if token.type == "text"]

    assert not [t for t in plain if re.search(r"@|#\d|GH-\d", t, re.IGNORECASE)]
    assert not re.search(r"www\.|://|!\[|\]\(|\[\[|(?<!\\)\$", escaped, re.IGNORECASE)


@pytest.mark.parametrize(
    "text",
    [
        "test_lstm[lstm-1000]",
        "test_digits[small_cnn-1200], seed 0: diverged: the loss is no number",
        "75.0 [69.2, 80.1] better",
        "-3.2",
        "benchmarks/test_cnn.py::test_cnn[vgg19-random-10k]",
        "test_accuracy is 0.75, needs at least 0.9 (gates.toml:3)",
        "A processor (R), 2 cores, Python 3.11.7, torch 2.11.0+cpu",
    ],
)
def test_usual_text_can_be_read_as_it_is(text):
    """Ids, numbers and sentences of ours need no escape in report.md."""
    assert for_markdown(text) == text


@pytest.mark.parametrize("text", ["#", "@", "GH-", "\\", "[", " ", "_", "\x00", "a"])
@pytest.mark.parametrize("kind", [for_terminal, line_for_markdown])
def test_long_text_takes_time_in_proportion(text, kind):
    """A hundred thousand characters of any kind are escaped at once."""
    start = process_time()
    kind(text * 100_000)

    assert process_time() - start < 2


# the terminal

ENCODINGS = pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "cp1252"])


@ENCODINGS
@hostile
def test_terminal_is_shown_what_it_can_show(text, encoding):
    """One line, nothing that moves a cursor or turns the direction, nothing to be encoded."""
    line = for_terminal(text, encoding)

    assert line.isprintable()
    assert line.encode(encoding).decode(encoding) == line


@hostile
@pytest.mark.parametrize("kind", [for_terminal, line_for_markdown])
def test_log_is_no_command(text, kind):
    """A CI system that reads the log finds no command in a line that begins with the text."""
    line = kind(text)

    assert not line.lstrip().startswith("::")
    assert not re.search(r"##\w*\[", line)


@pytest.mark.parametrize("text", ["test_lstm[lstm-1000]", "a|b <c> & `d` *e* #1 @f", "模型 é"])
def test_terminal_knows_no_markdown(text):
    """What only Markdown would take for more than text stands on a terminal as it is."""
    assert for_terminal(text) == text


def test_lines_are_each_safe():
    """A message of several lines keeps them, and none of them is a command."""
    assert lines_for_terminal("a\n::error::b\x1b", "ascii") == "a\n\\x3a:error::b\\x1b"


@pytest.mark.parametrize("mark", ["\u202e", "\u200b", "\u115f", "\x9b31m", "\x7f", "\xad"])
def test_what_cannot_be_seen_is_visible(mark):
    """Marks of direction, characters without width and controls stand there by number."""
    escape = mark[0].encode("unicode_escape").decode()

    assert for_terminal(f"a{mark}b") == f"a{escape}{mark[1:]}b"


# JSON


@hostile
def test_json_keeps_its_meaning(text):
    """JSON holds the same text, half of a surrogate pair too, and can be shown and stored."""
    stored = for_json(json.dumps({"a": [text]}, indent=1, ensure_ascii=False))

    assert json.loads(stored.encode()) == {"a": [text]}
    assert stored.replace("\n", "").isprintable()
