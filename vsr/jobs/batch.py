"""A batch under way: jobs of a ledger handed to workers until none is left, whatever becomes of each.

The one who runs this is the only writer of this process; workers report through a queue. Other processes may work on
the same batch: the ledger deals the jobs out.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

from vsr.errors import JobError
from vsr.jobs.attendance import Attendance
from vsr.jobs.crew import Advanced, Began, Event, Failed, Failure, Finished, Order
from vsr.jobs.display import Display
from vsr.jobs.job import Job, State
from vsr.jobs.ledger import Ledger
from vsr.jobs.owner import name_owner
from vsr.jobs.retry import FIRST_DELAY, MAX_ATTEMPTS, delay, may_pass

__all__ = ["Batch", "Hand", "Hire"]

# How long the groups of pictures at hand may take, after which work is cut off.
PAUSE_SECONDS = 20.0
LOCKED_DELAY = 2.0
LEDGER_SECONDS = 60.0  # a full disk, on which the ledger is too, may have room again
LOOK_SECONDS = 1.0  # between looks at the ledger, where others work, or a job waits for its time


class Hand(Protocol):
    """Who does one job at a time: `vsr.jobs.crew.Worker`, or whatever else reports its events."""

    def begin(self, order: Order) -> None: ...

    def pause(self) -> None: ...

    def cancel(self) -> None: ...

    def close(self) -> None: ...


T = TypeVar("T")
Hire = Callable[[Callable[[Event], None]], Hand]


class Batch:
    """The films of one batch, and those who make them.

    Args:
        ledger: where its jobs are.
        name: of the batch, in the ledger.
        hires: make the hands that work, each given the function that hears its events.
        overwrite: replace outputs that are not of an earlier run of this ledger. Those that are, always are.
        fresh: do everything again, from the first picture on.
        clock: gives seconds since the epoch.
        draw: gives numbers in [0, 1), for delays.
    """

    def __init__(
        self,
        ledger: Ledger,
        name: str,
        hires: Sequence[Hire],
        *,
        overwrite: bool = False,
        fresh: bool = False,
        clock: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._ledger, self._name, self._hires = ledger, name, hires
        self._overwrite, self._fresh = overwrite, fresh
        self._clock, self._draw = clock, draw
        self._owner = name_owner()
        self._mail: SimpleQueue[tuple[int, Event] | None] = SimpleQueue()
        self._hands: list[Hand] = []
        self._at_work: dict[int, Job] = {}  # by the hand's number
        self._fresh_left: set[int] = set()  # jobs of which everything before is to be thrown away
        self._num_stops = 0
        self.began = clock()

    def enter(self, jobs: Iterable[Job]) -> None:
        """Put the batch's jobs into the ledger, and see what of earlier runs stands.

        What is done stays so if its source, its output and its settings are what they were. All else is to be done.
        """
        with Attendance(self._ledger.path) as attendance:
            self._take_back(attendance)  # before: what is at work keeps the settings that it was begun with
        self._ledger.add(jobs, batch=self._name)
        ended = (State.DONE, State.FAILED, State.CANCELLED)
        again = [
            job.id
            for job in self._ledger.walk(ended, batch=self._name)
            if self._fresh or not self._ledger.is_still_finished(job)
        ]
        self._ledger.reopen(again)
        if self._fresh:
            self._fresh_left = {job.id for job in self._ledger.walk([State.WAITING], batch=self._name)}

    def stop(self) -> None:
        """Come to an end, after the groups of pictures at hand; at the second call, at once. For signal handlers."""
        self._num_stops += 1
        self._mail.put(None)

    def run(self, display: Display) -> bool:
        """Work until nothing is left, by us or by others, or until `stop`; True if it came to the end of the batch."""
        self._display = display
        with ExitStack() as stack:
            attendance = stack.enter_context(Attendance(self._ledger.path))
            self._take_back(attendance)
            for number, hire in enumerate(self._hires):
                hand = hire(partial(self._hear, number))
                stack.callback(hand.close)
                self._hands.append(hand)
            while not self._num_stops:
                self._hand_out()
                if not self._at_work and not self._is_more_to_come(attendance):
                    break
                self._heed_mail(LOOK_SECONDS)
            self._wind_up()
        self._settle()
        return not self._num_stops

    def _hear(self, number: int, event: Event) -> None:
        """What a hand reports; in a thread of the hand's."""
        self._mail.put((number, event))

    # The jobs go out.

    def _hand_out(self) -> None:
        for number, hand in enumerate(self._hands):
            while number not in self._at_work and not self._num_stops:
                job = self._insist(lambda: self._ledger.claim(self._owner, batch=self._name))
                if job is None:
                    return
                self._begin(number, hand, job)

    def _begin(self, number: int, hand: Hand, job: Job) -> None:
        if job.output_appeared:  # by an attempt that died right after it was there
            self._insist(lambda: self._ledger.finish(job.id, None))
            self._display.end(number, self._ledger.get(job.id))
            return
        try:
            job.output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            words = f"the folder {str(job.output.parent)!r} cannot be made: {exc.strerror}"
            self._fail(number, job, Failure("OutputError", words, may_pass=may_pass(exc)))
            return
        settings: dict[str, Any] = dict(job.settings)
        settings["overwrite"] = self._overwrite or job.output_print is not None
        if job.id in self._fresh_left:
            self._fresh_left.discard(job.id)
            settings["fresh"] = True
        self._at_work[number] = job
        self._display.begin(number, job)
        hand.begin(Order(job.id, job.source, job.output, settings))

    def _is_more_to_come(self, attendance: Attendance) -> bool:
        """Whether jobs wait for their time, or are with other processes; those of dead ones are taken back."""
        counts = self._ledger.counts(batch=self._name)
        if counts[State.WORKING]:
            self._take_back(attendance)
        return bool(counts[State.WORKING] or counts[State.WAITING])

    def _take_back(self, attendance: Attendance) -> None:
        with attendance.look_around() as is_alone:
            self._ledger.recover(is_alone=is_alone)

    # The events come in.

    def _heed_mail(self, patience: float) -> None:
        """Heed what has come; if nothing has, wait so many seconds for it."""
        with suppress(Empty):
            while True:
                mail = self._mail.get(timeout=patience)
                patience = 0.0
                if mail is not None:
                    self._heed(*mail)

    def _heed(self, number: int, event: Event) -> None:
        job = self._at_work.get(number)
        if job is None or job.id != event.job_id:
            return  # the hand is through with that one
        match event:
            case Began(total=total, done=done):
                self._display.start(number, done, total)
            case Advanced(done=done, total=total, note=note):
                self._display.advance(number, done, total, note)
                with suppress(JobError):  # the ledger is locked: for those who look on, not for the work
                    self._ledger.note_progress(job.id, done, total)
            case Finished(report=report):
                del self._at_work[number]
                self._insist(lambda: self._ledger.finish(job.id, report))
                self._display.end(number, self._ledger.get(job.id))
            case Failed(failure=failure):
                del self._at_work[number]
                self._fail(number, job, failure)

    def _fail(self, number: int, job: Job, failure: Failure) -> None:
        if failure.is_interrupted:
            self._insist(lambda: self._ledger.release(job.id))
        else:
            is_hopeful = failure.may_pass and job.attempts < MAX_ATTEMPTS
            # A worker of a parent that was killed holds its film's work folder for a second longer.
            first = LOCKED_DELAY if failure.kind == "LockedError" else FIRST_DELAY
            retry_at = self._clock() + delay(job.attempts, first=first, draw=self._draw) if is_hopeful else None
            is_cut_short = failure.kind == "WorkerDied"
            self._insist(
                lambda: self._ledger.fail(job.id, failure.message, failure.hint, retry_at, is_cut_short=is_cut_short)
            )
        self._display.end(number, self._ledger.get(job.id))

    def _insist(self, action: Callable[[], T]) -> T:
        """Do something with the ledger; where it cannot be written now, again for a while."""
        deadline = time.monotonic() + LEDGER_SECONDS
        while True:
            try:
                return action()
            except JobError:
                if self._num_stops or time.monotonic() > deadline:
                    raise
            time.sleep(LOOK_SECONDS)

    def _wind_up(self) -> None:
        """Let those at work finish their groups of pictures, within `PAUSE_SECONDS`, and then no more."""
        if self._at_work:
            self._display.stopping()
        for number in self._at_work:
            self._hands[number].pause()
        deadline = time.monotonic() + PAUSE_SECONDS
        while self._at_work and self._num_stops < 2 and time.monotonic() < deadline:
            self._heed_mail(0.1)
        for number in self._at_work:
            self._hands[number].cancel()
        deadline = time.monotonic() + LOOK_SECONDS * 5
        while self._at_work and time.monotonic() < deadline:
            self._heed_mail(0.1)

    def _settle(self) -> None:
        """Those who did not stop in time were killed when they were let go: their last words count, if they had any."""
        with suppress(Empty):
            while True:
                mail = self._mail.get_nowait()
                if mail is not None and isinstance(mail[1], Finished):
                    self._heed(*mail)
        for job in self._at_work.values():
            self._ledger.release(job.id, is_cut_short=True)
