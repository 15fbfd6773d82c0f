"""What the daemon tells: one line for each event, for people (and systemd's journal) or as JSON."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from typing import Any, TextIO

from vsr.jobs.clock import Clock
from vsr.progress import printable

__all__ = ["Log"]


class Log:
    """Writes lines to a stream, at once; what cannot be written is lost. Safe to use from any thread.

    Args:
        stream: stderr for people, stdout for JSON.
        as_json: one object a line with "time" (seconds since the epoch), "event", "text" and the event's own facts.
    """

    def __init__(self, stream: TextIO, clock: Clock, *, as_json: bool = False) -> None:
        self._stream = stream
        self._clock = clock
        self._as_json = as_json
        self._writing = threading.Lock()

    def say(self, event: str, text: str, **facts: Any) -> None:
        """Tell of an event: one word for its kind, one sentence without a full stop, and facts for programs."""
        if self._as_json:
            line = json.dumps({"time": round(self._clock.now(), 3), "event": event, "text": text, **facts})
        else:
            line = f"vsr: {printable(text)}"
        # Whoever reads it may be gone, its disk full: the work goes on, and the ledger knows of it.
        with self._writing, suppress(OSError):
            print(line, file=self._stream, flush=True)
