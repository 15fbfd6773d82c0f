"""The tree of errors: every failure that vsr expects leaves as one of these.

    VsrError                        the root; catch this to catch everything that is expected
    ├── UsageError                  the request makes no sense (exit status 2)
    │   └── SettingsError           a setting or preset key is unknown or out of range
    ├── SourceError                 the input cannot be read: missing, not a film, broken, no video
    ├── OutputError                 the output cannot be written: exists, read-only folder, full disk
    │   ├── UnsupportedStreamError  the chosen container or codec cannot hold something of the source
    │   ├── VerificationError       what was written is not what was meant to be written
    │   └── LockedError             another process works on the same output
    ├── ModelError                  a network cannot be had or used
    │   ├── WeightsError            a weights file is broken, hostile or of an unknown network
    │   └── DownloadError           weights could not be fetched whole and correct
    ├── DataError                   training or evaluation pictures are missing, broken, or do not fit together
    ├── TrainingError               a training cannot start, resume or go on
    ├── JobError                    the ledger of jobs cannot be used, or a job is not in the state for what is asked
    ├── DeviceError                 the device or precision asked for is not there
    └── ProcessingError             the work failed on the way; names the file and the timestamp

`Interrupted` stands apart (it is no failure of anything): the run was asked to stop.

Errors of other libraries (FFmpeg, torch, the operating system) are translated once, where they enter,
with ``raise ... from exc``; the original stays reachable as ``__cause__``.
"""

from __future__ import annotations

__all__ = [
    "DataError",
    "DeviceError",
    "DownloadError",
    "Interrupted",
    "JobError",
    "LockedError",
    "ModelError",
    "OutputError",
    "ProcessingError",
    "SettingsError",
    "SourceError",
    "TrainingError",
    "UnsupportedStreamError",
    "UsageError",
    "VerificationError",
    "VsrError",
    "WeightsError",
]


class VsrError(Exception):
    """What went wrong, with which file, stream or key; `hint` says what to do about it.

    Args:
        message: one sentence that names the thing.
        hint: the way out, shown on a line of its own; None where there is none.
    """

    exit_status = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class UsageError(VsrError):
    exit_status = 2


class SettingsError(UsageError):
    pass


class SourceError(VsrError):
    pass


class OutputError(VsrError):
    pass


class UnsupportedStreamError(OutputError):
    pass


class VerificationError(OutputError):
    pass


class LockedError(OutputError):
    pass


class ModelError(VsrError):
    pass


class WeightsError(ModelError):
    pass


class DownloadError(ModelError):
    pass


class DataError(VsrError):
    pass


class TrainingError(VsrError):
    pass


class JobError(VsrError):
    pass


class DeviceError(VsrError):
    pass


class ProcessingError(VsrError):
    pass


class Interrupted(Exception):
    """The run was asked to stop (Ctrl-C, or a caller's cancel event) and has stopped cleanly."""
