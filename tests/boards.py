"""A daemon that does nothing: a Board in memory, which tests move by hand, and the pictures that it shows."""

from __future__ import annotations

import io
import queue
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from vsr.errors import UsageError

STATES = ("waiting", "working", "done", "failed", "cancelled", "paused")
NOON = 1_780_000_000.0  # seconds since the epoch


class BoardInMemory:
    """Jobs as dicts; `orders` has what was asked of it, in order."""

    def __init__(self, inbox: Path, *, disk_free: int = 200_000_000_000, disk_floor: int = 0) -> None:
        self.inbox = inbox
        self.disk_free, self.disk_floor = disk_free, disk_floor
        self.trouble: str | None = None
        self.orders: list[tuple[Any, ...]] = []
        self.figures = {"frames_total": 1234.0}
        self.now = NOON
        self._is_paused = False
        self._jobs: dict[int, dict[str, Any]] = {}
        self._order: list[int] = []  # of those in the queue
        self._working: dict[int, dict[str, Any]] = {}
        self._pictures: dict[int, tuple[float, bytes, bytes]] = {}
        self._subscribers: list[queue.Queue[Any]] = []
        self._lock = threading.RLock()

    # what tests do

    def add(self, name: str, state: str = "waiting", **facts: Any) -> int:
        """A job more; its number."""
        with self._changing():
            id = len(self._jobs) + 1
            job = {"id": id, "name": name, "state": state, "attempts": 0, "error": None, "hint": None, "report": None}
            times = {"added": self.now, "began": None, "ended": None, "not_before": None}
            self._jobs[id] = job | times | facts
            if state in ("waiting", "paused"):
                self._order.append(id)
        return id

    def begin(self, id: int, total: int | None = 100, device: str = "cpu") -> None:
        with self._changing():
            self._order.remove(id)
            self._jobs[id] |= {"state": "working", "began": self.now, "attempts": self._jobs[id]["attempts"] + 1}
            self._working[id] = {
                "done": 0,
                "total": total,
                "fps": None,
                "eta_seconds": None,
                "note": "",
                "device": device,
            }

    def advance(self, id: int, **facts: Any) -> None:
        with self._changing():
            self._working[id] |= facts

    def show(self, id: int, time: float, before: bytes, after: bytes) -> None:
        self._pictures[id] = (time, before, after)

    def end(self, id: int, state: str = "done", **facts: Any) -> None:
        with self._changing():
            self._working.pop(id, None)
            self._jobs[id] |= {"state": state, "ended": self.now} | facts

    def set_aside(self, id: int) -> None:
        """A film at work that was paused has done its group of pictures."""
        with self._changing():
            del self._working[id]

    def lose(self, id: int) -> None:
        """A job is gone, and nobody has been told."""
        del self._jobs[id]
        self._order.remove(id)

    def change(self, **facts: Any) -> None:
        """Set an attribute, and say so: change(trouble="...")."""
        with self._changing():
            vars(self).update(facts)

    @property
    def names_in_queue(self) -> list[str]:
        return [self._jobs[id]["name"] for id in self._order]

    def state_of(self, id: int) -> str:
        return str(self._jobs[id]["state"])

    @property
    def num_subscribers(self) -> int:
        return len(self._subscribers)

    # what the page does

    def takes(self, name: str) -> bool:
        return not name.startswith("~") and name.lower().endswith((".mp4", ".mkv"))

    def snapshot(self) -> dict[str, Any]:
        with self._lock:
            counts = Counter(job["state"] for job in self._jobs.values())
            ended = [job for job in self._jobs.values() if job["state"] in ("done", "failed", "cancelled")]
            return {
                "queue": [dict(self._jobs[id]) for id in self._order],
                "working": [{"job": dict(self._jobs[id]), **facts} for id, facts in self._working.items()],
                "history": sorted(map(dict, ended), key=lambda job: job["ended"] or 0, reverse=True),
                "counts": {state: counts[state] for state in STATES},
                "disk_free_bytes": self.disk_free,
                "disk_floor_bytes": self.disk_floor,
                "paused": self._is_paused,
                "trouble": self.trouble,
                "version": "0.1.0",
            }

    def retry(self, id: int) -> None:
        with self._ordered("retry", id):
            self._expect(id, "failed", "cancelled", "waiting")
            self._jobs[id] |= {"state": "waiting", "error": None, "hint": None, "not_before": None}
            if id not in self._order:
                self._order.append(id)

    def cancel(self, id: int) -> None:
        with self._ordered("cancel", id):
            self._expect(id, "waiting", "paused", "working")
            self._working.pop(id, None)
            self._order = [other for other in self._order if other != id]
            self._jobs[id] |= {"state": "cancelled", "ended": self.now}

    def pause(self, id: int | None) -> None:
        with self._ordered("pause", id):
            if id is None:
                self._is_paused = True
                return
            self._expect(id, "waiting", "working")
            if id in self._working:  # until `set_aside`
                self._order.insert(0, id)
            self._jobs[id]["state"] = "paused"

    def resume(self, id: int | None) -> None:
        with self._ordered("resume", id):
            if id is None:
                self._is_paused = False
                return
            self._expect(id, "paused")
            self._jobs[id]["state"] = "waiting"

    def move(self, id: int, before: int | None) -> None:
        with self._ordered("move", id, before):
            self._expect(id, "waiting", "paused")
            self._order.remove(id)
            self._order.insert(len(self._order) if before is None else self._order.index(before), id)

    def preview(self, id: int) -> tuple[float, bytes, bytes] | None:
        return self._pictures.get(id)

    @contextmanager
    def subscribe(self) -> Iterator[queue.Queue[Any]]:
        changes: queue.Queue[Any] = queue.Queue()
        self._subscribers.append(changes)
        try:
            yield changes
        finally:
            self._subscribers.remove(changes)

    def metrics(self) -> dict[str, float]:
        return self.figures

    def _expect(self, id: int, *states: str) -> None:
        if id not in self._jobs:
            raise UsageError(f"there is no job {id}")
        if self._jobs[id]["state"] not in states:
            raise UsageError(f"{self._jobs[id]['name']} is {self._jobs[id]['state']}", hint="look at the queue")

    @contextmanager
    def _ordered(self, *order: Any) -> Iterator[None]:
        with self._changing():
            self.orders.append(order)
            yield

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock:
            yield
            for changes in self._subscribers:
                changes.put("change")


def jpeg(picture: Image.Image, quality: int = 85) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def plain_jpeg(width: int, height: int, color: str) -> bytes:
    return jpeg(Image.new("RGB", (width, height), color))
