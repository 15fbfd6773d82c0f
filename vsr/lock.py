"""A file that one process at a time holds; when that dies, however it dies, the operating system lets go of it."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from vsr.errors import LockedError

__all__ = ["FileLock"]

# What file systems without locks answer (some network shares): there two processes are not told apart.
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})

# Whoever only asks whether it is held has it for a moment: that is no reason to give up.
NUM_RETRIES = 4
RETRY_SECONDS = 0.025


class FileLock:
    """Holds `path` from its making until `release`; the file says who holds it.

    Args:
        what: is being worked on, for the message.

    Raises:
        LockedError: another process, or another thread of this one, holds it.
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path, what: str) -> None:
        self._descriptor = -1
        while True:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                self._acquire(what)
                # Whoever held it before may have removed it between our two calls: then this is nobody's file.
                if _is_same(self._descriptor, path):
                    break
            except BaseException:
                self.release()
                raise
            self.release()
        with suppress(OSError):  # a full disk: whoever finds it held will not be told by whom
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"process {os.getpid()} on {platform.node()}\n".encode(errors="replace"), 0)

    def __enter__(self) -> FileLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        """Ctrl-C may have come between the making and the `with`."""
        self.release()

    def _acquire(self, what: str) -> None:
        try:
            for _ in range(NUM_RETRIES):
                with suppress(BlockingIOError):
                    fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                time.sleep(RETRY_SECONDS)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.pread(self._descriptor, 200, 0).decode(errors="replace").strip() or "another process"
            raise LockedError(
                f"{what} is being worked on by {holder}", hint="wait for it, or stop it; its work will not be lost"
            ) from exc
        except OSError as exc:
            if exc.errno not in _NO_LOCKS:
                raise

    @staticmethod
    def is_held(path: Path) -> bool:
        """Whether somebody holds it now."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return False

    def release(self) -> None:
        """Let go of it; the file stays, unless somebody removes it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
