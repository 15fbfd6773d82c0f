"""Names of unfinished outputs, and how a finished one gets its own.

An output under its final name is complete. Until then it is called "NAME.HOST-PROCESS-COUNT.part", beside its final
place, so that the last step is a rename, what a killed run left is known by its owner, and neither two threads of a
process nor two machines on a share write to the same file.
"""

from __future__ import annotations

import errno
import functools
import glob
import hashlib
import itertools
import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from vsr.errors import OutputError

__all__ = ["give_name", "remove_stale", "temporary_name", "work_folder_name"]

# How file systems without hard links, and moves across them, say so.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EXDEV, errno.ENOSYS})

MAX_NAME_BYTES = 200
_counter = itertools.count()  # its `next` is atomic


def temporary_name(path: Path) -> Path:
    """Where to write what will be `path`: another name at every call, in every process and on every machine."""
    return path.with_name(f"{_stem(path)}.{_host()}-{os.getpid()}-{next(_counter)}.part")


def work_folder_name(path: Path) -> Path:
    """Where what will be `path` is kept while it is in the making: one name, so that the next run finds it."""
    return path.with_name(f"{_stem(path)}.part")


def _stem(path: Path) -> str:
    """The name, or what stands for one so long that nothing more could be added to it (255 bytes is the limit)."""
    name = path.name
    if len(os.fsencode(name)) <= MAX_NAME_BYTES:
        return name
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:32]


def remove_stale(path: Path) -> None:
    """Remove what killed runs on this machine left of the same output; what cannot be removed stays, as do files of
    living processes and of other machines."""
    for file in _stale_files(path):
        with suppress(OSError):
            file.unlink()


def give_name(temporary: Path, path: Path, overwrite: bool) -> None:
    """Rename a finished file.

    Raises:
        OutputError: somebody took the name meanwhile, and `overwrite` is False.
    """
    if overwrite:
        os.replace(temporary, path)
        return
    try:
        os.link(temporary, path)  # unlike a rename, fails if somebody took the name meanwhile
    except FileExistsError as exc:
        raise _taken(path) from exc
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        if os.path.lexists(path):
            raise _taken(path) from exc
        os.rename(temporary, path)
    else:
        temporary.unlink()


def _taken(path: Path) -> OutputError:
    return OutputError(f"{str(path)!r} was written by somebody else meanwhile", hint="give another name with -o")


def _stale_files(path: Path) -> Iterator[Path]:
    for file in path.parent.glob(f"{glob.escape(_stem(path))}.{_host()}-*.part"):
        owner = file.name.removeprefix(f"{_stem(path)}.{_host()}-").removesuffix(".part")
        process, _, count = owner.partition("-")
        if process.isdecimal() and count.isdecimal() and not _is_alive(int(process)):
            yield file


@functools.cache
def _host() -> str:
    """This machine's name, short and fit for a file name."""
    return hashlib.sha256(platform.node().encode(errors="surrogateescape")).hexdigest()[:8]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
