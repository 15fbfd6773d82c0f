"""One file that a command writes: its name checked before the work, and given only when the file is whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vsr.errors import OutputError
from vsr.video.naming import give_name, remove_stale, temporary_name

__all__ = ["check_output", "written_whole"]


def check_output(path: Path, suffix: str, what: str, *, overwrite: bool) -> None:
    """Whether `path` can become the output.

    Raises:
        OutputError: the name has another ending, is taken, or its folder is not there.
    """
    if path.suffix.lower() != suffix:
        raise OutputError(f"{str(path)!r} is no name for {what}", hint=f"give a name ending in {suffix} with -o")
    if os.path.isdir(path):
        raise OutputError(f"{str(path)!r} is a folder", hint="give the name of a file with -o")
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"{str(path)!r} exists already", hint="use --overwrite, or another name with -o")
    if not os.path.isdir(path.parent):
        raise OutputError(f"there is no folder {str(path.parent)!r}", hint="make it, or choose another with -o")


@contextmanager
def written_whole(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """The temporary name to write under: it becomes `path` if the block ends well, else nothing is left.

    Raises:
        OutputError: the file cannot be written.
    """
    temporary = temporary_name(path)
    try:
        remove_stale(path)
        yield temporary
        give_name(temporary, path, overwrite)
    except OSError as exc:
        raise OutputError(
            f"{str(path)!r} cannot be written: {exc.strerror or exc}",
            hint="choose another place with -o",
        ) from exc
    finally:
        temporary.unlink(missing_ok=True)
