"""A connection to the page that does not wait for ever for its other end."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["Connection"]

WAIT_SECONDS = 30.0


class Connection(H11Protocol):
    """uvicorn's, cut off where nothing comes of it for `WAIT_SECONDS`, twice that at most.

    Who connects and asks nothing, falls silent amid an upload (a laptop that was closed) or does not read what it
    asked for would hold one of the page's few connections for ever, and the name of the upload.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._num_taken = 0  # bytes
        self._look_again()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Not what trickles in ahead of a request, or after the answer.
        if self.conn.our_state in (h11.SEND_RESPONSE, h11.SEND_BODY):
            self._num_taken += len(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def _look_again(self) -> None:
        self._signs = self._signs_of_life()
        self._timer = self.loop.call_later(WAIT_SECONDS, self._look)

    def _look(self) -> None:
        if self._is_waiting() and self._signs == self._signs_of_life():
            self.transport.abort()  # closing it would wait until everything is read
        else:
            self._look_again()

    def _is_waiting(self) -> bool:
        """Whether it is the other end's turn: to read, or to send more."""
        is_to_send = self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and not self.flow.read_paused
        return is_to_send or self.transport.get_write_buffer_size() > 0

    def _signs_of_life(self) -> tuple[Any, ...]:
        return self.cycle, self._num_taken, self.transport.get_write_buffer_size()
