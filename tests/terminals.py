"""A terminal that programs write to, and what stands on it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
import threading
from contextlib import suppress

from rich.cells import cell_len

PART = re.compile(r"\x1b\[(\d*)([A-Za-z])|\x1b\[\?\d+[hl]|([\n\r])|([^\x1b\n\r]+)")
"""A command to the terminal, the end of a line, or text."""


def screen(written: str) -> str:
    """Return what stands on a terminal of any height, after all of this was written to it."""
    lines, row, column = [""], 0, 0
    for number, command, ended, text in PART.findall(written):
        count = int(number or 1)
        if ended == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif command == "A":
            row -= count
        elif command == "C":
            column += count
        elif command == "J":
            lines = [*lines[:row], lines[row][:column]]
        elif command == "K":
            lines[row] = "" if count == 2 else lines[row][:column]
        elif text:
            before, after = lines[row].ljust(column), lines[row][column + len(text) :]
            lines[row] = before[:column] + text + after
            column += cell_len(text)
        if ended == "\r":
            column = 0
    return "\n".join(line.rstrip() for line in lines)


class Terminal:
    """A pseudo terminal, whose other end reads all that is written to it."""

    def __init__(self, columns: int = 100, lines: int = 30) -> None:
        self.ours, self.theirs = pty.openpty()
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, size)
        self.path = os.ttyname(self.theirs)
        self.written = b""
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self) -> None:
        """Take what is written, until nobody has the terminal open."""
        with suppress(OSError):
            while more := os.read(self.ours, 1 << 16):
                self.written += more

    def text(self) -> str:
        """Return all that was written so far."""
        return self.written.decode(errors="replace")

    def close(self) -> None:
        """Have all read that was written."""
        os.close(self.theirs)
        self.thread.join(timeout=10)
        os.close(self.ours)
