"""What a worker tells of the job at hand: a run's progress, as events, not too many of them."""

from __future__ import annotations

import time
from collections.abc import Callable

from vsr.jobs.messages import Advanced, Began, Event

__all__ = ["News"]

SECONDS_BETWEEN = 0.2


class News:
    """The `Progress` of one job.

    Args:
        tell: takes the events: one `Began`, at most five `Advanced` a second, and one after the last frame.
        clock: seconds.
    """

    def __init__(self, job_id: int, tell: Callable[[Event], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._job_id, self._tell, self._clock = job_id, tell, clock
        self._has_begun = False
        self._total: int | None = None
        self._done = self._told = 0
        self._note = ""
        self._next = clock()

    def start(self, title: str, total: int | None, unit: str, done: int = 0) -> None:
        """A film begins, of which `done` frames are there already."""
        self._total, self._done, self._told = total, done, done
        if not self._has_begun:
            self._has_begun = True
            self._tell(Began(self._job_id, total, done))

    def tell(self, text: str) -> None:
        """It will be in the report."""

    def advance(self, amount: int, note: str = "") -> None:
        """`amount` more frames are done."""
        self._done += amount
        self._note = note
        if self._total is not None and self._done > self._total:
            self._total = None  # it was an estimate, and too small
        if self._clock() >= self._next:
            self._advance()

    def remark(self, note: str) -> None:
        """Something to be read while no frame is done: how far a download has come."""
        self._note = note
        if self._clock() >= self._next:
            self._advance()

    def finish(self) -> None:
        """The film is over, well or not."""
        if self._done != self._told:
            self._advance()

    def conclude(self, num_frames: int) -> None:
        """The job went well. Pictures have no progress: this is the first that is told of them."""
        if not self._has_begun:
            self.start("", num_frames, "frames")
            self.advance(num_frames)
            self.finish()

    def _advance(self) -> None:
        self._next = self._clock() + SECONDS_BETWEEN
        self._told = self._done
        self._tell(Advanced(self._job_id, self._done, self._total, self._note))
