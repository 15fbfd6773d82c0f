"""Why a film was not made, in plain values: what to tell the user, and whether the same may go well another time."""

from __future__ import annotations

import errno
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from vsr.errors import (
    DownloadError,
    Interrupted,
    LockedError,
    ModelError,
    OutputError,
    SettingsError,
    SourceError,
    UnsupportedStreamError,
    UsageError,
    VerificationError,
    VsrError,
    WeightsError,
)
from vsr.jobs.retry import list_causes, may_pass

__all__ = ["Failure", "RemoteFailure", "describe_death", "judge", "leaves_doubts"]

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
    causes = list(list_causes(error))
    for cause in causes:
        if isinstance(cause, RemoteFailure):
            return cause.failure.may_pass
    # A file that is missing is missing; a folder that is missing may be a share or a disk that is not mounted.
    is_missing = any(getattr(cause, "errno", None) == errno.ENOENT for cause in causes)
    is_adrift = is_missing and not all(os.path.isdir(path.absolute().parent) for path in (source, output))
    return is_adrift or may_pass(error)
