"""From the end of a job to every file in its place, whatever happens on the way.

Three things belong together and cannot be done at once: the output gets its name, the ledger says so, the original is
moved away. What is to be done is therefore written down first, in a record of its own that is synced to the disk; each
step may be repeated; and a daemon that starts does what is left before it does anything else. So nothing is computed
twice, and nothing is lost.

Until its record is there a finished output lies in a hidden folder beside its place (OUTBOX/.vsr/JOB/NAME), which is
nobody else's: that it lies there says that it is whole, and that it is gone from there says that it has its name.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from vsr.errors import JobError
from vsr.jobs.clock import Clock
from vsr.jobs.file_system import FileSystem, Signature
from vsr.jobs.inbox import MAX_NAME_BYTES, STATE_FOLDER, Inbox, free_name, make_name
from vsr.jobs.job import Job, State
from vsr.jobs.ledger import Ledger

__all__ = ["Handover", "Record", "stage"]


def stage(job: Job) -> Path:
    """Where the worker writes the output of a job. No other job ever has the same place, of this ledger or another."""
    return job.output.parent / STATE_FOLDER / f"{job.id}-{int((job.added or 0) * 1000):x}" / job.output.name


@dataclass(frozen=True, slots=True)
class Record:
    """What is to be done about a job that has ended.

    Attributes:
        source: the original, as it was named in the inbox.
        signature: size and time of modification of the original that the work was about; None: it was gone.
        staged: where the worker wrote.
        output: the name that the output gets.
        is_made: there is an output.
        report: what the run reported, None where its process died before it could.
        error, hint: why the original goes to `failed`; None: it goes to `done`.
        attempts: how often the job was tried.
        when: seconds since the epoch.
        keeps_work: finished segments are left for another attempt.
        kept_at: where the original goes; None before that is decided.
        is_settled: everything is done, and the record stays so that the original can be found again.
    """

    job_id: int
    source: Path
    signature: Signature | None
    staged: Path
    output: Path
    is_made: bool
    report: dict[str, Any] | None
    error: str | None
    hint: str | None
    attempts: int
    when: float
    keeps_work: bool = False
    kept_at: Path | None = None
    is_settled: bool = False


class Handover:
    """Takes over jobs that have ended. Used by one thread.

    Args:
        folder: where records are kept.
    """

    def __init__(self, folder: Path, inbox: Inbox, ledger: Ledger, files: FileSystem, clock: Clock) -> None:
        self._folder = folder
        self._inbox = inbox
        self._ledger = ledger
        self._files = files
        self._clock = clock
        files.make_folder(folder)
        for path in files.list_folder(folder):
            if path.suffix != ".json":  # a process died while it wrote
                files.remove(path)

    def deliver(self, job: Job, signature: Signature | None, report: dict[str, Any] | None, error: str | None) -> Path:
        """The output is whole: give it its name, note that, move the original away. Returns the output's name.

        Args:
            signature: of the original when the work began.
            error: what is wrong with the original all the same; it then goes to `failed`.

        Raises:
            OSError, JobError: it could not be done yet; `settle` goes on with it.
        """
        return self.settle(self._open(job, signature, True, report, error, None)).output

    def give_up(
        self, job: Job, signature: Signature | None, error: str, hint: str | None, *, keeps_work: bool = False
    ) -> None:
        """Nothing came of the job: note that, and move the original to `failed` with the reason beside it.

        Raises:
            OSError, JobError: as `deliver`.
        """
        self.settle(self._open(job, signature, False, None, error, hint, keeps_work=keeps_work))

    def unsettled(self) -> Iterator[Record]:
        """The records of which something is left to do."""
        return (record for record in self._records() if not record.is_settled)

    def settle(self, record: Record) -> Record:
        """Do what is left to do; as often as one likes.

        Raises:
            OSError: a file could not be moved or written.
            JobError: the ledger could not be written.
        """
        if record.is_made:
            record = self._name_output(record)
            self._ledger.finish(record.job_id, record.report)
        else:
            self._ledger.fail(record.job_id, record.error or "", record.hint, None)
        record = self._move_original(record)
        if not record.keeps_work:
            self._files.remove(record.staged.parent)
            self._files.remove_empty(record.staged.parent.parent)
        if record.is_made:
            self._files.remove(self._path(record.job_id))
            return record
        return self._save(replace(record, is_settled=True))

    def take_back(self, job: Job) -> None:
        """Put the original of a job that had failed or was cancelled back into the inbox, and the job into the queue.

        Raises:
            JobError: the original is gone, or another file has its name in the inbox.
        """
        record = self.find(job.id)
        name = self._inbox.name(job.source)
        if record is None or record.kept_at is None or not self._files.exists(record.kept_at):
            raise JobError(f"the original of {name!r} is not in 'failed' any more", hint="drop it into the inbox again")
        if self._files.exists(job.source):
            raise JobError(f"another file named {name!r} lies in the inbox", hint="move that one away first")
        self._ledger.retry(job.id)
        self._return_original(record)

    def drop(self, job_id: int) -> None:
        """Another original has come for the job; the old one stays where it is, with its reason."""
        self._files.remove(self._path(job_id))

    def finish_returns(self) -> None:
        """Do what a crash left undone of `take_back`, and drop the records of jobs that the ledger has forgotten."""
        for record in self._records():
            job = self._ledger.find(record.source, record.output)
            if job is None:
                self._files.remove(record.staged.parent)
                self._files.remove(self._path(record.job_id))
            elif record.is_settled and job.state not in (State.FAILED, State.CANCELLED):
                self._return_original(record)

    def _open(
        self,
        job: Job,
        signature: Signature | None,
        is_made: bool,
        report: dict[str, Any] | None,
        error: str | None,
        hint: str | None,
        *,
        keeps_work: bool = False,
    ) -> Record:
        return self._save(
            Record(
                job.id, job.source, signature, stage(job), job.output, is_made, report, error, hint, job.attempts,
                self._clock.now(), keeps_work,
            )
        )  # fmt: skip

    def _name_output(self, record: Record) -> Record:
        while self._files.exists(record.staged):
            try:
                self._files.move(record.staged, record.output)
            except FileExistsError:  # somebody else took the name while we worked; nothing of theirs is touched
                record = self._save(replace(record, output=free_name(record.output, partial(self._is_given, record))))
                self._ledger.redirect(record.job_id, record.output)
        return record

    def _is_given(self, record: Record, place: Path) -> bool:
        return self._files.exists(place) or self._ledger.find(record.source, place) is not None

    def _move_original(self, record: Record) -> Record:
        """To `done` or `failed`, under its own name or with a number. A newer file of its name is left alone."""
        if record.kept_at is None:
            folder = self._inbox.done if record.error is None else self._inbox.failed
            place = free_name(self._inbox.kept_at(record.source, folder), self._is_taken)
            record = self._save(replace(record, kept_at=place))
        assert record.kept_at is not None
        self._files.make_folder(record.kept_at.parent)
        if record.error is not None:
            self._files.write(
                _reason_path(record.kept_at), _describe(record, self._inbox).encode(errors="surrogateescape")
            )
        if record.signature is not None and self._files.sign(record.source) == record.signature:
            self._files.move(record.source, record.kept_at)
        return record

    def _is_taken(self, place: Path) -> bool:
        return self._files.exists(place) or self._files.exists(_reason_path(place))

    def _return_original(self, record: Record) -> None:
        assert record.kept_at is not None
        if self._files.exists(record.kept_at) and not self._files.exists(record.source):
            self._files.make_folder(record.source.parent)
            self._files.move(record.kept_at, record.source)
        if not self._files.exists(record.kept_at):
            self._files.remove(_reason_path(record.kept_at))
        self._files.remove(self._path(record.job_id))

    def _path(self, job_id: int) -> Path:
        return self._folder / f"{job_id}.json"

    def _save(self, record: Record) -> Record:
        self._files.write(self._path(record.job_id), json.dumps(asdict(record), default=str).encode("ascii"))
        return record

    def find(self, job_id: int) -> Record | None:
        """The record of a job, None where there is none."""
        content = self._files.read(self._path(job_id))
        return None if content is None else _parse(content)

    def _records(self) -> Iterator[Record]:
        for path in self._files.list_folder(self._folder):
            if (content := self._files.read(path)) is not None:
                yield _parse(content)


def _parse(content: bytes) -> Record:
    values = json.loads(content)
    paths = {key: Path(values[key]) for key in ("source", "staged", "output", "kept_at") if values[key] is not None}
    signature = None if values["signature"] is None else Signature(**values["signature"])
    return Record(**(values | paths | {"signature": signature}))


def _reason_path(place: Path) -> Path:
    name = f"{place.name}.error.txt"
    if len(os.fsencode(name)) > MAX_NAME_BYTES:  # told apart from those of other names that begin so
        name = make_name(place.name, f".{hashlib.sha256(os.fsencode(place.name)).hexdigest()[:8]}.error.txt")
    return place.with_name(name)


def _describe(record: Record, inbox: Inbox) -> str:
    when = datetime.fromtimestamp(record.when, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [f"{inbox.name(record.source)}: {record.error}"]
    lines += [f"hint: {record.hint}"] if record.hint else []
    return "\n".join([*lines, f"when: {when}", f"attempts: {record.attempts}", ""])
