"""Orders to the daemon: retry, cancel, pause, resume, move. Jobs are named by number, never by path."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from vsr.page.answers import Refusal, answer, read_json
from vsr.page.board import Board

__all__ = ["Actions"]

LARGEST_ID = 2**63 - 1  # of SQLite's integers


class Actions:
    """The routes under /api/ that steer; each answers {} once the board has done it."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._of_a_job = {"retry": board.retry, "cancel": board.cancel, "pause": board.pause, "resume": board.resume}

    def routes(self) -> list[Route]:
        return [
            Route("/api/state", self.tell),
            Route("/api/pause", self.pause, methods=["POST"]),
            Route("/api/resume", self.resume, methods=["POST"]),
            Route("/api/jobs/{id}/move", self.move, methods=["POST"]),
            Route("/api/jobs/{id}/{action}", self.act, methods=["POST"]),
        ]

    async def tell(self, request: Request) -> Response:
        """The snapshot, for programs that do not want to listen to /events."""
        return answer(await asyncio.to_thread(self._board.snapshot))

    async def pause(self, request: Request) -> Response:
        return await _do(self._board.pause, None)

    async def resume(self, request: Request) -> Response:
        return await _do(self._board.resume, None)

    async def act(self, request: Request) -> Response:
        action = self._of_a_job.get(request.path_params["action"])
        if action is None:
            raise Refusal(404, f"a job can be told to {', '.join(self._of_a_job)} or move, and nothing else")
        return await _do(action, id_of(request))

    async def move(self, request: Request) -> Response:
        """Takes {"before": id or null}."""
        order = await read_json(request)
        before = order.get("before", "")
        if before is not None and not _is_id(before):
            raise Refusal(400, 'move takes {"before": the number of a job, or null for the end}')
        return await _do(self._board.move, id_of(request), before)


def id_of(request: Request) -> int:
    """The job that the path names.

    Raises:
        Refusal: no job can have this number.
    """
    id = request.path_params["id"]
    # Not read as a number before it is known to be short: Python refuses to, from 4301 digits on.
    if not re.fullmatch("[0-9]{1,19}", id) or not _is_id(int(id)):
        raise Refusal(404, "no job has such a number")
    return int(id)


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_ID


async def _do(action: Any, *arguments: int | None) -> Response:
    await asyncio.to_thread(action, *arguments)
    return answer({})
