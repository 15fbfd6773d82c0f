"""Why a film was not made, in plain values: what to tell the user, and whether the same may go well another time."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vsr.errors import (
    DownloadError,
    Interrupted,
    LockedError,
    ModelError,
    OutputError,
    ProcessingError,
    SettingsError,
    SourceError,
    UnsupportedStreamError,
    UsageError,
    VerificationError,
    VsrError,
    WeightsError,
)

__all__ = ["Failure", "RemoteFailure", "describe_death", "judge", "leaves_doubts"]

# What the operating system says of conditions that end by themselves, or that somebody ends: a full disk, too little
# memory, too many open files, a lock that another process holds, a network share that is not there at the moment. EIO
# is among them because that is what a share says whose server went away in the midst of a file.
_PASSING = frozenset(
    getattr(errno, name)
    for name in (
        "ENOSPC", "EDQUOT", "ENOMEM", "EMFILE", "ENFILE", "EAGAIN", "EWOULDBLOCK", "EDEADLK", "ENOLCK", "EBUSY",
        "ETXTBSY", "EINTR", "EIO", "ESTALE", "EREMOTEIO", "ENODEV", "ENXIO", "ENOTCONN", "ETIMEDOUT", "EHOSTDOWN",
        "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENETRESET", "ECONNRESET", "ECONNABORTED", "ECONNREFUSED",
        "ESHUTDOWN",
    )
    if hasattr(errno, name)
)  # fmt: skip

# By their names, since this module must not load torch: memory ran out (also of a CPU: there torch raises a plain
# RuntimeError), or the GPU or its driver failed, which a fresh process may survive.
_PASSING_TYPES = frozenset({"OutOfMemoryError", "AcceleratorError"})
_PASSING_WORDS = ("out of memory", "DefaultCPUAllocator", "could not create a memory object", "CUDA error")

# Errors after which a process is as good as new: found out before the work, or of files alone.
_ORDERLY = frozenset(
    kind.__name__
    for kind in (
        UsageError, SettingsError, SourceError, OutputError, UnsupportedStreamError, VerificationError, LockedError,
        ModelError, WeightsError, DownloadError,
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Failure:
    """The end of a job that made no film.

    Attributes:
        kind: the name of the error's type, "SourceError"; "WorkerDied" where the process is gone.
        message: one sentence that names the thing.
        hint: the way out, None where there is none.
        may_pass: the same job may go well at another time: a full disk, too little memory, a lock, a share that went
            away, a worker that died. False for what will fail again: not a film, a stream that cannot be kept.
        is_interrupted: nothing failed: the job was told to stop, and goes on later.
    """

    kind: str
    message: str
    hint: str | None = None
    may_pass: bool = False
    is_interrupted: bool = False


class RemoteFailure(Exception):
    """What went wrong on another machine: the error itself, with all that caused it, stays there."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


def judge(error: BaseException, source: Path, output: Path) -> Failure:
    """What `error` means for the job that makes `output` of `source`."""
    if isinstance(error, Interrupted | KeyboardInterrupt):
        return Failure("Interrupted", "the job was told to stop", may_pass=True, is_interrupted=True)
    may_pass = _may_pass(error, source, output)
    if isinstance(error, VsrError):
        return Failure(type(error).__name__, error.message, error.hint, may_pass)
    message = f"internal error: {type(error).__name__}: {error}"
    return Failure(type(error).__name__, message, "please report it, with the log of the worker", may_pass)


def describe_death(status: int) -> Failure:
    """A worker process that ended in the midst of a job.

    Args:
        status: as of `subprocess.Popen.returncode`: -N for signal N.
    """
    if status >= 0:
        return Failure("WorkerDied", f"the worker ended with status {status}", "its log says why", may_pass=True)
    name = signal.Signals(-status).name if -status in set(signal.Signals) else "unknown"
    hint = None
    if -status == signal.SIGKILL:
        hint = "the system does that when memory runs out: look into its log, and try a smaller --tile"
    return Failure("WorkerDied", f"the worker was ended by signal {-status} ({name})", hint, may_pass=True)


def leaves_doubts(failure: Failure) -> bool:
    """Whether the process that had this failure should do nothing else: an error of CUDA stays with it until its end,
    and what is not expected may have left anything behind."""
    return not failure.is_interrupted and failure.kind not in _ORDERLY


def _may_pass(error: BaseException, source: Path, output: Path) -> bool:
    if isinstance(error, DownloadError):
        return True
    numbers = set()
    for cause in _chain(error):
        if isinstance(cause, RemoteFailure):
            return cause.failure.may_pass
        numbers.add(getattr(cause, "errno", None))  # FFmpeg's errors have one too
        if isinstance(cause, MemoryError) or type(cause).__name__ in _PASSING_TYPES:
            return True
        if isinstance(cause, RuntimeError | ProcessingError) and any(sign in str(cause) for sign in _PASSING_WORDS):
            return True
    # A file that is missing is missing; a folder that is missing may be a share or a disk that is not mounted.
    is_adrift = errno.ENOENT in numbers and not all(os.path.isdir(path.absolute().parent) for path in (source, output))
    return is_adrift or bool(numbers & _PASSING)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, what it was raised from, and so on."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
