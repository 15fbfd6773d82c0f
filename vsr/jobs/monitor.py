"""What is going on at this moment: the films at work, how fast, for how long still; and who wants to hear of it."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from vsr.jobs.clock import Clock

__all__ = ["Monitor", "Work"]

# The rate is that of the last so many seconds: films have easy and heavy parts.
RATE_SECONDS = 30.0
MIN_RATE_SECONDS = 0.5
WAITING_CHANGES = 8


@dataclass(slots=True)
class Work:
    """One film at work.

    Attributes:
        done, total: frames; `total` is None where nobody knows.
        marks: (seconds of the monotonic clock, frames done), the oldest first.
        preview: (seconds into the film, before, after), the pictures as JPEG files.
    """

    job_id: int
    device: str
    done: int = 0
    total: int | None = None
    note: str = ""
    marks: deque[tuple[float, int]] = field(default_factory=deque)
    preview: tuple[float, bytes, bytes] | None = None

    @property
    def fps(self) -> float | None:
        """Frames per second of late; None before there is one."""
        if len(self.marks) < 2:
            return None
        (began, first), (ended, last) = self.marks[0], self.marks[-1]
        return (last - first) / (ended - began) if ended - began >= MIN_RATE_SECONDS and last > first else None

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until the film is done, at the present rate."""
        fps = self.fps
        return None if fps is None or self.total is None else max(0.0, (self.total - self.done) / fps)


class Monitor:
    """Written to by the daemon's thread, read by any."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._change = threading.Lock()  # guards what follows
        self._works: dict[int, Work] = {}
        self._num_frames = 0
        self._ears: list[queue.Queue[str]] = []

    def begin(self, job_id: int, device: str) -> None:
        """A job was given to a worker."""
        with self._change:
            self._works[job_id] = Work(job_id, device)

    def advance(self, job_id: int, done: int, total: int | None, note: str = "") -> None:
        """So many frames are done; the first word of a job tells what earlier runs had done."""
        with self._change:
            work = self._works.get(job_id)
            if work is None:
                return
            now = self._clock.monotonic()
            self._num_frames += max(0, done - work.done) if work.marks else 0
            work.done, work.total, work.note = done, total, note
            work.marks.append((now, done))
            while work.marks[0][0] < now - RATE_SECONDS and len(work.marks) > 2:
                work.marks.popleft()
        self.announce("progress")

    def show(self, job_id: int, preview: tuple[float, bytes, bytes]) -> None:
        """A picture of the film at work, before and after."""
        with self._change:
            if (work := self._works.get(job_id)) is not None:
                work.preview = preview
        self.announce("preview")

    def end(self, job_id: int) -> None:
        """The worker has let go of the job."""
        with self._change:
            self._works.pop(job_id, None)

    def works(self) -> list[Work]:
        """The films at work, the one begun first in front; copies."""
        with self._change:
            return [
                Work(work.job_id, work.device, work.done, work.total, work.note, work.marks.copy(), work.preview)
                for work in self._works.values()
            ]

    @property
    def num_frames(self) -> int:
        """Frames computed since this process began."""
        with self._change:
            return self._num_frames

    def announce(self, change: str) -> None:
        """Something is other than before: "job", "progress", "preview" or "disk".

        Who does not listen misses it: a change says that a fresh look is due, and nothing that is not seen then.
        """
        with self._change:
            for ear in self._ears:
                with suppress(queue.Full):
                    ear.put_nowait(change)

    @contextmanager
    def subscribe(self) -> Iterator[queue.Queue[str]]:
        """A queue of the changes from now on; of those that nobody fetches only the first few are kept."""
        ear: queue.Queue[str] = queue.Queue(WAITING_CHANGES)
        with self._change:
            self._ears.append(ear)
        try:
            yield ear
        finally:
            with self._change:
                self._ears.remove(ear)
