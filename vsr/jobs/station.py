"""The daemon as its page sees it: what is going on, and what people ask for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from vsr import __version__
from vsr.errors import JobError
from vsr.jobs.backlog import Backlog
from vsr.jobs.clock import Clock
from vsr.jobs.dispatcher import Dispatcher
from vsr.jobs.endings import Endings
from vsr.jobs.failure import Failure
from vsr.jobs.file_system import FileSystem
from vsr.jobs.handover import Handover, stage
from vsr.jobs.inbox import Inbox, Kind
from vsr.jobs.job import Job, State
from vsr.jobs.ledger import Ledger
from vsr.jobs.log import Log
from vsr.jobs.monitor import Monitor, Work

__all__ = ["Station"]

SHOWN_QUEUE = 300
SHOWN_HISTORY = 100


class Station:
    """Implements `vsr.page.board.Board`. Called by any thread, but for `drop_missing`. Actions raise JobError where the
    job's state does not allow them.

    Args:
        find_trouble: what keeps the daemon from its work, in one sentence; None: nothing.
        turn: held by whoever changes anything: the daemon's thread while it works, and each action.
        pause_mark: a file that is there while everything is paused, so that this outlives the process.
        wake: lets the daemon look at what has changed.
    """

    def __init__(
        self,
        inbox: Inbox,
        ledger: Ledger,
        handover: Handover,
        backlog: Backlog,
        endings: Endings,
        dispatcher: Dispatcher,
        monitor: Monitor,
        files: FileSystem,
        clock: Clock,
        log: Log,
        *,
        min_free: int,
        pause_mark: Path,
        find_trouble: Callable[[], str | None],
        turn: threading.RLock,
        wake: Callable[[], None],
    ) -> None:
        self._inbox, self._ledger, self._handover, self._backlog = inbox, ledger, handover, backlog
        self._endings, self._dispatcher, self._monitor, self._files = endings, dispatcher, monitor, files
        self._log, self._min_free, self._pause_mark = log, min_free, pause_mark
        self._find_trouble, self._turn, self._wake = find_trouble, turn, wake
        self._started = clock.now()
        self.is_paused = files.exists(pause_mark)
        """Everything is."""
        dispatcher.is_holding = self.is_paused

    @property
    def inbox(self) -> Path:
        """The folder that is watched."""
        return self._inbox.root

    def takes(self, name: str) -> bool:
        """Whether a file of this name in the inbox is taken: a film or a picture, and not one in the making."""
        return self._inbox.judge(self._inbox.root / name) is Kind.WORK

    def snapshot(self) -> dict[str, Any]:
        """Queue, work, history and state of the daemon, as JSON knows them."""
        works = self._monitor.works()
        ended = (State.DONE, State.FAILED, State.CANCELLED)
        try:
            free = self._files.free_bytes(self._inbox.outbox)
            trouble = self._find_trouble()
        except OSError as exc:
            free, trouble = 0, f"the folder of the outputs cannot be reached: {exc.strerror}"
        return {
            "queue": [self._describe(job) for job in self._ledger.jobs([State.WAITING, State.PAUSED], SHOWN_QUEUE)],
            "working": [self._describe_work(work) for work in works],
            "history": [self._describe(job) for job in self._ledger.jobs(ended, SHOWN_HISTORY, newest_first=True)],
            "counts": {str(state): count for state, count in self._ledger.counts().items()},
            "disk_free_bytes": free,
            "disk_floor_bytes": self._min_free,
            "paused": self.is_paused,
            "trouble": trouble,
            "version": __version__,
        }

    def metrics(self) -> dict[str, float]:
        """Since this process began: frames computed, films done and given up; and when it began."""
        return {
            "frames_total": float(self._monitor.num_frames),
            "films_done_total": float(self._endings.num_done),
            "films_failed_total": float(self._endings.num_failed),
            "attempts_failed_total": float(self._endings.num_failed_attempts),
            "start_time_seconds": self._started,
        }

    def retry(self, id: int) -> None:
        """A job that has failed or was cancelled waits again, its original back in the inbox; one that waits for its
        next attempt, at once."""
        with self._changing():
            job = self._ledger.get(id)
            if job.state is State.WAITING:
                self._ledger.retry(id)
            elif job.state in (State.FAILED, State.CANCELLED):
                self._handover.take_back(job)
            else:
                hint = "what failed or was cancelled can be retried"
                raise JobError(f"{self._inbox.name(job.source)!r} is {job.state}", hint=hint)
            self._backlog.keep(self._ledger.get(id))

    def cancel(self, id: int) -> None:
        """A job is given up, its original moved to `failed`; one at work is stopped first."""
        with self._changing():
            self._ledger.cancel(id)
            if self._dispatcher.is_at_work(id):
                self._dispatcher.cancel(id)
                return
            job = self._ledger.get(id)
            self._endings.give_up(job, self._files.sign(job.source), Failure("Cancelled", "cancelled"))

    def pause(self, id: int | None) -> None:
        """A job, or everything (None), stops after the group of pictures at hand."""
        with self._changing():
            if id is not None:
                self._ledger.pause(id)
                self._dispatcher.set_aside(id)
                return
            self._files.write(self._pause_mark, b"")
            self.is_paused = True
            self._dispatcher.hold()
            self._log.say("paused", "paused: nothing is begun until somebody resumes it")

    def resume(self, id: int | None) -> None:
        """A paused job, or everything (None), goes on."""
        with self._changing():
            if id is not None:
                self._ledger.resume(id)
                self._backlog.look_again()
                return
            self._files.remove(self._pause_mark)
            self.is_paused = False
            self._dispatcher.is_holding = False
            self._log.say("resumed", "resumed")

    def move(self, id: int, before: int | None) -> None:
        """A waiting job takes the place before another, or the last one (None)."""
        with self._changing():
            self._ledger.move(id, before)

    def preview(self, id: int) -> tuple[float, bytes, bytes] | None:
        """(seconds into the film, before, after) of a film at work, as JPEG files; None before there is one.

        Asks the worker for another one.
        """
        with self._turn:
            self._dispatcher.ask_preview(id)
        return next((work.preview for work in self._monitor.works() if work.job_id == id), None)

    def subscribe(self) -> AbstractContextManager[queue.Queue[str]]:
        """A queue that gets a word whenever a snapshot would be another."""
        return self._monitor.subscribe()

    def drop_missing(self, source: Path, id: int) -> None:
        """An original was taken out of the inbox: its job is cancelled, if nobody is at work on it. Called by the
        daemon."""
        job = self._ledger.get(id)
        if job.state in (State.WAITING, State.PAUSED):
            self._ledger.cancel(id)
            self._backlog.drop(source)
            self._files.remove(stage(job).parent)
            name = self._inbox.name(source)
            self._log.say("cancelled", f"{name} was taken away: its job is cancelled", id=id, file=name)
            self._monitor.announce("job")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            with self._turn:
                yield
        except OSError as exc:
            raise JobError(f"{str(exc.filename)!r} cannot be changed: {exc.strerror}") from exc
        self._monitor.announce("job")
        self._wake()

    def _describe(self, job: Job) -> dict[str, Any]:
        return {
            "id": job.id, "name": self._inbox.name(job.source), "state": str(job.state), "attempts": job.attempts,
            "error": job.error, "hint": job.hint, "added": job.added, "began": job.began, "ended": job.ended,
            "not_before": job.not_before or None, "report": job.report,
        }  # fmt: skip

    def _describe_work(self, work: Work) -> dict[str, Any]:
        return {
            "job": self._describe(self._ledger.get(work.job_id)), "done": work.done, "total": work.total,
            "fps": work.fps, "eta_seconds": work.eta_seconds, "note": work.note, "device": work.device,
        }  # fmt: skip
