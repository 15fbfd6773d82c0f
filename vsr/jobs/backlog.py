"""What waits to be done, as the daemon keeps it in mind: the ledger is the truth, this is what it need not be asked."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsr.jobs.clock import Clock
from vsr.jobs.file_system import FileSystem, Signature
from vsr.jobs.inbox import free_name
from vsr.jobs.job import Job, State
from vsr.jobs.ledger import Ledger
from vsr.jobs.owner import name_owner

__all__ = ["Backlog"]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A job by its number; `signature`: of the original when it was taken, None where that was an earlier process."""

    job_id: int
    output: Path
    signature: Signature | None = None


class Backlog:
    """The jobs that have not ended; as large as the queue, however long the history. For the daemon's thread alone.

    Args:
        on_reopened: told of a job that had failed or was cancelled, before it waits again for a new original.
    """

    def __init__(
        self, ledger: Ledger, files: FileSystem, clock: Clock, on_reopened: Callable[[int], None] = lambda job_id: None
    ) -> None:
        self._ledger = ledger
        self._files = files
        self._clock = clock
        self._on_reopened = on_reopened
        self._owner = name_owner()
        self._live: dict[Path, _Entry] = {}  # by original
        self._outputs: set[Path] = set()
        self._due: list[float] = []  # when jobs are to be tried again, seconds since the epoch
        self._may_claim = True

    def restore(self) -> int:
        """Take up the queue that an earlier process left; returns how many jobs that one was at work on.

        To be called once, under the inbox's lock.
        """
        num_recovered = self._ledger.recover(is_alone=True)
        for job in self._ledger.jobs([State.WAITING, State.PAUSED]):
            self.keep(job)
        return num_recovered

    def __len__(self) -> int:
        return len(self._live)

    def holds(self, source: Path) -> bool:
        """True if there is a job of that original."""
        return source in self._live

    def is_changed(self, job: Job, signature: Signature | None) -> bool:
        """True if the original is not the one that was taken."""
        entry = self._live.get(job.source)
        return entry is not None and entry.signature not in (None, signature)

    def add(self, source: Path, output: Path, settings: Mapping[str, Any], signature: Signature) -> Job:
        """Put a film at the end of the queue.

        Its output takes a number where the name is taken, by a file or by another job, or was that of an earlier film
        of the same name. A job of which nothing came is done again under its number.
        """

        def is_taken(place: Path) -> bool:
            if place in self._outputs or self._files.exists(place):
                return True
            known = self._ledger.find(source, place)
            return known is not None and known.state is State.DONE

        output = free_name(output, is_taken)
        if (known := self._ledger.find(source, output)) is not None:
            self._on_reopened(known.id)
        self._ledger.add([Job(source, output, settings)])
        if known is not None:
            self._ledger.retry(known.id)
        job = self._ledger.find(source, output)
        assert job is not None
        self._keep(job, signature)
        return job

    def keep(self, job: Job) -> None:
        """The job waits, from `not_before` on, or is paused."""
        entry = self._live.get(job.source)
        self._keep(job, None if entry is None else entry.signature)

    def _keep(self, job: Job, signature: Signature | None) -> None:
        self._enter(job.source, _Entry(job.id, job.output, signature))
        if job.not_before > self._clock.now():
            heapq.heappush(self._due, job.not_before)
        self._may_claim = True

    def hold(self, source: Path, job_id: int, output: Path) -> None:
        """The job has ended, and its original lies in the inbox still."""
        self._enter(source, _Entry(job_id, output))

    def drop(self, source: Path) -> None:
        """The job of that original has ended."""
        if (entry := self._live.pop(source, None)) is not None:
            self._outputs.discard(entry.output)

    def _enter(self, source: Path, entry: _Entry) -> None:
        self.drop(source)
        self._live[source] = entry
        self._outputs.add(entry.output)

    def items(self) -> list[tuple[Path, int]]:
        """Originals with the numbers of their jobs."""
        return [(source, entry.job_id) for source, entry in self._live.items()]

    def look_again(self) -> None:
        """There may be something to claim."""
        self._may_claim = True

    def claim(self) -> Job | None:
        """The first job that is due, now this process's to work on; None where there is none.

        The ledger is asked only if something has changed since it had none.
        """
        now = self._clock.now()
        while self._due and self._due[0] <= now:
            heapq.heappop(self._due)
            self._may_claim = True
        job = self._ledger.claim(self._owner, now) if self._may_claim else None
        self._may_claim = job is not None
        return job

    @property
    def has_news(self) -> bool:
        """There may be something to claim that was not there at the last `claim`."""
        return self._may_claim

    @property
    def seconds_until_due(self) -> float:
        """Until the next job is to be tried again; infinite where none is."""
        return max(0.0, self._due[0] - self._clock.now()) if self._due else math.inf
