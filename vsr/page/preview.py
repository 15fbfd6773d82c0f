"""The current frame of a film at work, before and after, in one answer: the two always belong together."""

from __future__ import annotations

import asyncio
import secrets

from starlette.requests import Request
from starlette.responses import Response

from vsr.page.actions import id_of
from vsr.page.board import Board

__all__ = ["Preview"]


class Preview:
    """GET .../preview?since=TIME: multipart/form-data (RFC 7578), which browsers take apart by themselves.

    Parts: `time` (seconds, as text), `before` and `after` (image/jpeg). 204 where there is no frame yet, or none but
    the one of `since`.
    """

    def __init__(self, board: Board) -> None:
        self._board = board

    async def tell(self, request: Request) -> Response:
        pair = await asyncio.to_thread(self._board.preview, id_of(request))
        if pair is None or repr(pair[0]) == request.query_params.get("since"):
            return Response(status_code=204)
        time, before, after = pair
        boundary = secrets.token_hex(16)
        parts = (
            _part(boundary, "time", "text/plain", repr(time).encode()),
            _part(boundary, "before", "image/jpeg", before),
            _part(boundary, "after", "image/jpeg", after),
            f"--{boundary}--\r\n".encode(),
        )
        return Response(b"".join(parts), media_type=f"multipart/form-data; boundary={boundary}")


def _part(boundary: str, name: str, kind: str, value: bytes) -> bytes:
    # A part without a file name is text, and browsers would decode it.
    file = f'; filename="{name}"' if kind != "text/plain" else ""
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\nContent-Type: {kind}\r\n\r\n'
    return head.encode() + value + b"\r\n"
