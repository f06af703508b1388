"""Where a process with pytest's terminal shows what others do: below pytest's own output."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from threading import RLock
from typing import Any

from rich.cells import cell_len, set_cell_size

from pytest_amlnn.escapes import for_terminal
from pytest_amlnn.progress import ERASE_BELOW, write_between

COLOR = re.compile(r"\x1b\[[0-9;]*m")

Text = Callable[[int | None], list[str]]
"""Returns lines that take so many cells at most, where a number is given."""


class PlainLines:
    """Write lines between those of pytest, where no line can be written anew."""

    seconds = 30.0
    """Between one time and the next."""

    def __init__(self, terminal: Any) -> None:
        self.terminal = terminal

    def show(self, text: Text) -> None:
        """Write all lines."""
        write_between(self.terminal, *text(None))

    def close(self) -> None:
        """Leave them there."""


class Footer:
    """Keep lines below the cursor, which stays where pytest left it.

    It stands in the place of the file that pytest's terminal writer writes to. Before pytest
    writes, the lines are wiped; they are drawn anew afterwards.
    """

    seconds = 0.5
    """Between one time and the next."""

    def __init__(self, terminal: Any) -> None:
        self.writer, self.file = terminal._tw, terminal._tw._file
        self.encoding = getattr(self.file, "encoding", None) or "utf-8"
        self.lock, self.drawn = RLock(), False
        self.line: str | None = None
        """What pytest wrote since the last line ended; not known before one does."""
        self.writer._file = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, text: str) -> int:
        """Write what pytest writes."""
        with self.lock:
            self.wipe()
            _, ended, rest = text.rpartition("\n")
            if ended or self.line is not None:
                line = rest if ended else f"{self.line}{rest}"
                self.line = line.rpartition("\r")[2]
            written: int = self.file.write(text)
            return written

    def wipe(self) -> None:
        """Take the lines away."""
        if self.drawn:
            self.file.write(ERASE_BELOW)
            self.drawn = False

    def show(self, text: Text) -> None:
        """Draw the lines, and put the cursor back."""
        size = shutil.get_terminal_size()
        lines = [for_terminal(line, self.encoding) for line in text(size.columns - 1)]
        lines = lines[-max(size.lines - 2, 1) :]  # what is scrolled away cannot be wiped
        with self.lock:
            if self.line is None or not lines:
                return
            drawn = "".join(f"\n{cropped(line, size.columns - 1)}" for line in lines)
            column = cell_len(COLOR.sub("", self.line)) % size.columns
            back = f"\x1b[{len(lines)}A\r" + (f"\x1b[{column}C" if column else "")
            self.file.write(f"{ERASE_BELOW}{drawn}{back}")
            self.file.flush()
            self.drawn = True

    def close(self) -> None:
        """Wipe the lines, and leave the terminal to pytest."""
        with self.lock:
            self.wipe()
            self.file.flush()
            self.writer._file = self.file


def cropped(line: str, width: int) -> str:
    """Return as much of a line as takes so many cells."""
    return set_cell_size(line, width) if cell_len(line) > width else line
