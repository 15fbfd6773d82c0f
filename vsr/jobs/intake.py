"""From files that lie in the inbox to jobs in the queue: seen, left to settle, looked into, taken."""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from vsr.errors import SettingsError
from vsr.jobs.backlog import Backlog
from vsr.jobs.clock import Clock
from vsr.jobs.file_system import FileSystem, Signature
from vsr.jobs.inbox import Inbox, Kind
from vsr.jobs.inspection import Finding, Question, Verdict
from vsr.jobs.log import Log
from vsr.jobs.monitor import Monitor
from vsr.jobs.settling import Settling
from vsr.settings import Settings

__all__ = ["InspectorLike", "Intake", "MakeInspector"]


# Nobody looks into a file for longer: it is taken, and the worker may say what is wrong with it.
INSPECTION_SECONDS = 600.0


class InspectorLike(Protocol):
    """What is needed of `vsr.jobs.inspector.Inspector` here."""

    @property
    def is_idle(self) -> bool: ...

    def ask(self, question: Question) -> None: ...

    def give_up(self) -> None: ...

    def close(self) -> None: ...


MakeInspector = Callable[[Callable[[Finding], None]], InspectorLike]


class Intake:
    """Used by the daemon's thread alone, but for `note_file` and `note_folder`.

    Args:
        settings: what `Settings.from_options` takes, of every film; a folder's `preset.toml` takes the place of
            "preset".
        scan_seconds: between two looks at the whole inbox.
        on_missing: told of the originals that have vanished from the inbox, with the numbers of their jobs.
        wake: called when there is something to do for `run`, by any thread.
    """

    def __init__(
        self,
        inbox: Inbox,
        backlog: Backlog,
        monitor: Monitor,
        files: FileSystem,
        clock: Clock,
        log: Log,
        *,
        settings: Mapping[str, Any],
        settling: Settling,
        scan_seconds: float,
        make_inspector: MakeInspector,
        on_missing: Callable[[Path, int], None],
        wake: Callable[[], None],
    ) -> None:
        self._inbox, self._backlog, self._monitor, self._files = inbox, backlog, monitor, files
        self._clock, self._log, self._settings, self._settling = clock, log, settings, settling
        self._scan_seconds = scan_seconds
        self._on_missing = on_missing
        self._wake = wake
        self._next_scan = -math.inf
        self._give_up_at = math.inf
        self._is_away = False
        self._noting = threading.Lock()  # guards the next one
        self._noted: set[Path] = set()
        self._findings: deque[Finding] = deque()
        self._ripe: deque[tuple[Path, Signature]] = deque()
        self._asked: dict[Path, Signature] = {}  # what is being looked into, as it was then
        self._strange: set[Path] = set()  # files that were said to be left alone
        self._unread: set[str] = set()  # folders that were said to be closed to us
        self._inspector = make_inspector(self._hear)

    def note_file(self, path: Path) -> None:
        """Something has happened to a file. Called by any thread.

        One that is settling already is not noted: it will be looked at anyway, and a large file being copied sends
        word of itself a thousand times a second.
        """
        if path not in self._settling and self._inbox.judge(path) is not Kind.PASSED_OVER:
            with self._noting:
                is_new = path not in self._noted
                self._noted.add(path)
            if is_new:
                self._wake()

    def note_folder(self) -> None:
        """A folder has come, or somebody asks for it: look at the whole inbox. Called by any thread."""
        self._next_scan = -math.inf
        self._wake()

    def scan_every(self, seconds: float) -> None:
        """Look at the whole inbox that often."""
        self._scan_seconds = seconds

    def run(self) -> float:
        """Take what can be taken; returns the seconds until there is something to do again."""
        now = self._clock.monotonic()
        with self._noting:
            noted, self._noted = self._noted, set()
        for path in noted:
            if (signature := self._files.sign(path)) is not None:
                self._see(path, signature, now)
        while self._findings:  # each leaves when it is dealt with: the ledger may fail
            self._deal_with(self._findings[0], now)
            self._asked.pop(self._findings.popleft().path, None)
        if now >= self._next_scan:
            self._next_scan = now + self._scan_seconds
            self._scan(now)
        self._ripe.extend(self._settling.take_ripe(now, self._files.sign))
        if self._inspector.is_idle:
            self._give_up_at = math.inf
        elif now >= self._give_up_at:
            self._inspector.give_up()
        while self._ripe and self._inspector.is_idle:
            self._ask(*self._ripe[0])
            self._ripe.popleft()
            self._give_up_at = now + INSPECTION_SECONDS
        return max(0.0, min(self._next_scan, self._settling.next_look, self._give_up_at) - now)

    @property
    def trouble(self) -> str | None:
        """In one sentence what keeps films from being taken."""
        return "the inbox is not there" if self._is_away else None

    @property
    def is_idle(self) -> bool:
        """The inbox was looked through, and nothing is left in it but what is not complete."""
        return self._next_scan > -math.inf and self._settling.is_quiet and not self._noted and not self._findings

    def close(self) -> None:
        self._inspector.close()

    def _hear(self, finding: Finding) -> None:
        self._findings.append(finding)
        self._wake()

    def _scan(self, now: float) -> None:
        # An unmounted disk looks like a folder from which everything was taken away.
        was_away, self._is_away = self._is_away, not self._files.exists(self._inbox.mark)
        if self._is_away != was_away:
            words = "is not there: is its disk mounted?" if self._is_away else "is there again"
            self._log.say("away" if self._is_away else "back", f"the inbox {str(self._inbox.root)!r} {words}")
        if self._is_away:
            return
        seen: set[Path] = set()
        for path, signature in self._files.walk(self._inbox.root, self._inbox.is_entered, self._tell_unread):
            seen.add(path)
            self._see(path, signature, now)
        self._settling.keep_only(seen)
        self._strange &= seen
        for source, job_id in self._backlog.items():
            if source not in seen and not self._files.exists(source):
                self._on_missing(source, job_id)

    def _see(self, path: Path, signature: Signature, now: float) -> None:
        match self._inbox.judge(path):
            case Kind.WORK if not self._backlog.holds(path):
                self._settling.note(path, signature, now)
            case Kind.STRANGE if path not in self._strange:
                self._strange.add(path)
                name = self._inbox.name(path)
                self._log.say("left alone", f"{name} is neither film nor picture by its name: left alone", file=name)

    def _tell_unread(self, error: OSError) -> None:
        folder = os.fspath(error.filename)
        if folder not in self._unread:
            self._unread.add(folder)
            self._log.say("unread", f"the folder {folder!r} cannot be read: {error.strerror}", folder=folder)

    def _ask(self, path: Path, signature: Signature) -> None:
        self._asked[path] = signature
        try:
            settings = Settings.from_options(**self._settings_of(path))
        except SettingsError:
            settings = Settings()  # the worker will fail on them, and say why
        self._inspector.ask(Question(path, settings.codec, settings.drop))

    def _deal_with(self, finding: Finding, now: float) -> None:
        path, name, asked = finding.path, self._inbox.name(finding.path), self._asked.get(finding.path)
        if path not in self._settling:  # gone meanwhile
            return
        if asked is None or self._files.sign(path) != asked:  # it goes on growing: its time has begun anew
            self._settling.restart(path, now)
            return
        if finding.verdict is Verdict.UNFINISHED and not self._settling.is_given_up(path, now):
            if self._settling.postpone(path, now):
                self._log.say("incomplete", f"{name} is not complete yet: {finding.reason}", file=name)
            return
        self._settling.drop(path)
        output = self._inbox.output_of(path, finding.suffix)
        job = self._backlog.add(path, output, self._settings_of(path), asked)
        self._log.say("queued", f"{name} waits", id=job.id, file=name, output=str(job.output))
        self._monitor.announce("job")

    def _settings_of(self, path: Path) -> dict[str, Any]:
        preset = self._inbox.find_preset(path, self._files.exists)
        return dict(self._settings) | ({} if preset is None else {"preset": str(preset)})
