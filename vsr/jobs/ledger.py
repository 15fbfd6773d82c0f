"""The ledger of jobs: what is to be done, by whom, and how it went. The one place of truth, shared by processes."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vsr.errors import JobError
from vsr.jobs.database import PATIENCE, Database
from vsr.jobs.fingerprint import identify, matches, take_fingerprint
from vsr.jobs.job import Job, State
from vsr.jobs.owner import is_alive
from vsr.jobs.record import SCHEMA, VERSION, read_job, write_json, write_path, write_text

__all__ = ["Ledger"]

PAGE = 500
PROGRESS_PATIENCE = 0.1
_ABSENT = "absent"
# One look into the index for each state; over all of them at once SQLite would read every row.
_LAST_RANKS = ", ".join(
    f"COALESCE((SELECT MAX(rank) FROM jobs WHERE state = '{state}'), 0)"
    for state in (State.WAITING, State.WORKING, State.PAUSED)
)
_END_OF_QUEUE = f"(1 + MAX({_LAST_RANKS}))"
_AFRESH = (
    "attempts = 0, not_before = 0, error = NULL, hint = NULL, "
    f"rank = CASE state WHEN 'waiting' THEN rank ELSE {_END_OF_QUEUE} END, state = 'waiting'"
)
_IS_RENEWED = "settings != excluded.settings AND state IN ('done', 'failed', 'cancelled')"
_IF_KNOWN = f"""ON CONFLICT (source, output) DO UPDATE SET
    is_listed = 1,
    batch = excluded.batch,
    settings = CASE state WHEN 'working' THEN settings ELSE excluded.settings END,
    is_cut_short = CASE WHEN settings != excluded.settings AND state != 'working' THEN 0 ELSE is_cut_short END,
    rank = CASE WHEN {_IS_RENEWED} THEN excluded.rank ELSE rank END,
    attempts = CASE WHEN {_IS_RENEWED} THEN 0 ELSE attempts END,
    not_before = CASE WHEN {_IS_RENEWED} THEN 0 ELSE not_before END,
    state = CASE WHEN {_IS_RENEWED} THEN 'waiting' ELSE state END
"""
_IN_BATCH = "(:batch IS NULL OR (batch = :batch AND is_listed))"
# The job is still being worked on, and, where it was claimed through this ledger, by that owner.
_STILL_OURS = "id = :id AND state = 'working' AND owner IS COALESCE(:owner, owner)"


class Ledger:
    """Jobs in a SQLite file. Threads and processes share it; no job is ever claimed by two of them.

    Args:
        path: the file, made if it is not there; its folder must be.
        clock: gives seconds since the epoch.
        patience: seconds to wait for other processes that write.

    Raises:
        JobError: the file cannot be used or stays locked; a job is not there, or not in a state for what is asked. So
            do all methods.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time, *, patience: float = PATIENCE) -> None:
        self.path = path
        self._clock = clock
        self._database = Database(path, SCHEMA, VERSION, patience=patience)
        self._claims: dict[int, str] = {}  # what was claimed through this object, by whom
        self._told: dict[int, float] = {}  # when its progress was noted last

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    # What there is to do.

    def add(self, jobs: Iterable[Job], *, batch: str = "") -> None:
        """Put jobs at the end of the queue, all or none; of each, source, output and settings count.

        One whose source and output are known is kept as it is. If its settings are new, it takes them, and is to be
        done again where it was done, had failed or was cancelled; one being worked on keeps those it was claimed with.

        Args:
            batch: where it has a name, `jobs` are all that this batch has: others belong to it no longer, and are
                forgotten if they are neither done nor being worked on.
        """
        with self._database.write() as connection:
            if batch:
                connection.execute("UPDATE jobs SET is_listed = 0 WHERE batch = ?", (batch,))
            (first,) = connection.execute(f"SELECT {_END_OF_QUEUE}").fetchone()
            connection.executemany(
                "INSERT INTO jobs (source, output, settings, batch, rank, added) VALUES (?, ?, ?, ?, ?, ?) "
                f"{_IF_KNOWN}",
                ((*_write_wish(job), batch, rank, self._clock()) for rank, job in enumerate(jobs, int(first))),
            )
            if batch:
                connection.execute(
                    "DELETE FROM jobs WHERE batch = ? AND is_listed = 0 AND state NOT IN ('done', 'working')", (batch,)
                )

    def claim(self, owner: str, now: float | None = None, *, batch: str | None = None) -> Job | None:
        """The first waiting job that is due, now `owner`'s to work on; None where there is none.

        Args:
            owner: who works on it, see `vsr.jobs.owner.name_owner`.
            now: seconds since the epoch; None: the clock's.
            batch: only jobs of that batch.
        """
        now = self._clock() if now is None else now
        due = f"state = 'waiting' AND not_before <= :now AND {_IN_BATCH}"
        while rows := self._database.read(
            f"SELECT * FROM jobs WHERE {due} ORDER BY rank, id LIMIT 1", {"now": now, "batch": batch}
        ):
            files = _look_at_files(rows[0])  # before the transaction: disks may be slow, and others wait for it
            with self._database.write() as connection:
                is_ours = connection.execute(
                    "UPDATE jobs SET state = 'working', owner = :owner, attempts = attempts + 1, began = :now, "
                    "ended = NULL, error = NULL, hint = NULL, report = NULL, frames_done = NULL, frames_total = NULL, "
                    "is_cut_short = :is_cut_short, output_before = :output_before, source_print = :source_print "
                    f"WHERE id = :id AND {due}",
                    {"id": rows[0]["id"], "owner": owner, "now": now, "batch": batch, **files},
                ).rowcount
            if is_ours:
                self._claims[rows[0]["id"]] = owner
                return self.get(rows[0]["id"])
        return None

    # How it went.

    def finish(self, id: int, report: dict[str, Any] | None) -> None:
        """The output is there, whole and verified: the job is done, whatever was asked of it meanwhile."""
        output_print = take_fingerprint(self.get(id).output)
        with self._ending(id) as (connection, owner):
            connection.execute(
                "UPDATE jobs SET state = 'done', owner = NULL, ended = :now, report = :report, error = NULL, "
                "hint = NULL, output_print = :print, is_cut_short = 0 "
                "WHERE id = :id AND (state != 'working' OR owner IS COALESCE(:owner, owner))",
                {
                    "id": id, "owner": owner, "now": self._clock(), "print": output_print,
                    "report": None if report is None else write_json(report),
                },
            )  # fmt: skip

    def fail(
        self, id: int, error: str, hint: str | None, retry_at: float | None, *, is_cut_short: bool = False
    ) -> None:
        """An attempt went wrong. Nothing changes where the job was cancelled or paused meanwhile.

        Args:
            retry_at: it goes to the end of the queue, to be tried again from then on (seconds since the epoch); None:
                failed for good.
            is_cut_short: the process that did the work died without a word; its output may be there all the same.
        """
        with self._ending(id) as (connection, owner):
            connection.execute(
                f"UPDATE jobs SET state = :state, owner = NULL, ended = :now, error = :error, hint = :hint, "
                f"not_before = :retry_at, rank = CASE :state WHEN 'waiting' THEN {_END_OF_QUEUE} ELSE rank END, "
                f"is_cut_short = :is_cut_short WHERE {_STILL_OURS}",
                {
                    "id": id, "owner": owner, "now": self._clock(), "error": write_text(error),
                    "hint": write_text(hint), "retry_at": retry_at or 0.0, "is_cut_short": is_cut_short,
                    "state": str(State.FAILED if retry_at is None else State.WAITING),
                },
            )  # fmt: skip

    def release(self, id: int, *, is_cut_short: bool = False) -> None:
        """The attempt was interrupted: the job is waiting again, at its place, and the attempt does not count.

        Nothing changes where the job was cancelled or paused meanwhile.

        Args:
            is_cut_short: as of `fail`.
        """
        with self._ending(id) as (connection, owner):
            connection.execute(
                "UPDATE jobs SET state = 'waiting', owner = NULL, attempts = MAX(0, attempts - 1), not_before = 0, "
                f"is_cut_short = :is_cut_short WHERE {_STILL_OURS}",
                {"id": id, "owner": owner, "is_cut_short": is_cut_short},
            )

    def recover(self, *, is_alone: bool = False) -> int:
        """Take jobs back from owners that have died; returns how many. Their attempts do not count.

        Args:
            is_alone: nobody else can be working on this ledger (the caller holds a lock that says so): all are taken
                back, also from owners of whom nobody here can tell, such as a container that is gone.
        """
        num_recovered = 0
        with self._database.write() as connection:
            for (owner,) in connection.execute("SELECT DISTINCT owner FROM jobs WHERE state = 'working'").fetchall():
                if is_alone or not is_alive(owner):
                    num_recovered += connection.execute(
                        "UPDATE jobs SET state = 'waiting', owner = NULL, attempts = MAX(0, attempts - 1), "
                        "not_before = 0, is_cut_short = 1 WHERE state = 'working' AND owner = ?",
                        (owner,),
                    ).rowcount
        return num_recovered

    def note_progress(self, id: int, done: int, total: int | None) -> None:
        """So many frames are done. At most once a second it is written, not synced to the disk, nor long waited for."""
        now = self._clock()
        if 0 <= now - self._told.get(id, float("-inf")) < 1:
            return
        self._told[id] = now
        with self._database.write(durable=False, patience=PROGRESS_PATIENCE) as connection:
            connection.execute(
                "UPDATE jobs SET frames_done = ?, frames_total = ? WHERE id = ? AND state = 'working'",
                (done, total, id),
            )

    @contextmanager
    def _ending(self, id: int) -> Iterator[tuple[sqlite3.Connection, str | None]]:
        """A transaction in which the work on a job ends; who claimed it through this ledger, if anybody."""
        with self._database.write() as connection:
            yield connection, self._claims.get(id)
        self._claims.pop(id, None)
        self._told.pop(id, None)

    # What there is.

    def jobs(
        self,
        states: Iterable[State] | None = None,
        limit: int | None = None,
        offset: int = 0,
        *,
        batch: str | None = None,
        newest_first: bool = False,
    ) -> list[Job]:
        """Jobs in the order of the queue, or the last ended first.

        Args:
            states: only jobs in one of these.
            limit, offset: at most that many, after so many.
            batch: only jobs of that batch.
        """
        wanted = ", ".join(f"'{State(state)}'" for state in (State if states is None else states))
        rows = self._database.read(
            f"SELECT * FROM jobs WHERE state IN ({wanted}) AND {_IN_BATCH} "
            f"ORDER BY {'ended DESC, id DESC' if newest_first else 'rank, id'} LIMIT :limit OFFSET :offset",
            {"batch": batch, "limit": -1 if limit is None else limit, "offset": offset},
        )
        return [read_job(row) for row in rows]

    def walk(self, states: Iterable[State] | None = None, *, batch: str | None = None) -> Iterator[Job]:
        """As `jobs`, read page by page: for as many as there are. Those that change state meanwhile may be missed."""
        wanted, offset = tuple(State if states is None else states), 0
        while page := self.jobs(wanted, PAGE, offset, batch=batch):
            yield from page
            offset += len(page)

    def get(self, id: int) -> Job:
        """The job of that number."""
        rows = self._database.read("SELECT * FROM jobs WHERE id = :id", {"id": id})
        if not rows:
            raise JobError(f"there is no job {id} in {str(self.path)!r}")
        return read_job(rows[0])

    def find(self, source: Path, output: Path) -> Job | None:
        """The job with these files, if there is one."""
        rows = self._database.read(
            "SELECT * FROM jobs WHERE source = :source AND output = :output",
            {"source": write_path(source), "output": write_path(output)},
        )
        return read_job(rows[0]) if rows else None

    def outputs(self) -> set[Path]:
        """Every file that a job of this ledger makes, or has made."""
        return {Path(os.fsdecode(output)) for (output,) in self._database.read("SELECT output FROM jobs")}

    def counts(self, *, batch: str | None = None) -> dict[State, int]:
        """How many jobs are in each state; every state is there."""
        rows = self._database.read(
            f"SELECT state, COUNT(*) FROM jobs WHERE {_IN_BATCH} GROUP BY state", {"batch": batch}
        )
        return dict.fromkeys(State, 0) | {State(state): count for state, count in rows}

    def is_still_finished(self, job: Job) -> bool:
        """True if the job is done, and both its source and its output are what they were then; see `matches`.

        A file whose times are new and whose content is not is noted with its new times: quick to tell the next time.
        """
        if job.state is not State.DONE:
            return False
        renewed = (matches(job.source, job.source_print), matches(job.output, job.output_print))
        if None in renewed:
            return False
        if renewed != (job.source_print, job.output_print):
            with self._database.write(durable=False) as connection:
                connection.execute(
                    "UPDATE jobs SET source_print = ?, output_print = ? WHERE id = ? AND state = 'done'",
                    (*renewed, job.id),
                )
        return True

    # What people ask for.

    def retry(self, id: int) -> None:
        """Do a job again that is done, failed or cancelled, at the end of the queue; one that waits, without delay."""
        self._change(id, "tried again", "done, failed, cancelled, waiting", _AFRESH)

    def reopen(self, ids: Iterable[int]) -> None:
        """`retry` for many at once. Those that are neither done, failed nor cancelled are left as they are."""
        with self._database.write() as connection:
            connection.executemany(
                f"UPDATE jobs SET {_AFRESH} WHERE id = ? AND state IN ('done', 'failed', 'cancelled')",
                ((id,) for id in ids),
            )

    def cancel(self, id: int) -> None:
        """Do a job no more. Who works on it is to look at the state, and to stop by himself."""
        self._change(
            id, "cancelled", "waiting, working, paused, failed", "state = 'cancelled', owner = NULL, ended = :now"
        )

    def pause(self, id: int) -> None:
        """Leave a job alone until `resume`. Who works on it is to look at the state, and to stop by himself."""
        self._change(id, "paused", "waiting, working", "state = 'paused', owner = NULL")

    def resume(self, id: int) -> None:
        """A paused job is waiting again, at its place."""
        self._change(id, "resumed", "paused", "state = 'waiting', not_before = 0")

    def _change(self, id: int, what: str, states: str, assignments: str) -> None:
        """Change a job that is in one of `states` (names with commas)."""
        with self._database.write() as connection:
            row = connection.execute("SELECT state FROM jobs WHERE id = ?", (id,)).fetchone()
            if row is None:
                raise JobError(f"there is no job {id} in {str(self.path)!r}")
            if row["state"] not in states.split(", "):
                raise JobError(f"job {id} is {row['state']} and cannot be {what}", hint=f"only what is {states} can be")
            connection.execute(f"UPDATE jobs SET {assignments} WHERE id = :id", {"id": id, "now": self._clock()})

    def move(self, id: int, before_id: int | None) -> None:
        """Put a job that waits or is paused before another such; None: at the end of the queue."""
        with self._database.write() as connection:
            rows = connection.execute(
                "SELECT id, rank FROM jobs WHERE state IN ('waiting', 'paused') ORDER BY rank, id"
            ).fetchall()
            queue = [row["id"] for row in rows]
            for asked in (id, before_id):
                if asked is not None and asked not in queue:
                    raise JobError(f"job {asked} is not in the queue", hint="only what waits or is paused can be moved")
            if id == before_id:
                return
            queue.remove(id)
            queue.insert(len(queue) if before_id is None else queue.index(before_id), id)
            ranks = [row["rank"] for row in rows]
            connection.executemany("UPDATE jobs SET rank = ? WHERE id = ?", zip(ranks, queue, strict=True))

    def redirect(self, id: int, output: Path) -> None:
        """The output of a job gets another name than was meant."""
        with self._database.write() as connection:
            connection.execute("UPDATE jobs SET output = ? WHERE id = ?", (write_path(output), id))

    def forget(self, before: float) -> int:
        """Remove what ended (done, failed, cancelled) before then, in seconds since the epoch; returns how many."""
        with self._database.write() as connection:
            return connection.execute(
                "DELETE FROM jobs WHERE state IN ('done', 'failed', 'cancelled') AND COALESCE(ended, added) < ?",
                (before,),
            ).rowcount


def _write_wish(job: Job) -> tuple[bytes, bytes, str]:
    return write_path(job.source), write_path(job.output), write_json(job.settings)


def _look_at_files(row: sqlite3.Row) -> dict[str, object]:
    """What is to be noted of a job's files before it is worked on.

    An output that is not the one from before an attempt that died is that attempt's: it is left for whole, and the
    source then was as noted.
    """
    job = read_job(row)
    before = identify(job.output)
    if row["is_cut_short"] and before is not None and row["output_before"] not in (None, before):
        return {name: row[name] for name in ("is_cut_short", "output_before", "source_print")}
    return {
        "is_cut_short": False, "output_before": before or _ABSENT, "source_print": take_fingerprint(job.source)
    }  # fmt: skip
