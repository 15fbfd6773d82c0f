"""Who is here: the processes that work on one ledger, each holding a shared lock on a file beside it.

Whoever is alone can take back what others left behind without asking whether they live: locks go with their process,
also in a container of another name.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vsr.errors import JobError

__all__ = ["Attendance"]


class Attendance:
    """This process's presence; a context manager, which ends it.

    Args:
        ledger: the ledger's file; the lock's is named after it.

    Raises:
        JobError: the lock's file cannot be made.
    """

    def __init__(self, ledger: Path) -> None:
        path = ledger.with_name(f"{ledger.name}-lock")
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise JobError(f"{str(path)!r} cannot be made: {exc.strerror}", hint="is its folder writable?") from exc

    def __enter__(self) -> Attendance:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    @contextmanager
    def look_around(self) -> Iterator[bool]:
        """Whether no other process is here, nor comes in before the block ends; after it this one is here.

        To be called only while this process works on nothing: its own lock is given up for a moment.
        """
        is_alone = self._try_lock(fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield is_alone
        finally:
            self._try_lock(fcntl.LOCK_SH)

    def _try_lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self._descriptor, kind)
        except OSError:  # somebody has it; or the file system has no locks, and nobody can tell
            return False
        return True
