"""Chromium without a window, driven by Playwright; checks that need it are skipped where it is not."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")


def executable() -> str | None:
    """The installed Chromium."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def missing() -> str:
    """What is not here that a browser check needs; nothing where all is."""
    if not executable():
        return "Chromium is not installed (Debian: apt install chromium)"
    if importlib.util.find_spec("playwright") is None:
        return "Playwright is not installed (pip install playwright; it brings no browser)"
    return ""


@contextmanager
def opened() -> Iterator[Any]:
    """A running browser, closed at the end."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # A container's user is root, for whom Chromium has no sandbox, and its /dev/shm is small.
        flags = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        running = playwright.chromium.launch(executable_path=executable(), args=flags)
        try:
            yield running
        finally:
            running.close()
