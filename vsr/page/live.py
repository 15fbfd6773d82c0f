"""The state of the daemon as all open pages have it: read once for all of them, sent in the parts that changed."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from vsr.errors import VsrError
from vsr.page.answers import to_json
from vsr.page.board import Board

__all__ = ["Live"]

READ_SECONDS = 0.25  # as often as a page changes at most
UNSEEN_SECONDS = 2.0  # and as often as nobody looks: only for the curves
QUIET_SECONDS = 5.0  # without any word of a change: disk space changes in silence
RATES_SECONDS = 2.0  # between two points of a curve
NUM_RATES = 60

_logger = logging.getLogger(__name__)
_CLOSED = object()


class Live:
    """Reads the board and tells who waits. All but the listening to the board happens on one event loop.

    A client holds nothing here but the number of the last version that it has seen: one that is slow gets the latest
    state when it comes round, and neither the daemon nor another client waits for it.
    """

    def __init__(self, board: Board, facts: dict[str, Any]) -> None:
        """`facts` are sent beside the snapshot, once."""
        self._board = board
        self._parts: dict[str, tuple[int, str]] = {}
        self._version = 0
        self._changed = asyncio.Condition()
        self._wake = asyncio.Event()
        self._rates = Rates()
        self._set(facts)
        self._reading = asyncio.Lock()
        self._is_looked_at = asyncio.Event()
        self.is_closed = False
        self.num_clients = 0

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Follow the board for as long as the block lasts."""
        loop = asyncio.get_running_loop()
        with self._board.subscribe() as changes:
            listener = threading.Thread(
                target=_listen, args=(changes, loop, self._wake), name="vsr-page-listener", daemon=True
            )
            listener.start()
            reader = asyncio.create_task(self._follow())
            try:
                yield
            finally:
                await self.close()
                changes.put(_CLOSED)
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)
                await asyncio.to_thread(listener.join)

    @contextmanager
    def look(self) -> Iterator[None]:
        """Somebody looks for as long as the block lasts."""
        self.num_clients += 1
        self._is_looked_at.set()
        try:
            yield
        finally:
            self.num_clients -= 1
            if not self.num_clients:
                self._is_looked_at.clear()

    async def close(self) -> None:
        """Let every waiting client go."""
        self.is_closed = True
        async with self._changed:
            self._changed.notify_all()

    async def wait(self, seen: int, seconds: float) -> tuple[int, str | None]:
        """The version that is news to who has seen version `seen` (0: nothing), and what changed since, as one JSON
        object; (seen, None) if there was none within `seconds`, or when closed."""

        def has_news() -> bool:
            return self.is_closed or self._version > seen

        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(has_news)
        except TimeoutError:
            return seen, None
        if self.is_closed:
            return seen, None
        news = (f'"{name}":{text}' for name, (version, text) in self._parts.items() if version > seen)
        return self._version, "{" + ",".join(news) + "}"

    async def _follow(self) -> None:
        while True:
            await self.refresh()
            await asyncio.sleep(READ_SECONDS)
            if not self.num_clients:
                await _wait(self._is_looked_at, UNSEEN_SECONDS)
            await _wait(self._wake, QUIET_SECONDS)
            self._wake.clear()

    async def refresh(self) -> None:
        """Read the board now; who waits is told what is new. A fault of the board becomes part of the state."""
        async with self._reading:
            await self._read()
        async with self._changed:
            self._changed.notify_all()

    async def _read(self) -> None:
        try:
            state = await asyncio.to_thread(self._board.snapshot)
            self._rates.note(state["working"], time.monotonic())
            self._set({"trouble": None, **state, "working": self._rates.beside(state["working"])})
        except VsrError as exc:
            self._set({"trouble": exc.message})
        except Exception:
            _logger.exception("the state of the daemon cannot be shown")
            self._set({"trouble": "The state of the daemon cannot be shown; its log says why."})

    def _set(self, state: dict[str, Any]) -> None:
        texts = {name: to_json(value) for name, value in state.items()}
        news = {name: text for name, text in texts.items() if self._parts.get(name, (0, None))[1] != text}
        if news:
            self._version += 1
            self._parts |= {name: (self._version, text) for name, text in news.items()}


def _listen(changes: queue.Queue[Any], loop: asyncio.AbstractEventLoop, wake: asyncio.Event) -> None:
    while changes.get() is not _CLOSED:
        loop.call_soon_threadsafe(wake.set)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class Rates:
    """The last two minutes of frames/s of each film at work, so that a page opened anew shows its curve at once."""

    def __init__(self) -> None:
        self._rates: dict[int, deque[float]] = {}
        self._next = 0.0

    def note(self, working: list[dict[str, Any]], now: float) -> None:
        """`now`: seconds of any clock that only goes forward."""
        if now < self._next:
            return
        self._next = now + RATES_SECONDS
        old, self._rates = self._rates, {}
        for film in working:
            id = film["job"]["id"]
            self._rates[id] = old.get(id, deque(maxlen=NUM_RATES))
            if film["fps"] is not None:
                self._rates[id].append(round(film["fps"], 2))

    def beside(self, working: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The films, each with its "rates" (frames/s, the latest last)."""
        return [{**film, "rates": list(self._rates.get(film["job"]["id"], ()))} for film in working]
