"""Downloads that resume, and count only once they are verified."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from time import monotonic
from typing import IO, BinaryIO
from urllib.error import HTTPError
from urllib.parse import urlsplit

from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from pytest_amlnn.cache import cache_folder as cache_folder
from pytest_amlnn.cache import own_folder
from pytest_amlnn.disk import sync
from pytest_amlnn.errors import UserError
from pytest_amlnn.escapes import visible

CHUNK = 1 << 18
"""Bytes that are received between two moves of the progress bar."""
LIMIT = 8 << 30
"""Bytes that a file of unknown size may have."""
ROOM = 64 << 20
"""Bytes that a download leaves free on the disk."""
SLOWEST = 100
"""Bytes a second; who sends fewer would take a month for Tiny ImageNet."""


class DownloadError(UserError):
    """A file that could not be had; the message names its URL and what to do."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is known of a file before it is downloaded."""

    size: int | None
    sha256: str | None
    limit: int
    inspect: Callable[[Path], str | None] | None

    @property
    def most(self) -> int:
        """Bytes that it may have."""
        return self.limit if self.size is None else self.size

    def difference(self, file: Path) -> str | None:
        """Say how a file differs from what is expected of it."""
        actual = _length(file)
        if self.size is not None and actual != self.size:
            return f"expected {self.size:,} bytes, got {actual:,}"
        if self.sha256 is not None:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if digest != self.sha256:
                return f"expected SHA-256 {self.sha256}, got {digest}"
        return self.inspect(file) if self.inspect else None


def download(
    url: str,
    to: Path,
    *,
    size: int | None,
    sha256: str | None,
    timeout: float = 30.0,
    limit: int = LIMIT,
    inspect: Callable[[Path], str | None] | None = None,
) -> Path:
    """Bring the file at `url` to `to`, resuming where a cut download ended.

    `timeout` is in seconds without any byte. A file has `size` bytes, or `limit` at most.
    `inspect` says why a file, also one that is there already, is not what is wanted.
    Raises DownloadError; `to` then is as it was before.
    """
    wanted = Wanted(size=size, sha256=sha256, limit=limit, inspect=inspect)
    try:
        if urlsplit(url).scheme not in {"http", "https"}:
            raise DownloadError(f"{visible(url)}: only http and https addresses are downloaded")
        own_folder(to.parent)
        lock = Path(f"{to}.lock")
        _drop_link(lock)
        with FileLock(lock):
            if not to.is_file() or wanted.difference(to):
                _fetch(url, to, wanted, timeout)
    # a file system without locks: the last
    except (OSError, HTTPException, ValueError, NotImplementedError) as error:
        kept = _length(_part(to)) if size or sha256 else 0
        raise DownloadError(
            f"{visible(url)}: {visible(error)}; "
            + (f"{kept:,} bytes are kept in {visible(_part(to))}, and " if kept else "")
            + f"the same command {'resumes' if kept else 'tries again'}"
        ) from error
    return to


def _part(to: Path) -> Path:
    return to.with_name(f"{to.name}.part")


def _length(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _drop_link(path: Path) -> None:
    """Remove a link, through which we would write elsewhere."""
    if path.is_symlink():
        path.unlink()


def _fetch(url: str, to: Path, wanted: Wanted, timeout: float) -> None:
    part = _part(to)
    _drop_link(part)
    # Without a size or a digest nothing would show that two halves do not match.
    if not (wanted.size or wanted.sha256):
        part.unlink(missing_ok=True)
    if not part.is_file() or _length(part) != wanted.size:
        _receive(url, part, wanted, timeout)
    if difference := wanted.difference(part):
        _reject(url, part, difference)
    sync(part)
    part.replace(to)
    sync(to.parent)


def _reject(url: str, part: Path, difference: str) -> None:
    part.unlink()
    raise DownloadError(
        f"{visible(url)}: {difference}; what arrived is removed. "
        "The file there is another one, or was damaged on its way: "
        "try again, or name another address"
    )


def _receive(url: str, part: Path, wanted: Wanted, timeout: float) -> None:
    """Append to `part` what is missing, or start anew where the server cannot."""
    with _answer(url, part, timeout) as answer, _open_part(part) as file:
        start, total = _range(answer)
        if total is not None and (total > wanted.most or wanted.size not in {None, total}):
            expected = "expected" if wanted.size is not None else "expected at most"
            _reject(url, part, f"{expected} {wanted.most:,} bytes, the server has {total:,}")
        room = shutil.disk_usage(part.parent).free - ROOM
        if total is not None and total - start > room:
            raise OSError(f"{total - start:,} bytes are to come, room is for {max(room, 0):,}")
        file.truncate(start)
        _copy(answer, file, part, start, total, min(wanted.most, start + room), timeout)
    if wanted.most > start + room < _length(part):
        raise OSError(f"the disk has room for {max(room, 0):,} bytes, the server sends more")
    if _length(part) > wanted.most:
        _reject(url, part, f"expected {wanted.most:,} bytes at most, the server sends more")
    # A connection that is cut reads like the end of the file.
    if total is not None and _length(part) < total:
        raise ConnectionError(f"cut at {_length(part):,} of {total:,} bytes")


def _open_part(part: Path) -> BinaryIO:
    """Open a file of our own to append to it, whatever others put in its place meanwhile."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    file = os.fdopen(os.open(part, flags, 0o644), "ab")
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        file.close()
        raise OSError(f"{part} is no file of its own: remove it")
    return file


def _answer(url: str, part: Path, timeout: float) -> HTTPResponse:
    """Ask for what is missing; for everything where the server has no such range."""
    have = _length(part)
    asked = {"User-Agent": "amlnn", "Accept-Encoding": "identity"}
    if have:
        asked["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=asked)
    try:
        answer: HTTPResponse = _opener().open(request, timeout=timeout)
    except HTTPError as error:
        if error.code != 416 or not have:
            raise
        part.unlink()
        return _answer(url, part, timeout)
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise HTTPException("it was sent compressed, which was not asked for")
    if answer.status == 206 and not _fits(answer, have):
        answer.close()
        if not have:
            raise HTTPException("a part was sent of what was asked for as a whole")
        part.unlink()
        return _answer(url, part, timeout)
    if answer.status not in {200, 206}:
        raise HTTPException(f"the server answered {answer.status} {answer.reason}")
    return answer


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but from https to https only."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Raise DownloadError where the new address is less safe than the old one."""
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise DownloadError(
                f"{visible(req.full_url)}: leads from https to {visible(newurl)}, where "
                "anybody on the way may change the file; name another address"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Open http and https only, so that a redirect leads to no other kind either."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        _Redirect(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _content_range(answer: HTTPResponse) -> list[int] | None:
    text = answer.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", text.strip())
    return [int(number) for number in found.groups()] if found else None


def _fits(answer: HTTPResponse, have: int) -> bool:
    """Tell whether a part of a file continues what we have."""
    found = _content_range(answer)
    return found is not None and found[0] <= have and found[0] <= found[1] < found[2]


def _range(answer: HTTPResponse) -> tuple[int, int | None]:
    """Return the first byte that an answer holds, and the size of the whole file."""
    found = _content_range(answer) if answer.status == 206 else None
    return (found[0], found[2]) if found else (0, answer.length)


def _copy(
    answer: HTTPResponse,
    file: BinaryIO,
    part: Path,
    start: int,
    total: int | None,
    most: int,
    timeout: float,
) -> None:
    """Write what arrives, up to the first bytes beyond `most`."""
    terminal = sys.stderr.isatty()
    if not terminal:
        print(f"amlnn: downloading {visible(answer.url)} to {part}", file=sys.stderr)
    with Progress(
        "Downloading",
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not terminal,
    ) as progress:
        task = progress.add_task("", total=total, completed=start)
        began, received = monotonic(), 0
        while start + received <= most and (chunk := answer.read1(CHUNK)):
            file.write(chunk)
            progress.advance(task, len(chunk))
            received += len(chunk)
            seconds = monotonic() - began
            if seconds > timeout and received < SLOWEST * seconds:
                raise TimeoutError(f"{received:,} bytes in {seconds:.0f} s, timed out")
