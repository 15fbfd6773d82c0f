"""A client of the page within the process of the test."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from boards import BoardInMemory
from vsr.page.access import Access
from vsr.page.address import Address, names_of
from vsr.page.site import Site

LOOPBACK = Address("127.0.0.1", 8787)


class SiteClient:
    """Asks a site within this process, without a server (which takes a third of a second to come and go).

    Like curl it sends no Origin, and no cookies but those that it was given.
    """

    def __init__(self, board: BoardInMemory, token: str | None = None) -> None:
        self._site = Site(board, names_of(LOOPBACK), Access(LOOPBACK, token))
        self._cookies = httpx.Cookies()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._site.app)
            base = LOOPBACK.url
            async with httpx.AsyncClient(transport=transport, base_url=base, cookies=self._cookies) as client:
                answer = await client.request(method, path, **options)
                self._cookies = client.cookies
                return answer

        return asyncio.run(ask())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> httpx.Response:
        return self.request("PUT", path, **options)
