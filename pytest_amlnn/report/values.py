"""What reports are made of: values that a renderer shows and escapes for its own reader."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from pytest_amlnn.statistics import Spread


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What stands in a table's row under a head: a number with its interval, words, or both."""

    spread: Spread | None = None
    """None where the cell is words alone."""
    format: str = "{:.4g}"
    scale: float = 1.0
    """By what the number is multiplied to be shown: 100 for per cent."""
    interval: bool = False
    """Show the interval, where there is one."""
    words: str = ""
    order: float | None = None
    """What words are sorted by, where it is a number that they show otherwise."""
    mark: str = ""
    """`good`, `bad` or `open`, where words are a verdict that is shown in its colour."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show; a number that is unknown is a dash, not nothing."""
        return self.spread is None and not self.words


def words(text: str, order: float | None = None) -> Cell:
    """Return a cell of words."""
    return Cell(words=text, order=order)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells by row and column; columns that would be empty are left out."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    essential: frozenset[str] = frozenset()
    """Heads of the columns that stay where there is no room for all."""
    note: str = ""
    """How it is to be read."""

    def only(self, heads: Collection[str]) -> Table:
        """Return the table with these columns alone."""
        places = [place for place, head in enumerate(self.heads) if head in heads]
        return replace(
            self,
            heads=tuple(self.heads[place] for place in places),
            rows=tuple(tuple(row[place] for place in places) for row in self.rows),
        )


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A list under a title: what is not as it should be."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Document:
    """A whole report, for people."""

    title: str
    answer: tuple[str, ...]
    """The short of it, in sentences."""
    machine: str
    datasets: tuple[str, ...]
    tables: tuple[Table, ...]
    notices: tuple[Notice, ...]
    """Those that have lines."""
    notes: tuple[str, ...] = ()
    """Sentences that explain the columns."""
    improvements: Table | None = None
    """What changes of cases are worth, where there are any."""
    details: tuple[Table, ...] = ()
    """Further tables: what stands behind the sentences."""
