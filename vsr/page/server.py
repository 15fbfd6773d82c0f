"""A thread that serves the page's site, by uvicorn."""

from __future__ import annotations

import asyncio
import socket
import threading

import uvicorn

from vsr.errors import VsrError
from vsr.page.connection import Connection
from vsr.page.site import Site

__all__ = ["ServerThread"]

CLOSE_SECONDS = 1.0  # for answers under way; streams of events end at once
NUM_CONNECTIONS = 100


class ServerThread(threading.Thread):
    """uvicorn on an event loop of its own."""

    def __init__(self, site: Site, listener: socket.socket) -> None:
        super().__init__(name="vsr-page", daemon=True)
        self._site, self._listener = site, listener
        self._server = uvicorn.Server(
            uvicorn.Config(
                site.app,
                http=Connection,
                ws="none",
                lifespan="on",
                log_config=None,  # the daemon's own
                log_level="error",  # whoever comes by could fill the log with warnings
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=NUM_CONNECTIONS,
            )
        )
        self._is_settled = threading.Event()  # it is up, or never will be
        self._is_closing = threading.Event()

    def wait_until_up(self) -> None:
        """
        Raises:
            VsrError: it did not start.
        """
        self._is_settled.wait()
        if not self._server.started:
            raise VsrError("the page could not be started; the log says why")

    def close(self) -> None:
        self._is_closing.set()
        self.join()

    def run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._is_settled.set()

    async def _serve(self) -> None:
        serving = asyncio.create_task(self._serve_until_told())
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.01)
        self._is_settled.set()
        while not self._is_closing.is_set() and not serving.done():
            await asyncio.sleep(0.1)  # as uvicorn itself looks whether it shall end
        await self._site.live.close()
        self._server.should_exit = True
        await asyncio.wait({serving}, timeout=CLOSE_SECONDS)
        # Who reads nothing would be waited for: what was sent lies in a buffer that closing would empty first.
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        await serving

    async def _serve_until_told(self) -> None:
        try:
            await self._server.serve([self._listener])
        except SystemExit:
            # So uvicorn ends where the site did not start, having logged why; a thread is no program to leave.
            assert not self._server.started
