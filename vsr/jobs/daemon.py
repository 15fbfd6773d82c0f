"""The watch over a folder, from its start to its end: everything put together, and the loop that keeps it going."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vsr.errors import JobError, OutputError
from vsr.jobs.backlog import Backlog
from vsr.jobs.clock import Bell, Clock, SystemClock
from vsr.jobs.crew import Worker
from vsr.jobs.dispatcher import Dispatcher, MakeWorker
from vsr.jobs.endings import Endings
from vsr.jobs.file_events import FileEvents, is_on_network
from vsr.jobs.file_system import Disk, FileSystem
from vsr.jobs.handover import Handover
from vsr.jobs.inbox import STATE_FOLDER, Inbox
from vsr.jobs.inspector import Inspector
from vsr.jobs.intake import Intake, MakeInspector
from vsr.jobs.job import State
from vsr.jobs.ledger import Ledger
from vsr.jobs.log import Log
from vsr.jobs.monitor import Monitor
from vsr.jobs.service import Service
from vsr.jobs.settling import Settling
from vsr.jobs.station import Station

__all__ = ["Daemon", "Terms"]

# Events get lost; a look at the whole folder now and then finds what they have not told.
SCAN_SECONDS = 60.0
POLL_SECONDS = 10.0
# A group of pictures is some seconds of film, which may be minutes of work: then it is given up at its half. All three
# together stay below 30 seconds.
STOP_SECONDS = 18.0
CANCEL_SECONDS = 4.0
CLOSE_SECONDS = 4.0
TROUBLE_SECONDS = 10.0
MARK = b"`vsr watch` keeps its queue here. Without this file it takes the inbox for a disk that is not mounted.\n"


@dataclass(frozen=True, slots=True)
class Terms:
    """How the daemon works.

    Attributes:
        settings: of every film: what `Settings.from_options` takes, as values of JSON.
        devices: one worker each; "auto" is where the settings say.
        poll: seconds between two looks at the whole inbox, which then are all there is; None: the system tells of new
            files, where it can.
        settle: seconds for which a file must not have changed.
        patience: seconds after which a file that looks incomplete, and does not change, is tried nevertheless.
        min_free: bytes that must be free on the outbox's disk for a film to be begun.
        attempts: how often a film is tried in all.
        is_once: end when everything that lies there is done.
        state: where ledger and lock are kept; None: INBOX/.vsr.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    devices: tuple[str, ...] = ("auto",)
    poll: float | None = None
    settle: float = 5.0
    patience: float = 600.0
    min_free: int = 1 << 30
    attempts: int = 4
    is_once: bool = False
    state: Path | None = None


class Daemon:
    """A context manager: entering it takes the inbox's lock and restores what an earlier process left.

    Args:
        make_worker, make_inspector: `vsr.jobs.crew.Worker`, `vsr.jobs.inspector.Inspector`, or doubles of them.

    Attributes:
        station: what a page shows, see `vsr.page`; there once the daemon is entered.

    Raises:
        LockedError: another daemon has the inbox.
        JobError: the ledger cannot be used.
        OutputError: a folder cannot be made.
    """

    def __init__(
        self,
        inbox: Inbox,
        terms: Terms,
        log: Log,
        *,
        clock: Clock | None = None,
        files: FileSystem | None = None,
        service: Service | None = None,
        make_worker: MakeWorker = Worker,
        make_inspector: MakeInspector = Inspector,
    ) -> None:
        self._inbox, self._terms, self._log = inbox, terms, log
        self._clock, self._files = clock or SystemClock(), files or Disk()
        self._service = service or Service()
        self._make_worker, self._make_inspector = make_worker, make_inspector
        self._bell = Bell()
        self._turn = threading.RLock()
        self._monitor = Monitor(self._clock)
        self._num_stops = 0
        self._is_look_wanted = False
        self._trouble: str | None = None
        self._exits = ExitStack()

    def __enter__(self) -> Daemon:
        with ExitStack() as exits:
            self._open(exits)
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def _open(self, exits: ExitStack) -> None:
        inbox, terms, clock, files = self._inbox, self._terms, self._clock, self._files
        state = terms.state or inbox.root / STATE_FOLDER
        try:
            for folder in (state, inbox.mark.parent, inbox.outbox):
                files.make_folder(folder)
            if not files.exists(inbox.mark):
                files.write(inbox.mark, MARK)
            os.makedirs(state, exist_ok=True)  # the ledger lies on the real disk
            for folder in dict.fromkeys((inbox.mark.parent, state)):  # no inbox has two daemons, no ledger either
                exits.enter_context(files.lock(folder / "lock", repr(str(inbox.root))))
        except OSError as exc:
            raise OutputError(f"{str(exc.filename)!r} cannot be made: {exc.strerror}") from exc
        ledger = exits.enter_context(Ledger(state / "ledger.sqlite", clock.now))
        handover = Handover(state / "handover", inbox, ledger, files, clock)
        backlog = Backlog(ledger, files, clock, handover.drop)
        endings = Endings(inbox, ledger, handover, backlog, self._monitor, files, clock, self._log, terms.attempts)
        endings.restore()
        if num_recovered := backlog.restore():
            self._log.say("recovered", f"{num_recovered} unfinished by an earlier run, which go on", jobs=num_recovered)
        dispatcher = Dispatcher(
            inbox, ledger, backlog, endings, self._monitor, files, clock, self._log,
            min_free=terms.min_free, devices=terms.devices, make_worker=self._make_worker,
            on_changed=lambda path: self._intake.note_file(path), wake=self._bell.ring,
        )  # fmt: skip
        exits.callback(self._close, dispatcher)
        self.station = Station(
            inbox, ledger, handover, backlog, endings, dispatcher, self._monitor, files, clock, self._log,
            min_free=terms.min_free, pause_mark=state / "paused",
            find_trouble=lambda: self._trouble or dispatcher.trouble or endings.trouble or self._intake.trouble,
            turn=self._turn, wake=self._bell.ring,
        )  # fmt: skip
        self._poll = terms.poll or (POLL_SECONDS if is_on_network(inbox.root) else None)
        self._intake = Intake(
            inbox, backlog, self._monitor, files, clock, self._log,
            settings=terms.settings, settling=Settling(terms.settle, terms.patience),
            scan_seconds=self._poll or SCAN_SECONDS, make_inspector=self._make_inspector,
            on_missing=self.station.drop_missing, wake=self._bell.ring,
        )  # fmt: skip
        exits.callback(self._intake.close)
        if self._poll is None:
            self._listen(exits)
        self._ledger, self._backlog, self._endings, self._dispatcher = ledger, backlog, endings, dispatcher

    def _close(self, dispatcher: Dispatcher) -> None:
        try:
            dispatcher.close(CLOSE_SECONDS)
        except (JobError, OSError) as exc:
            message = exc.message if isinstance(exc, JobError) else str(exc)
            self._log.say("trouble", f"{message}: the next start puts that right")

    def _listen(self, exits: ExitStack) -> None:
        try:
            events = FileEvents(self._inbox.root, self._intake.note_file, self._intake.note_folder)
        except OSError as exc:
            self._log.say("no events", f"the system gives no word of new files ({exc.strerror}): looking now and then")
            self._intake.scan_every(POLL_SECONDS)
        else:
            exits.callback(events.close)

    def run(self) -> int:
        """Watch until `stop`, or, where that was asked for, until everything is done.

        Returns the exit status: 0; where everything was to be done and something was not, 1.
        """
        how = f"looking every {self._poll:g} s" if self._poll else "told of new files by the system"
        self._log.say("watching", f"watching {str(self._inbox.root)!r}, outputs to {str(self._inbox.outbox)!r}, {how}")
        self._service.tell_ready()
        while not self._num_stops:
            with self._turn:
                try:
                    seconds = self._step()
                    if self._terms.is_once and (status := self._judge_end()) is not None:
                        return status
                except (JobError, OSError) as exc:
                    seconds = self._meet_trouble(exc)
            self._wait(seconds)
        self._end()
        return 1 if self._terms.is_once else 0

    def stop(self) -> None:
        """End: at the first call after the group of pictures at hand, at the second at once. A signal handler may."""
        self._num_stops += 1
        self._bell.ring()

    def look(self) -> None:
        """Look at the whole inbox now. A signal handler may."""
        self._is_look_wanted = True
        self._bell.ring()

    def _step(self) -> float:
        """Do all that is to be done now; returns the seconds until there may be more.

        Raises:
            JobError, OSError: the ledger or a folder cannot be used at the moment. All is done again then.
        """
        if self._is_look_wanted:
            self._is_look_wanted = False
            self._intake.note_folder()
        if self._trouble is not None:
            self._dispatcher.reclaim()
        dues = [self._dispatcher.run(), self._endings.run()]
        # Last, since what has ended is not in the backlog any more, and its original not in the inbox.
        dues.append(self._intake.run())
        if self._backlog.has_news:
            dues.append(self._dispatcher.run())
        if self._trouble is not None:
            self._trouble = None
            self._log.say("trouble is over", "ledger and folders can be used again")
        return min(dues)

    def _meet_trouble(self, error: JobError | OSError) -> float:
        """A disk may be full, or away: it is said once, and tried again after the seconds that this returns."""
        if self._trouble is None:
            message = error.message if isinstance(error, JobError) else str(error)
            self._log.say("trouble", f"{message}: tried again until that is over")
        self._trouble = "the ledger or a folder cannot be used"
        return TROUBLE_SECONDS

    def _judge_end(self) -> int | None:
        """The exit status, where all is done that can be; else None."""
        if not self._dispatcher.is_idle or not self._intake.is_idle:
            return None
        counts = self._ledger.counts()
        num_left = counts[State.WAITING] + counts[State.WORKING]
        if num_left and not self.station.is_paused:
            return None
        return 1 if num_left or self._endings.num_failed else 0

    def _wait(self, seconds: float) -> None:
        ping = self._service.ping_seconds
        if ping is not None:
            self._service.tell_alive()
        self._clock.wait(self._bell, min(seconds, ping or math.inf))

    def _end(self) -> None:
        """Let the workers come to an end, in less time than service managers give."""
        self._service.tell_stopping()
        self._log.say("stopping", "stopping after the group of pictures at hand; a second signal stops at once")
        began, is_cancelled = self._clock.monotonic(), False
        with self._turn:
            self._dispatcher.hold()
        while not self._dispatcher.is_idle:
            past = self._clock.monotonic() - began
            if past >= STOP_SECONDS + CANCEL_SECONDS:
                break
            if not is_cancelled and (past >= STOP_SECONDS or self._num_stops > 1):
                is_cancelled = True
                self._dispatcher.cancel_all()
            self._wait((STOP_SECONDS + CANCEL_SECONDS if is_cancelled else STOP_SECONDS) - past)
            with self._turn, suppress(JobError, OSError):  # what the ledger does not hear of now, the next start finds
                self._dispatcher.run()
        self._log.say("stopped", "stopped; what is unfinished goes on at the next start")
