"""A daemon in a world of its own: time that is told what it is, files in memory, workers that take no time.

Any step that changes a file or the ledger can be made the last one before the power goes.
"""

from __future__ import annotations

import errno
import heapq
import io
import itertools
import json
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from vsr.errors import JobError
from vsr.jobs import daemon as daemon_module
from vsr.jobs.clock import Bell
from vsr.jobs.crew import Began, Event, Failed, Failure, Finished, Order
from vsr.jobs.daemon import Daemon, Terms
from vsr.jobs.file_system import Signature
from vsr.jobs.inbox import Inbox
from vsr.jobs.inspection import Finding, Question, Verdict
from vsr.jobs.ledger import Ledger
from vsr.jobs.log import Log
from vsr.jobs.service import Service

__all__ = ["INBOX", "OUTBOX", "FakeClock", "MemoryFiles", "PowerCut", "World"]

INBOX, OUTBOX = Path("/in"), Path("/out")
START = 1_700_000_000.0
INTERRUPTED = Failure("Interrupted", "the job was told to stop", may_pass=True, is_interrupted=True)


class PowerCut(BaseException):
    """The process is gone. No `except Exception` hears of it."""


class FakeClock:
    """Time that passes only while somebody waits. What was planned with `at` happens meanwhile."""

    def __init__(self) -> None:
        self.time = 0.0
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self.num_waits = 0

    def now(self) -> float:
        return START + self.time

    def monotonic(self) -> float:
        return self.time

    def at(self, time: float, act: Callable[[], None]) -> None:
        """Have something happen at that time, counted from the start."""
        heapq.heappush(self._plans, (time, next(self._count), act))

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        self.at(self.time + seconds, act)

    def wait(self, bell: Bell, seconds: float) -> None:
        self.num_waits += 1
        until = self.time + seconds
        while not bell.wait(0):
            if not self._plans or self._plans[0][0] > until:
                assert until < math.inf, "nothing will ever happen again"
                self.time = until
                return
            time, _, act = heapq.heappop(self._plans)
            self.time = max(self.time, time)
            act()


class MemoryFiles:
    """Files as a dictionary."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.contents: dict[Path, bytes] = {}
        self.times: dict[Path, int] = {}
        self.free = 10**12
        self.is_outbox_away = False
        self.is_full = False
        """No record can be written, nor the ledger."""
        self.closed: set[Path] = set()
        """Folders that may not be written to."""
        self.num_changes = 0
        self.cut_at: int | None = None

    @contextmanager
    def changing(self) -> Iterator[None]:
        """A step that survives the loss of power: made, or not begun."""
        if self.cut_at is not None and self.num_changes > self.cut_at:
            raise PowerCut
        yield
        self.num_changes += 1
        if self.cut_at is not None and self.num_changes > self.cut_at:
            raise PowerCut

    def cut_power(self, steps: int) -> None:
        """After so many more steps and one, no more are made until `restore_power`."""
        self.cut_at = self.num_changes + steps

    def restore_power(self) -> None:
        self.cut_at = None

    def put(self, path: Path, content: bytes = b"film") -> None:
        """Somebody writes a file."""
        self.contents[path] = content
        self.times[path] = int(self.clock.time * 1e9) + 1

    def names(self, folder: Path) -> set[str]:
        """The files below a folder, hidden ones left out."""
        inner = (path.relative_to(folder) for path in self._below(folder))
        return {str(path) for path in inner if not any(part.startswith(".") for part in path.parts)}

    # What FileSystem asks for.

    def walk(self, root: Path, enter: Callable[[Path], bool], on_error: object) -> Iterator[tuple[Path, Signature]]:
        for path in self._below(root):
            folders = path.parents[: len(path.relative_to(root).parts) - 1]
            if all(map(enter, folders)):
                yield path, Signature(len(self.contents[path]), self.times[path])

    def sign(self, path: Path) -> Signature | None:
        return Signature(len(self.contents[path]), self.times[path]) if path in self.contents else None

    def lock(self, path: Path, what: str) -> AbstractContextManager[object]:
        return nullcontext()

    def exists(self, path: Path) -> bool:
        return path in self.contents

    def move(self, source: Path, target: Path) -> None:
        self._check(target)
        if target in self.contents:
            raise FileExistsError(errno.EEXIST, "File exists", str(target))
        with self.changing():
            self.contents[target], self.times[target] = self.contents.pop(source), self.times.pop(source)

    def make_folder(self, path: Path) -> None:
        self._check(path / "file")

    def write(self, path: Path, content: bytes) -> None:
        self._check(path)
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        with self.changing():
            self.put(path, content)

    def read(self, path: Path) -> bytes | None:
        return self.contents.get(path)

    def list_folder(self, path: Path) -> list[Path]:
        return sorted(place for place in self.contents if place.parent == path)

    def remove(self, path: Path) -> None:
        gone = [path] if path in self.contents else self._below(path)
        if gone:
            with self.changing():
                for place in gone:
                    del self.contents[place], self.times[place]

    def remove_empty(self, path: Path) -> None:
        pass

    def free_bytes(self, path: Path) -> int:
        if self.is_outbox_away:
            raise OSError(errno.ESTALE, "Stale file handle", str(path))
        return self.free

    def _below(self, folder: Path) -> list[Path]:
        start = f"{folder}/"
        return [path for path in self.contents if str(path).startswith(start)]

    def _check(self, path: Path) -> None:
        if any(folder in self.closed for folder in path.parents):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))


class FakeWorker:
    """Takes `seconds` for a film, of the world's time; what comes of each is up to `World.outcomes`."""

    def __init__(self, device: str, on_event: Callable[[Event], None], world: World) -> None:
        self.device = device
        self._on_event = on_event
        self._world = world
        self._order: Order | None = None
        self._count = 0

    @property
    def is_idle(self) -> bool:
        return self._order is None

    def begin(self, order: Order) -> None:
        assert self._order is None
        self._order = order
        self._count += 1
        self._on_event(Began(order.job_id, 100, self._world.num_done_before))
        number = self._count
        self._world.clock.after(self._world.seconds_per_film, lambda: self._end(number))

    def pause(self) -> None:
        self._stop("pause")

    def cancel(self) -> None:
        self._stop("cancel")

    def ask_preview(self) -> None:
        self._world.num_previews_asked += 1

    def close(self, timeout: float) -> None:
        self._stop("close")

    def _stop(self, how: str) -> None:
        if self._order is None:
            return
        self._world.stops.append(how)
        if how == "pause" and self._world.is_deaf:
            return
        order, self._order = self._order, None
        self._on_event(Failed(order.job_id, INTERRUPTED))

    def _end(self, number: int) -> None:
        if self._order is None or number != self._count:
            return  # it was stopped meanwhile
        order, self._order = self._order, None
        world = self._world
        name = order.source.name
        outcome = world.outcomes.get(name, [])
        if outcome and (failure := outcome.pop(0)) is not None:
            self._on_event(Failed(order.job_id, failure))
            return
        with world.files.changing():
            world.computed.append(name)
            world.files.put(order.output, b"larger " + world.files.contents.get(order.source, b""))
        self._on_event(Finished(order.job_id, {"output": str(order.output), "damaged": name in world.damaged}))


class FakeInspector:
    """Answers at once: WHOLE, but for the names in `World.incomplete`."""

    def __init__(self, on_finding: Callable[[Finding], None], world: World) -> None:
        self.is_idle = True  # its answers come before anybody can ask again
        self._on_finding = on_finding
        self._world = world
        self._question: Question | None = None

    def ask(self, question: Question) -> None:
        self._world.inspected.append(question.path.name)
        if question.path.name in self._world.endless:
            self._question, self.is_idle = question, False
        elif question.path.name in self._world.incomplete:
            self._on_finding(Finding(question.path, Verdict.UNFINISHED, "its index is not written yet"))
        else:
            self._on_finding(Finding(question.path, Verdict.WHOLE, suffix=".mp4"))

    def give_up(self) -> None:
        self._world.num_given_up += 1
        question, self.is_idle = self._question, True
        assert question is not None
        self._on_finding(Finding(question.path, Verdict.UNREADABLE, "it took too long"))

    def close(self) -> None:
        pass


class CuttableLedger(Ledger):
    """The real one, on the real disk; its changes are steps after which the power may go."""

    files: MemoryFiles


def _make_cuttable(name: str) -> None:
    change = getattr(Ledger, name)

    def cuttable_change(self: CuttableLedger, *arguments: Any, **options: Any) -> Any:
        if self.files.is_full:
            raise JobError("'ledger.sqlite' cannot be used: database or disk is full")
        with self.files.changing():
            return change(self, *arguments, **options)

    setattr(CuttableLedger, name, cuttable_change)


for _name in ("add", "claim", "finish", "fail", "release", "recover", "retry", "cancel", "pause", "resume", "redirect"):
    _make_cuttable(_name)


@dataclass
class World:
    """Everything around a daemon; `start` makes one, and may be called again after it has ended or lost its power."""

    state: Path
    monkeypatch: pytest.MonkeyPatch
    clock: FakeClock = field(default_factory=FakeClock)
    seconds_per_film: float = 20.0
    outcomes: dict[str, list[Failure | None]] = field(default_factory=dict)
    """By name: how the attempts end, one after the other; None, and those after the last, go well."""
    damaged: set[str] = field(default_factory=set)
    incomplete: set[str] = field(default_factory=set)
    endless: set[str] = field(default_factory=set)
    """Files that nobody comes to the end of."""
    is_deaf: bool = False
    """Workers do not come to the end of their group of pictures."""
    computed: list[str] = field(default_factory=list)
    inspected: list[str] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)
    num_previews_asked: int = 0
    num_given_up: int = 0
    num_done_before: int = 0
    lines: io.StringIO = field(default_factory=io.StringIO)

    def __post_init__(self) -> None:
        self.files = MemoryFiles(self.clock)

        class ThisLedger(CuttableLedger):
            files = self.files

        self.monkeypatch.setattr(daemon_module, "Ledger", ThisLedger)

    def make(self, **terms: Any) -> Daemon:
        """A daemon, not entered yet."""
        values = {"state": self.state, "poll": 30.0, "min_free": 0, "settings": {"preset": "film"}} | terms
        return Daemon(
            Inbox(INBOX, OUTBOX), Terms(**values), Log(self.lines, self.clock, as_json=True),
            clock=self.clock, files=self.files, service=Service({}),
            make_worker=lambda device, on_event: FakeWorker(device, on_event, self),
            make_inspector=lambda on_finding: FakeInspector(on_finding, self),
        )  # fmt: skip

    def run(self, seconds: float | None = None, **terms: Any) -> int:
        """A daemon's life: so many seconds of it, or until everything is done. Returns the exit status."""
        with self.make(is_once=seconds is None, **terms) as daemon:
            if seconds is not None:
                self.clock.after(seconds, daemon.stop)
            return daemon.run()

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """What was logged, of these kinds."""
        lines = [json.loads(line) for line in self.lines.getvalue().splitlines()]
        return [line for line in lines if line["event"] in kinds]

    def records(self) -> set[str]:
        """The hand-overs that are written down at the moment."""
        return self.files.names(self.state / "handover")
