"""What is unfinished, wherever it lies: for `vsr jobs`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vsr.lock import FileLock
from vsr.pipeline.journal import read_entries
from vsr.pipeline.registry import remembered_folders
from vsr.pipeline.work_folder import DESCRIPTION, JOURNAL, LOCK, read_description, remove_contents, remove_empty
from vsr.video.faults import writing

__all__ = ["UnfinishedFilm", "list_unfinished", "remove_unfinished"]


@dataclass(frozen=True, slots=True)
class UnfinishedFilm:
    """What `vsr jobs` tells of a work folder.

    Attributes:
        num_frames: of the whole film, as far as known.
        begun: seconds since 1970.
        size: bytes of all that is in the folder.
        is_running: a process works on it now.
    """

    folder: Path
    source: str
    output: str
    num_done: int
    num_frames: int | None
    begun: float
    size: int
    is_running: bool


def list_unfinished(places: list[Path]) -> list[UnfinishedFilm]:
    """The unfinished films below some folders; without any, those that this user has begun on this machine."""
    if places:
        folders = sorted({file.parent for place in places for file in place.rglob(f"*.part/{DESCRIPTION}")})
    else:
        folders = sorted(set(remembered_folders(DESCRIPTION)))
    return [film for film in map(_describe, folders) if film is not None]


def remove_unfinished(film: UnfinishedFilm) -> None:
    """Remove a work folder; what was done is lost.

    Raises:
        LockedError: a process works on it.
        OutputError: it cannot be removed.
    """
    with writing(film.folder), FileLock(film.folder / LOCK, repr(film.output)):
        remove_contents(film.folder)
    remove_empty(film.folder)


def _describe(folder: Path) -> UnfinishedFilm | None:
    description = read_description(folder)
    if description is None:
        return None
    return UnfinishedFilm(
        folder=folder,
        source=description["source"],
        output=description["output"],
        num_done=sum(entry.file.num_frames for entry in read_entries(folder / JOURNAL)),
        num_frames=description["num_frames"],
        begun=description["begun"],
        size=sum(map(_size_of, folder.iterdir())),
        is_running=FileLock.is_held(folder / LOCK),
    )


def _size_of(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # whoever is at work there has given it another name meanwhile
        return 0
