"""What a stranger may write into a record, and how it reads on GitHub."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from pytest_amlnn.escapes import visible

MARKS = [
    *"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ \n\r\t\x1b\x00\x85\xa0ab1xé模",
    *("\u202e", "\u200b", "\u2028", "\ufeff", "\u3164", "\ufe0f", "\udcff", "\U000e0041"),
    *("http://", "https://", "www.", "mailto:", "ftp://", ".com", "@octocat", "#12", "GH-1"),
    *("&lt;", "&#64;", "<b>", "<!--", "![", "](", "]: ", "[^1]", "[x]", "```", "~~~", "- "),
    *("1. ", "1) ", "> ", "# ", "---", "===", "| - |", "::error", "##[", "##vso[", "    "),
]
WHOLE = [
    *("*a*", "**a**", "_a_", "__a__", "~~a~~", "`a`", "``` a", "[a](b)", "[a](<b>)", "![a](b)"),
    *("<b>a</b>", "<http://a.b>", "<!-- a", "&lt;", "&#64;a", "a\\", "\\|", "| a | b |",),
    *("> a", "- a", "+ a", "* a", "1. a", "12) a", "# a", "---", "***", "===", "    a"),
    *("[x]: http://a", "[^1]: a", "[[a]]", "$a$", "a@b.com", "http://a.com", "//a.com", "-"),
    *("www.a.com", "WWW.A.com", "@octocat", "a/b#12", "GH-12", "\\GH-1", "::error::a"),
    *("\\*a*", "[x] a", "##[error]a", "##vso[a]b", "a\n::error::b", "\x1b[2J", "\u202e"),
    *("\udcff", "x" * 300),
]  # fmt: skip
HOSTILE = (
    st.sampled_from(WHOLE)
    | st.lists(st.sampled_from(MARKS + WHOLE), max_size=8).map("".join)
    | st.text(max_size=20)
)


def hostile(test: Callable[..., None]) -> Callable[..., None]:
    """Try a test on each whole construction, and on whatever is drawn."""
    for text in WHOLE:
        test = example(text=text)(test)
    return given(text=HOSTILE)(test)


INLINE = {"inline", "text", "code_inline"}


def reader() -> MarkdownIt:
    """Give a parser that finds what GitHub's does: tables, strikethrough, bare addresses."""
    found = MarkdownIt("gfm-like", {"html": True})
    found.linkify.set({"fuzzy_link": False})  # addresses without www. or a scheme
    return found


READER = reader()


def tokens(text: str) -> list[Token]:
    """Give the blocks of Markdown, and what stands in them."""
    blocks = READER.parse(text)
    return [inner for block in blocks for inner in (block, *(block.children or ()))]


def text_of(found: list[Token]) -> str:
    """Give what a reader sees."""
    return "".join(token.content for token in found if token.type in INLINE - {"inline"})


def shown(text: str) -> str:
    """Give the text that a reader of Markdown is to see."""
    return visible(text).strip()
