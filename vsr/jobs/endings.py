"""How jobs end: done, tried again later, given up; told, and every file in its place."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vsr.errors import JobError
from vsr.jobs.backlog import Backlog
from vsr.jobs.clock import Clock
from vsr.jobs.failure import Failure
from vsr.jobs.file_system import FileSystem, Signature
from vsr.jobs.handover import Handover, stage
from vsr.jobs.inbox import Inbox
from vsr.jobs.job import Job
from vsr.jobs.ledger import Ledger
from vsr.jobs.log import Log
from vsr.jobs.monitor import Monitor
from vsr.jobs.retry import delay

__all__ = ["Endings"]

# How often files that could not be put in their places are tried again, and how long history is kept.
SETTLE_SECONDS = 60.0
FORGET_SECONDS = 24 * 3600.0
HISTORY_SECONDS = 90 * 24 * 3600.0


# An original, and what is left to do about it.
_Unsettled = tuple[Path, Callable[[], object]]


class Endings:
    """Used by one thread at a time.

    Args:
        attempts: how often a job is tried, in all.

    Attributes:
        num_done, num_failed: films made, and films that were given up or found damaged, since this process began.
        num_failed_attempts: attempts that went wrong, whatever came of the film.
    """

    def __init__(
        self,
        inbox: Inbox,
        ledger: Ledger,
        handover: Handover,
        backlog: Backlog,
        monitor: Monitor,
        files: FileSystem,
        clock: Clock,
        log: Log,
        attempts: int,
    ) -> None:
        self._inbox, self._ledger, self._handover, self._backlog = inbox, ledger, handover, backlog
        self._monitor, self._files, self._clock, self._log, self._attempts = monitor, files, clock, log, attempts
        self._unsettled: dict[int, _Unsettled] = {}  # by job
        self._next_settle = math.inf
        self._next_forget = clock.monotonic() + FORGET_SECONDS
        self.num_done = self.num_failed = self.num_failed_attempts = 0

    def restore(self) -> None:
        """Put the files of an earlier process into their places. To be called once, before the backlog is restored."""
        for record in self._handover.unsettled():
            self._unsettled[record.job_id] = record.source, partial(self._handover.settle, record)
        self._settle()
        self._handover.finish_returns()

    def run(self) -> float:
        """Do what is due; returns the seconds until there is something to do again."""
        now = self._clock.monotonic()
        if now >= self._next_settle:
            self._settle()
        if now >= self._next_forget:
            self._ledger.forget(self._clock.now() - HISTORY_SECONDS)
            self._handover.finish_returns()
            self._next_forget = now + FORGET_SECONDS
        return max(0.0, min(self._next_settle, self._next_forget) - now)

    def succeed(self, job: Job, signature: Signature | None, report: dict[str, Any] | None) -> None:
        """The output is whole, in its hidden place.

        Args:
            signature: of the original when the work began; None: it is gone.
            report: `Report.as_dict`; None where the worker died before it could tell.
        """
        damage = None
        if report is not None:
            report = report | {"output": str(job.output)}
            if report.get("damaged") and not job.settings.get("allow_corrupt"):
                damage = (
                    f"the film is damaged: what could be decoded is in {str(job.output)!r} "
                    "(--allow-corrupt takes such films as done)"
                )
        self.num_done += 1
        self.num_failed += damage is not None

        def deliver() -> None:
            output = self._handover.deliver(job, signature, report, damage)
            text = ", ".join(filter(None, (f"is done: {output}", _describe(report), damage)))
            self._say("done", job, text, output=str(output), report=report, damage=damage)

        self._end(job, deliver)

    def fail(self, job: Job, signature: Signature | None, failure: Failure) -> None:
        """An attempt went wrong: another one is made after a while, the longer the more there were, or none."""
        # People know nothing of the hidden place.
        message = failure.message.replace(str(stage(job)), str(job.output))
        if not failure.may_pass or job.attempts >= self._attempts:
            self.give_up(job, signature, replace(failure, message=message))
            return
        seconds = delay(job.attempts)
        job = replace(job, not_before=self._clock.now() + seconds)
        self._ledger.fail(job.id, message, failure.hint, job.not_before)
        self.num_failed_attempts += 1
        self._backlog.keep(job)
        self._say("postponed", job, f"is tried again in {seconds:.0f} s: {message}", error=message, hint=failure.hint)

    def give_up(self, job: Job, signature: Signature | None, failure: Failure) -> None:
        """Nothing comes of it, and nobody tries again by himself."""
        self.num_failed += 1

        def give_up() -> None:
            self._handover.give_up(job, signature, failure.message, failure.hint, keeps_work=failure.may_pass)
            hint = f" (hint: {failure.hint})" if failure.hint else ""
            text = f"is given up: {failure.message}{hint}"
            self._say("failed", job, text, error=failure.message, hint=failure.hint, kind=failure.kind)

        self._end(job, give_up)

    def is_ended(self, job: Job) -> bool:
        """True if only its files are not in their places yet, though the ledger knows nothing of its end. It is looked
        at again later."""
        if job.id not in self._unsettled:
            return False
        job = replace(job, not_before=self._clock.now() + SETTLE_SECONDS)
        self._ledger.fail(job.id, "its files cannot be moved to their places", None, job.not_before)
        self._backlog.keep(job)
        return True

    def let_go(self, job: Job) -> None:
        """The original is another one by now, or still grows: it is taken again when it has come to rest."""
        self._files.remove(stage(job).parent)
        self._ledger.cancel(job.id)
        self._backlog.drop(job.source)
        self._say("changed", job, "was changed since it was taken: it is taken again when it has come to rest")

    def set_aside(self, job: Job) -> None:
        """It was told to stop, and waits again at its place, unless it was paused."""
        self._ledger.release(job.id)
        self._backlog.look_again()
        self._say("put aside", job, "is put aside, and goes on later")

    @property
    def trouble(self) -> str | None:
        """In one sentence what keeps files from their places."""
        return f"the files of {len(self._unsettled)} films cannot be moved to their places" if self._unsettled else None

    def _end(self, job: Job, hand_over: Callable[[], None]) -> None:
        try:
            hand_over()
        except (OSError, JobError) as exc:
            self._postpone(job.id, job.source, hand_over, exc)
        else:
            self._backlog.drop(job.source)

    def _settle(self) -> None:
        self._next_settle = math.inf
        for job_id, (source, act) in list(self._unsettled.items()):
            try:
                act()
            except (OSError, JobError) as exc:
                self._postpone(job_id, source, act, exc)
            else:
                del self._unsettled[job_id]
                self._backlog.drop(source)
                name = self._inbox.name(source)
                self._log.say("settled", f"the files of {name} are in their places", id=job_id, file=name)
                self._monitor.announce("job")

    def _postpone(self, job_id: int, source: Path, act: Callable[[], object], error: Exception) -> None:
        """Try again later: from the record, where there is one by now, since some steps may be done."""
        self._next_settle = self._clock.monotonic() + SETTLE_SECONDS
        if job_id not in self._unsettled:
            name = self._inbox.name(source)
            text = f"the files of {name} cannot be put in their places yet: {error}"
            self._log.say("unsettled", text, id=job_id, file=name)
        record = self._handover.find(job_id)
        if record is not None:
            act = partial(self._handover.settle, record)
            self._backlog.hold(source, job_id, record.output)
        self._unsettled[job_id] = source, act

    def _say(self, event: str, job: Job, text: str, **facts: Any) -> None:
        name = self._inbox.name(job.source)
        self._log.say(event, f"{name} {text}", id=job.id, file=name, attempts=job.attempts, **facts)
        self._monitor.announce("job")


def _describe(report: dict[str, Any] | None) -> str | None:
    """What was done, for people; None where nobody knows."""
    if report is None or report.get("kind") != "film":
        return None
    return f"{report['frames_out']} frames in {report['seconds']:.0f} s"
