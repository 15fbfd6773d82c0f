"""A page with a daemon in memory behind it, and the clients that ask it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright
from playwright.sync_api import Page as Tab

from boards import BoardInMemory
from browsers import NAMES, Watch, find_chromium
from site_client import SiteClient
from vsr.page.address import Address
from vsr.page.page import Page

ANY_PORT = Address("127.0.0.1", 0)


@pytest.fixture(scope="session", autouse=True)
def restless_server() -> Iterator[None]:
    """uvicorn looks every tenth of a second whether it is to end, twice; with 250 tests that is a minute of waiting."""

    class RestlessAsyncio:
        def __getattr__(self, name: str) -> Any:
            return getattr(asyncio, name)

        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(seconds / 20)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("uvicorn.server.asyncio", RestlessAsyncio())
        yield


@pytest.fixture
def board(tmp_path: Path) -> BoardInMemory:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    return BoardInMemory(inbox)


@pytest.fixture
def client(board: BoardInMemory) -> SiteClient:
    return SiteClient(board)


@pytest.fixture
def url(board: BoardInMemory) -> Iterator[str]:
    """Where the page is served."""
    with Page(ANY_PORT).serve(board) as url:
        yield url


@pytest.fixture
def served(url: str) -> Iterator[httpx.Client]:
    """A client of the page as a real server serves it."""
    with httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; skips the test where there is none, with VSR_REQUIRE_CHROMIUM=1 it fails.

    Of the module and not of the session: while it lives, no other event loop can run in this thread.
    """
    program = find_chromium()
    if program is None:
        message = f"no {', '.join(NAMES)} here (VSR_CHROMIUM names another)"
        if os.environ.get("VSR_REQUIRE_CHROMIUM") == "1":
            pytest.fail(message)
        pytest.skip(message)
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=options)
        expect.set_options(timeout=15_000)  # machines of CI are slow and shared
        yield browser
        browser.close()


@pytest.fixture
def open_tab(browser: Browser, url: str) -> Iterator[Callable[..., Tab]]:
    """open_tab(path, **options of a browser context): the page, after its first state has come."""
    contexts: list[tuple[BrowserContext, Watch]] = []

    def open(**options: object) -> Tab:
        context = browser.new_context(**options)
        context.set_default_timeout(15_000)
        contexts.append((context, Watch(context)))
        tab = context.new_page()
        tab.goto(url)
        expect(tab.locator("#version")).to_have_text("vsr 0.1.0")
        return tab

    yield open
    for context, watch in contexts:
        context.close()
        assert watch.complaints == []
        assert watch.hosts - {None} == {"127.0.0.1"}  # None: blob: and the like


@pytest.fixture
def tab(open_tab: Callable[..., Tab]) -> Tab:
    return open_tab()
