"""Downloads that resume, and count only once they are verified."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.parse import urlsplit

from filelock import FileLock
from platformdirs import user_cache_dir
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from pytest_amlnn.disk import sync

CHUNK = 1 << 18
"""Bytes that are received between two moves of the progress bar."""


class DownloadError(Exception):
    """A file that could not be had; the message names its URL and what to do."""


def cache_folder() -> Path:
    """Return where downloads and prepared data are kept (env `AMLNN_CACHE`)."""
    return Path(os.environ.get("AMLNN_CACHE") or user_cache_dir("amlnn")).expanduser()


def download(
    url: str,
    to: Path,
    *,
    size: int | None,
    sha256: str | None,
    timeout: float = 30.0,
) -> Path:
    """Bring the file at `url` to `to`, resuming where a cut download ended.

    `timeout` is in seconds without any byte. Raises DownloadError; `to` then is as it
    was before.
    """
    if urlsplit(url).scheme not in {"http", "https"}:
        raise DownloadError(f"{url}: only http and https addresses are downloaded")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{to}.lock"):
            if not to.is_file() or _difference(to, size, sha256):
                _fetch(url, to, size, sha256, timeout)
    except (OSError, HTTPException) as error:
        kept = _length(_part(to)) if size or sha256 else 0
        raise DownloadError(
            f"{url}: {error}; "
            + (f"{kept:,} bytes are kept in {_part(to)}, and " if kept else "")
            + f"the same command {'resumes' if kept else 'tries again'}"
        ) from error
    return to


def _part(to: Path) -> Path:
    return to.with_name(f"{to.name}.part")


def _length(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _fetch(url: str, to: Path, size: int | None, sha256: str | None, timeout: float) -> None:
    part = _part(to)
    # Without a size or a digest nothing would show that two halves do not match.
    if not (size or sha256):
        part.unlink(missing_ok=True)
    if not part.is_file() or _length(part) != size:
        _receive(url, part, size, timeout)
    if difference := _difference(part, size, sha256):
        _reject(url, part, difference)
    sync(part)
    part.replace(to)
    sync(to.parent)


def _reject(url: str, part: Path, difference: str) -> None:
    part.unlink()
    raise DownloadError(
        f"{url}: {difference}; what arrived is removed. "
        "The file there is another one, or was damaged on its way: "
        "try again, or name another address"
    )


def _difference(file: Path, size: int | None, sha256: str | None) -> str | None:
    """Say how a file differs from what is expected of it."""
    actual = _length(file)
    if size is not None and actual != size:
        return f"expected {size:,} bytes, got {actual:,}"
    if sha256 is None:
        return None
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return None if digest == sha256 else f"expected SHA-256 {sha256}, got {digest}"


def _receive(url: str, part: Path, size: int | None, timeout: float) -> None:
    """Append to `part` what is missing, or start anew where the server cannot."""
    with _answer(url, part, timeout) as answer, part.open("ab") as file:
        start, total = _range(answer)
        if None not in (size, total) and total != size:
            _reject(url, part, f"expected {size:,} bytes, the server has {total:,}")
        file.truncate(start)
        _copy(answer, file, start, total)
    # A connection that is cut reads like the end of the file.
    if total is not None and _length(part) < total:
        raise ConnectionError(f"cut at {_length(part):,} of {total:,} bytes")


def _answer(url: str, part: Path, timeout: float) -> HTTPResponse:
    """Ask for what is missing; for everything where the server has no such range."""
    asked = {"User-Agent": "amlnn", "Range": f"bytes={_length(part)}-"}
    if not _length(part):
        del asked["Range"]
    request = urllib.request.Request(url, headers=asked)
    try:
        answer: HTTPResponse = _opener().open(request, timeout=timeout)
    except HTTPError as error:
        if error.code != 416 or "Range" not in asked:
            raise
        part.unlink()
        return _answer(url, part, timeout)
    return answer


def _opener() -> urllib.request.OpenerDirector:
    """Open http and https only, so that a redirect leads to no other kind either."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _range(answer: HTTPResponse) -> tuple[int, int | None]:
    """Return the first byte that an answer holds, and the size of the whole file."""
    found = re.match(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
    if answer.status == 206 and found:
        return int(found[1]), int(found[2])
    return 0, answer.length


def _copy(answer: HTTPResponse, file: BinaryIO, start: int, total: int | None) -> None:
    terminal = sys.stderr.isatty()
    if not terminal:
        print(f"amlnn: downloading {answer.url} to {file.name}", file=sys.stderr)
    with Progress(
        "Downloading",
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not terminal,
    ) as progress:
        task = progress.add_task("", total=total, completed=start)
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            progress.advance(task, len(chunk))
