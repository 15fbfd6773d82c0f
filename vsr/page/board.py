"""What the page asks of the daemon that it shows: a snapshot, a few actions, and word of changes.

The page knows nobody of `jobs`; whoever has these methods can be shown. `jobs/station.py` is the daemon's own.
"""

from __future__ import annotations

import queue
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Board"]


class Board(Protocol):
    """The daemon as the page sees it. Every method may be called from any thread, and answers within a second or so.

    Actions raise a `VsrError` where there is no such job or its state does not allow them ("a finished film cannot be
    paused"); the page shows its message and hint. They announce what they changed to the subscribers themselves.
    """

    @property
    def inbox(self) -> Path:
        """The folder that is watched; uploads go there."""

    def takes(self, name: str) -> bool:
        """Whether a file of this name in the inbox is work. Others would lie there for ever, unseen."""

    def snapshot(self) -> dict[str, Any]:
        """Everything that is shown, as JSON knows it (finite numbers, strings, lists, None):

            queue: jobs waiting or paused, in the order in which they will be taken; the first few hundred are enough
            working: [{"job": JOB, "done": frames, "total": frames or None, "fps": frames per second or None,
                "eta_seconds": seconds or None, "note": text, "device": "cuda:0" (may be absent)}]
            history: jobs done, failed or cancelled, the latest first; the last hundred are enough
            counts: {"waiting": n, "working": n, "done": n, "failed": n, "cancelled": n, "paused": n}; these are of all
                jobs, also of those that the lists leave out
            disk_free_bytes: bytes free where the outputs go
            disk_floor_bytes: below it no film is begun and no upload taken (may be absent: 0)
            paused: whether everything is paused
            trouble: what keeps the daemon from its work, as one sentence without paths; `/healthz` says it to everybody
                (may be absent; None: all is well)
            version: of vsr

        JOB: {"id": int, "name": path within the inbox, "state": of vsr.jobs.job.State, "attempts": int, "error": text
        or None, "hint": text or None, "added", "began", "ended", "not_before": seconds since the epoch or None,
        "report": Report as a dict or None}
        """

    def retry(self, id: int) -> None:
        """A failed or cancelled job waits again; one that waits for its next attempt need not wait any longer."""

    def cancel(self, id: int) -> None:
        """A job is given up, also one that is being worked on."""

    def pause(self, id: int | None) -> None:
        """A job, or everything (None), stops after the group of pictures at hand."""

    def resume(self, id: int | None) -> None:
        """A paused job, or everything (None), goes on."""

    def move(self, id: int, before: int | None) -> None:
        """A waiting job takes the place before another, or the last one (None)."""

    def preview(self, id: int) -> tuple[float, bytes, bytes] | None:
        """The latest (time in seconds, before, after) of a film at work; the pictures are JPEG files.

        None: there is none yet. Asking lets the worker make another one soon.
        """

    def subscribe(self) -> AbstractContextManager[queue.Queue[Any]]:
        """A queue that gets something, no matter what, whenever a snapshot would be another."""

    def metrics(self) -> dict[str, float]:
        """Figures beside those that the snapshot has, by name ("frames_total"); names ending in `_total` only grow."""
