"""The door of FFmpeg's world: its errors are turned into ours here, once."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av

from vsr.errors import OutputError, SourceError

__all__ = ["FFMPEG_ERRORS", "reading", "writing"]

# What PyAV raises: its own tree, and plain Python errors from its argument checks.
FFMPEG_ERRORS = (av.error.FFmpegError, ValueError, OSError)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Errors of opening and reading `path` leave as SourceError."""
    try:
        yield
    except FileNotFoundError as exc:
        raise SourceError(f"{str(path)!r} does not exist") from exc
    except IsADirectoryError as exc:
        raise SourceError(f"{str(path)!r} is a folder, not a film") from exc
    except PermissionError as exc:
        raise SourceError(f"{str(path)!r} may not be read by this user") from exc
    except av.error.InvalidDataError as exc:
        raise SourceError(
            f"{str(path)!r} is not a film that FFmpeg can read",
            hint="it may be cut off at its beginning, encrypted, or not a media file at all",
        ) from exc
    except (av.error.FFmpegError, OSError) as exc:
        raise SourceError(f"{str(path)!r} cannot be read: {_reason(exc)}") from exc


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Errors of writing `path` leave as OutputError; `path` is the final name, which users know."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as exc:
        number = getattr(exc, "errno", None)
        if number == errno.ENOSPC:
            raise OutputError(
                f"the disk is full: {str(path)!r} could not be finished",
                hint="free some space, or give -o another disk",
            ) from exc
        if number in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise OutputError(
                f"the folder of {str(path)!r} is not writable", hint="give another place with -o"
            ) from exc
        raise OutputError(f"{str(path)!r} cannot be written: {_reason(exc)}") from exc


def _reason(exc: BaseException) -> str:
    return str(getattr(exc, "strerror", None) or exc)
