"""Jobs to workers, and what is heard of them: begun, advanced, stopped, ended."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vsr.jobs.backlog import Backlog
from vsr.jobs.clock import Clock
from vsr.jobs.endings import Endings
from vsr.jobs.failure import Failure
from vsr.jobs.file_system import FileSystem, Signature
from vsr.jobs.handover import stage
from vsr.jobs.inbox import Inbox
from vsr.jobs.job import Job, State
from vsr.jobs.ledger import Ledger
from vsr.jobs.log import Log
from vsr.jobs.messages import Advanced, Began, Event, Failed, Finished, Order, Previewed
from vsr.jobs.monitor import Monitor
from vsr.jobs.retry import may_pass

__all__ = ["Dispatcher", "MakeWorker", "WorkerLike"]

ROOM_SECONDS = 10.0


class WorkerLike(Protocol):
    """What is needed of `vsr.jobs.crew.Worker` here."""

    device: str

    @property
    def is_idle(self) -> bool: ...

    def begin(self, order: Order) -> None: ...

    def pause(self) -> None: ...

    def cancel(self) -> None: ...

    def ask_preview(self) -> None: ...

    def close(self, timeout: float) -> None: ...


MakeWorker = Callable[[str, Callable[[Event], None]], WorkerLike]


@dataclass(slots=True)
class _Task:
    """A job at work: by whom, and of what original. `is_stopped`: the worker was told to let go of it."""

    job: Job
    worker: WorkerLike
    signature: Signature
    is_stopped: bool = False


class Dispatcher:
    """Used by one thread at a time, but for `hear`.

    Args:
        min_free: bytes; where less is free on the outbox's disk, nothing is begun.
        devices: one worker each.
        on_changed: told of originals that are others than those that were taken.
        wake: called when there is something to do for `run`, by any thread.
    """

    def __init__(
        self,
        inbox: Inbox,
        ledger: Ledger,
        backlog: Backlog,
        endings: Endings,
        monitor: Monitor,
        files: FileSystem,
        clock: Clock,
        log: Log,
        *,
        min_free: int,
        devices: Sequence[str],
        make_worker: MakeWorker,
        on_changed: Callable[[Path], None],
        wake: Callable[[], None],
    ) -> None:
        self._inbox, self._ledger, self._backlog, self._endings = inbox, ledger, backlog, endings
        self._monitor, self._files, self._clock, self._log = monitor, files, clock, log
        self._min_free = min_free
        self._on_changed = on_changed
        self._wake = wake
        self._events: deque[Event] = deque()
        self._workers = [make_worker(device, self.hear) for device in devices]
        self._tasks: dict[int, _Task] = {}
        self._next_look_for_room = -math.inf
        self._has_room = True
        self.is_holding = False
        """Nothing is begun."""

    def hear(self, event: Event) -> None:
        """A worker's event, dealt with at the next `run`. Called by any thread."""
        self._events.append(event)
        self._wake()

    def run(self) -> float:
        """Deal with what was heard, and begin what can be; returns the seconds until there is something to do again."""
        self._deal_with_events()
        for worker in self._workers:
            while not self.is_holding and worker.is_idle and self._look_for_room():
                job = self._backlog.claim()
                if job is None:
                    return self._backlog.seconds_until_due
                self._begin(job, worker)
        return math.inf if self._has_room else max(0.0, self._next_look_for_room - self._clock.monotonic())

    @property
    def is_idle(self) -> bool:
        """Nothing is at work."""
        return not self._tasks

    @property
    def trouble(self) -> str | None:
        """In one sentence what keeps new work from being begun."""
        return None if self._has_room else "too little room is left where the outputs go"

    def is_at_work(self, job_id: int) -> bool:
        """True if a worker has that job."""
        return job_id in self._tasks

    def hold(self) -> None:
        """Begin nothing more; what is at work stops after its group of pictures."""
        self.is_holding = True
        for job_id in self._tasks:
            self.set_aside(job_id)

    def set_aside(self, job_id: int) -> None:
        """A job at work stops after its group of pictures."""
        if (task := self._tasks.get(job_id)) is not None:
            task.is_stopped = True
            task.worker.pause()

    def cancel(self, job_id: int) -> None:
        """A job at work stops now."""
        if (task := self._tasks.get(job_id)) is not None:
            task.is_stopped = True
            task.worker.cancel()

    def cancel_all(self) -> None:
        """Everything at work stops now."""
        for job_id in self._tasks:
            self.cancel(job_id)

    def ask_preview(self, job_id: int) -> None:
        """A picture before and after is to come soon from a job at work."""
        if (task := self._tasks.get(job_id)) is not None:
            task.worker.ask_preview()

    def close(self, timeout: float) -> None:
        """End the workers within `timeout` seconds, whatever they do; what they were at work on waits again."""
        self.is_holding = True
        self.cancel_all()
        for worker in self._workers:
            worker.close(timeout / len(self._workers))
        self._deal_with_events()
        for task in list(self._tasks.values()):  # its worker went without a word
            self._endings.set_aside(task.job)
            self._end(task)

    def reclaim(self) -> None:
        """Let go of jobs that were claimed and not begun, since the ledger failed in between."""
        for job in self._ledger.jobs([State.WORKING]):
            if job.id not in self._tasks and not self._endings.is_ended(job):
                self._ledger.release(job.id)
        self._backlog.look_again()

    def _look_for_room(self) -> bool:
        now = self._clock.monotonic()
        if not self._min_free or (not self._has_room and now < self._next_look_for_room):
            return self._has_room
        self._next_look_for_room = now + ROOM_SECONDS
        free = self._files.free_bytes(self._inbox.outbox)
        had_room, self._has_room = self._has_room, free >= self._min_free
        if self._has_room != had_room:
            few = f"only {free / 1e9:.1f} GB are free where the outputs go: nothing is begun until there is more"
            self._log.say(*(("room", "there is room again") if self._has_room else ("no room", few)), free_bytes=free)
            self._monitor.announce("disk")
        return self._has_room

    def _begin(self, job: Job, worker: WorkerLike) -> None:
        if self._endings.is_ended(job):
            return
        name, staged, signature = self._inbox.name(job.source), stage(job), self._files.sign(job.source)
        if self._files.exists(staged):  # whole: an earlier process died before it could hand it over
            self._endings.succeed(job, signature, None)
            return
        if signature is None:
            self._endings.give_up(job, None, Failure("SourceError", f"{name} is not there any more"))
            return
        if self._backlog.is_changed(job, signature):
            self._let_go(job)
            return
        try:
            self._files.make_folder(staged.parent)
        except OSError as exc:
            words = f"{str(job.output.parent)!r} cannot be written to: {exc.strerror}"
            self._endings.fail(job, signature, Failure("OutputError", words, may_pass=may_pass(exc)))
            return
        self._tasks[job.id] = _Task(job, worker, signature)
        self._monitor.begin(job.id, worker.device)
        again = f", attempt {job.attempts}" if job.attempts > 1 else ""
        self._log.say("begun", f"{name} is being worked on{again}", id=job.id, file=name, attempts=job.attempts)
        self._monitor.announce("job")
        worker.begin(Order(job.id, job.source, staged, dict(job.settings)))

    def _deal_with_events(self) -> None:
        # By number: an event that its own handling brings about is for the next round. Each leaves when it is dealt
        # with: where the ledger cannot be written, that is done again.
        for _ in range(len(self._events)):
            event = self._events[0]
            if (task := self._tasks.get(event.job_id)) is not None:
                self._deal_with(event, task)
            self._events.popleft()

    def _deal_with(self, event: Event, task: _Task) -> None:
        match event:
            case Began() | Advanced():
                note = event.note if isinstance(event, Advanced) else ""
                self._monitor.advance(event.job_id, event.done, event.total, note)
                self._ledger.note_progress(event.job_id, event.done, event.total)
            case Previewed():
                self._monitor.show(event.job_id, (event.time, event.before_jpeg, event.after_jpeg))
            case Finished():
                self._judge_output(task, event)
                self._end(task)
            case Failed():
                self._judge_failure(task, event.failure)
                self._end(task)

    def _end(self, task: _Task) -> None:
        del self._tasks[task.job.id]
        self._monitor.end(task.job.id)

    def _judge_output(self, task: _Task, event: Finished | None) -> None:
        job = task.job
        if self._files.sign(job.source) not in (task.signature, None):
            self._let_go(job)
        else:
            self._endings.succeed(job, task.signature, None if event is None else event.report)

    def _let_go(self, job: Job) -> None:
        self._endings.let_go(job)
        self._on_changed(job.source)

    def _judge_failure(self, task: _Task, failure: Failure) -> None:
        job = task.job
        if self._files.exists(stage(job)):
            self._judge_output(task, None)  # it was whole before the worker died
        elif self._ledger.get(job.id).state is State.CANCELLED:
            self._endings.give_up(job, task.signature, Failure("Cancelled", "cancelled"))
        elif failure.is_interrupted and task.is_stopped:
            self._endings.set_aside(job)
        else:
            self._endings.fail(job, task.signature, failure)
