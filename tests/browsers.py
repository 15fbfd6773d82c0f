"""Chromium for tests: where it is, and what it complains of."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    """The browser that VSR_CHROMIUM names, or one of the system's."""
    return os.environ.get("VSR_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Watch:
    """What goes wrong in a browser, and the hosts that it asks."""

    def __init__(self, context: BrowserContext) -> None:
        self.complaints: list[str] = []
        self.hosts: set[str | None] = set()
        context.on("console", lambda message: message.type in ("error", "warning") and self._note(message.text))
        context.on("weberror", lambda error: self._note(str(error.error)))
        context.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname))

    def _note(self, text: str) -> None:
        self.complaints.append(text)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.02)
