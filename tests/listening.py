"""Waiting for what a worker tells from its own thread."""

from __future__ import annotations

import queue
from typing import TypeVar

from vsr.jobs.crew import Event, Failed, Finished

__all__ = ["Ear"]

E = TypeVar("E")
PATIENCE_SECONDS = 60.0


class Ear:
    """Keeps every event, and lets a test wait for one."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._queue: queue.Queue[Event] = queue.Queue()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._queue.put(event)

    def forget(self) -> None:
        """Be as new."""
        self.events, self._queue = [], queue.Queue()

    def wait_for(self, *kinds: type[E]) -> E:
        """The next event of these kinds; those before it are passed over, but not the end of a job."""
        while True:
            event = self._queue.get(timeout=PATIENCE_SECONDS)
            if isinstance(event, kinds):
                return event
            assert not isinstance(event, Finished | Failed), event
