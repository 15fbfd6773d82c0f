"""The time, handed in, so that a test lives through a day in a second; and the bell that ends a wait."""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from typing import Protocol

__all__ = ["Bell", "Clock", "SystemClock"]


class Bell:
    """Rung by anybody, heard by one thread that waits.

    Unlike `threading.Event`, it may be rung by a signal handler that has interrupted the very thread that waits: an
    event's lock would be taken twice.
    """

    def __init__(self) -> None:
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ring(self) -> None:
        """End the wait that is going on, or the next one."""
        self._rings.put(None)

    def wait(self, seconds: float) -> bool:
        """Wait for a ring, for `seconds` at most; one since the last wait counts. True if there was one."""
        try:
            self._rings.get(timeout=min(max(0.0, seconds), threading.TIMEOUT_MAX))
        except queue.Empty:
            return False
        with suppress(queue.Empty):
            while True:  # many rings are one
                self._rings.get_nowait()
        return True


class Clock(Protocol):
    """What a daemon knows of time. `wait` is called by its thread, the others by any."""

    def now(self) -> float:
        """Seconds since the epoch: for what is written down. It may jump."""

    def monotonic(self) -> float:
        """Seconds of a clock that only goes forward: for how long something took."""

    def wait(self, bell: Bell, seconds: float) -> None:
        """Wait until the bell rings, for `seconds` at most."""


class SystemClock:
    """The machine's own."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, bell: Bell, seconds: float) -> None:
        bell.wait(seconds)
