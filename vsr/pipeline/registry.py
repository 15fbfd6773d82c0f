"""Where this user has unfinished films, on this machine: so that `vsr jobs` finds them from anywhere."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from vsr.places import cache_folder

__all__ = ["forget_folder", "remember_folder", "remembered_folders"]


def _registration(folder: Path) -> Path:
    """The file that remembers a work folder, so that it is found again from anywhere."""
    name = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:32]
    return cache_folder() / "unfinished" / name


def remember_folder(folder: Path) -> None:
    """Note a work folder; what goes wrong with that stops nobody."""
    # A home that cannot be written to must stop no film; the folder itself is the truth.
    with suppress(OSError):
        file = _registration(folder)
        file.parent.mkdir(parents=True, exist_ok=True)
        # What is half written would be taken for a film that is gone.
        temporary = file.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(os.fsencode(folder.absolute()))
        os.replace(temporary, file)


def forget_folder(folder: Path) -> None:
    """The opposite of `remember_folder`."""
    with suppress(OSError):
        _registration(folder).unlink(missing_ok=True)


def remembered_folders(mark: str) -> Iterator[Path]:
    """The work folders of this user on this machine that are still there, in no order.

    Args:
        mark: the file that each of them has.
    """
    for file in (cache_folder() / "unfinished").glob("*"):
        if file.suffix:  # being written
            continue
        with suppress(OSError):  # one that cannot be looked at says nothing of the others
            folder = Path(os.fsdecode(file.read_bytes()))
            if (folder / mark).is_file():
                yield folder
            elif folder.parent.is_dir():  # else its disk may not be mounted now
                file.unlink(missing_ok=True)
