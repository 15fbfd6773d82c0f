"""One SQLite file shared by threads and processes: opened, locked for writing, its errors told as ours."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from vsr.errors import JobError

__all__ = ["Database"]

PATIENCE = 30.0


class Database:
    """A SQLite file in write-ahead mode: one writer at a time, readers never wait. Safe to use from any thread.

    Args:
        path: the file; its folder must be there.
        schema: statements that make what is missing; harmless where all is there.
        version: of the schema; a file of another one is refused.
        patience: seconds to wait for other processes that write.

    Raises:
        JobError: the file cannot be opened, is no database of ours, or stays locked. So do all methods.
    """

    def __init__(self, path: Path, schema: str, version: int, *, patience: float = PATIENCE) -> None:
        self.path = path
        self._patience = patience
        self._turn = threading.RLock()
        with self._translating():
            self._connection = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
        try:
            self._connection.row_factory = sqlite3.Row
            self._prepare(schema, version)
        except BaseException:
            self._connection.close()
            raise

    @contextmanager
    def write(self, *, durable: bool = True, patience: float | None = None) -> Iterator[sqlite3.Connection]:
        """The connection inside a transaction of its own: kept if the block ends well, else as if it had not begun.

        Args:
            durable: it survives a loss of power too; otherwise only the death of processes, and costs no fsync.
            patience: seconds to wait for other processes; None: those of the database.
        """
        patience = self._patience if patience is None else patience
        with self._turn, self._translating():
            self._connection.execute(f"PRAGMA busy_timeout = {round(patience * 1000)}")
            # Not from inside of the transaction, where SQLite ignores it.
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite may have rolled back by itself, on a full disk for instance
                    self._connection.execute("ROLLBACK")
                raise

    def read(self, query: str, values: Mapping[str, object] | None = None) -> list[sqlite3.Row]:
        """All rows that `query` gives."""
        with self._turn, self._translating():
            return self._connection.execute(query, values or {}).fetchall()

    def close(self) -> None:
        """Close the file; the last process to do so folds the log into it."""
        with self._turn:
            self._connection.close()

    def _prepare(self, schema: str, version: int) -> None:
        with self._translating():
            self._switch_to_log()
        with self.write() as connection:
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, version):
                raise JobError(
                    f"{str(self.path)!r} was written by another version of vsr",
                    hint="use that version, or move the file away to begin anew",
                )
            for statement in schema.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version}")

    def _switch_to_log(self) -> None:
        """Write-ahead mode stays with the file. SQLite does not wait by itself where two processes switch at once."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as exc:
                if not _is_locked(exc) or time.monotonic() > deadline:
                    raise
            time.sleep(0.01)

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            self._explain(exc)

    def _explain(self, error: sqlite3.Error) -> NoReturn:
        name = repr(str(self.path))
        if _is_locked(error):
            raise JobError(
                f"{name} is locked by another process",
                hint="end the process that holds it, and try again",
            ) from error
        if isinstance(error, sqlite3.OperationalError):
            raise JobError(
                f"{name} cannot be used: {error}", hint="is its folder there, writable, and the disk not full?"
            ) from error
        raise JobError(
            f"{name} is not a ledger of jobs, or is damaged: {error}", hint="move it away to begin anew"
        ) from error


def _is_locked(error: sqlite3.Error) -> bool:
    # Extended codes (SQLITE_BUSY_SNAPSHOT ...) have the plain one in their low byte.
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
