"""The stream of what changes, as server-sent events: `/events`."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope, Send

from vsr.page.live import Live

__all__ = ["EventStream"]

HEARTBEAT_SECONDS = 15.0

# A comment keeps proxies from closing what is silent; scripts do not see comments, so the event says the same to them.
_HEARTBEAT = ": heartbeat\nevent: beat\ndata:\n\n"


class EventStream:
    """An answer that goes on until the client leaves, or is cut off since it reads nothing, or the page closes.

    Events: `state`, a JSON object with those parts of the snapshot that changed since the one before (the first has
    all); `beat`, without data, after `HEARTBEAT_SECONDS` of silence.
    """

    def __init__(self, live: Live) -> None:
        self._live = live

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        with self._live.look():
            writer = asyncio.create_task(self._write(send))
            leaver = asyncio.create_task(_leave(receive))
            try:
                await asyncio.wait({writer, leaver}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                writer.cancel()
                leaver.cancel()
                await asyncio.gather(writer, leaver, return_exceptions=True)
        if not writer.cancelled() and (failure := writer.exception()):
            raise failure

    async def _write(self, send: Send) -> None:
        async def write(text: str, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": more})

        seen = 0
        await write("retry: 1000\n\n")
        await self._live.refresh()  # what was read while nobody looked may be old
        while not self._live.is_closed:
            seen, news = await self._live.wait(seen, HEARTBEAT_SECONDS)
            if news is not None:
                await write(f"event: state\ndata: {news}\n\n")
            elif not self._live.is_closed:
                await write(_HEARTBEAT)
        await write("", more=False)


async def _leave(receive: Receive) -> None:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
