"""Headless Chromium, for tests that look at a report as its reader does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
"""Of the program, on one system or another."""
REQUIRED = bool(os.environ.get("AMLNN_TEST_BROWSER"))
"""CI must not skip what a user's machine may."""


def chromium() -> str:
    """Return where the browser is; skip the test where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    reason = "no Chromium is installed" if not found else ""
    reason = reason or ("" if find_spec("playwright") else "playwright is not installed")
    if reason:
        (pytest.fail if REQUIRED else pytest.skip)(reason, pytrace=False)
    return str(found)


@dataclass
class Opened:
    """A page that is open, and what it said and asked for."""

    page: Any
    said: list[str] = field(default_factory=list)
    """Messages on the console, and errors."""
    asked: list[str] = field(default_factory=list)
    """Addresses besides its own, and those of pictures within it."""

    def violations(self) -> list[str]:
        """Return what axe-core finds that is serious; a drawing counts as one picture."""
        import axe_playwright_python

        source = Path(axe_playwright_python.__file__).with_name("axe.min.js")
        self.page.evaluate(source.read_text(encoding="utf-8"))
        found = self.page.evaluate("axe.run({exclude: ['.drawing svg']})")["violations"]
        grave = [one for one in found if one["impact"] in ("serious", "critical")]
        return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in grave]


@contextmanager
def browser() -> Iterator[Any]:
    """Give a browser, and end it."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path)
        yield started
        started.close()


@contextmanager
def opened(started: Any, file: Path, **context: Any) -> Iterator[Opened]:
    """Open a file in a window of its own, and listen to it."""
    window = started.new_context(**context)
    found = Opened(page=window.new_page())
    found.page.on("console", lambda message: found.said.append(message.text))
    found.page.on("pageerror", lambda error: found.said.append(str(error)))
    own = (file.as_uri(), "data:")
    found.page.on(
        "request",
        lambda request: (
            None if request.url.startswith(own) else found.asked.append(request.url)
        ),
    )
    found.page.goto(file.as_uri())
    yield found
    window.close()
