"""The page as an ASGI application: its routes put together, behind the guard."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from vsr.errors import VsrError
from vsr.page.access import Access
from vsr.page.actions import Actions
from vsr.page.address import NamesOfPage
from vsr.page.answers import Refusal, read_body, refuse
from vsr.page.board import Board
from vsr.page.events import EventStream
from vsr.page.exposition import CONTENT_TYPE, expose
from vsr.page.guard import Guard
from vsr.page.live import Live
from vsr.page.preview import Preview
from vsr.page.uploads import Uploads

__all__ = ["Site"]

STATIC = Path(__file__).parent / "static"
ANSWER_SECONDS = 5.0

# Not asked of the system, whose tables differ; browsers run no script of another type.
_KINDS = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
_logger = logging.getLogger(__name__)

_WRONG_TOKEN = '<p class="error" role="alert">That is not the token.</p>'


class Site:
    """The page of one daemon; `app` is what a server runs."""

    def __init__(self, board: Board, names: NamesOfPage, access: Access) -> None:
        self._board = board
        self._access = access
        self._files = {path.name: path.read_bytes() for path in STATIC.iterdir() if path.suffix in _KINDS}
        self.live = Live(board, {"guarded": access.is_guarded})
        self.app = Starlette(
            routes=[
                Route("/", self._index),
                Route("/static/{name}", self._static),
                Route("/login", self._login_form),
                Route("/login", self._login, methods=["POST"]),
                Route("/logout", self._logout, methods=["POST"]),
                Route("/healthz", self._health),
                Route("/metrics", self._metrics),
                Route("/events", EventStream(self.live), methods=["GET"]),
                Route("/api/jobs/{id}/preview", Preview(board).tell),
                *Actions(board).routes(),
                *Uploads(board).routes(),
            ],
            middleware=[Middleware(Guard, names=names, access=access)],
            exception_handlers={VsrError: _tell_error, HTTPException: _tell_http_error, ClientDisconnect: _tell_nobody},
            lifespan=self._live_on,
        )
        self.app.router.redirect_slashes = False  # an address with one slash more is another address

    @asynccontextmanager
    async def _live_on(self, app: Starlette) -> AsyncIterator[None]:
        async with self.live.run():
            yield

    async def _index(self, request: Request) -> Response:
        return self._file("index.html")

    async def _static(self, request: Request) -> Response:
        return self._file(request.path_params["name"])

    def _file(self, name: str) -> Response:
        if name not in self._files:
            raise HTTPException(404)
        return Response(self._files[name], media_type=_KINDS[Path(name).suffix])

    async def _login_form(self, request: Request) -> Response:
        return self._file("login.html") if self._access.is_guarded else RedirectResponse("/", 303)

    async def _login(self, request: Request) -> Response:
        form = parse_qs((await read_body(request)).decode("utf-8", "replace"))
        if not self._access.is_token(form.get("token", [""])[0].strip()):
            page = self._files["login.html"].decode().replace("<!-- message -->", _WRONG_TOKEN)
            return Response(page, 403, media_type="text/html")
        return RedirectResponse("/", 303, {"Set-Cookie": self._access.give_cookie()})

    async def _logout(self, request: Request) -> Response:
        return Response(status_code=204, headers={"Set-Cookie": self._access.take_cookie()})

    async def _health(self, request: Request) -> Response:
        """200, or 503 with the reason: for whatever restarts daemons."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                state = await asyncio.to_thread(self._board.snapshot)
            trouble = state.get("trouble")
        except TimeoutError:
            trouble = f"the daemon has not answered for {ANSWER_SECONDS:g} s"
        except VsrError as exc:
            _logger.error("the state of the daemon cannot be read: %s", exc.message)
            trouble = "the state of the daemon cannot be read; its log says why"  # the message may name a path
        return Response(f"{trouble or 'ok'}\n", 503 if trouble else 200, media_type="text/plain")

    async def _metrics(self, request: Request) -> Response:
        def read() -> tuple[dict[str, Any], dict[str, float]]:
            return self._board.snapshot(), self._board.metrics()

        snapshot, metrics = await asyncio.to_thread(read)
        text = expose(snapshot, {**metrics, "pages_open": self.live.num_clients})
        return Response(text, headers={"Content-Type": CONTENT_TYPE})


def _tell_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, VsrError)
    return refuse(error.status if isinstance(error, Refusal) else 409, error.message, error.hint)


def _tell_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refuse(error.status_code, error.detail, headers=error.headers)


def _tell_nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=400)
