"""What reports are made of: values that a renderer shows and escapes for its own reader."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

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

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show; a number that is unknown is a dash, not nothing."""
        return self.spread is None and not self.words


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells by row and column; columns that would be empty are left out."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    essential: frozenset[str] = frozenset()
    """Heads of the columns that stay where there is no room for all."""

    def without(self, head: str) -> Table:
        """Return the table without one column."""
        place = self.heads.index(head)
        return replace(
            self,
            heads=self.heads[:place] + self.heads[place + 1 :],
            rows=tuple(row[:place] + row[place + 1 :] for row in self.rows),
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
    machine: str
    datasets: tuple[str, ...]
    tables: tuple[Table, ...]
    notices: tuple[Notice, ...]
    """Those that have lines."""
    notes: tuple[str, ...] = field(default=())
    """Sentences that explain the columns."""
