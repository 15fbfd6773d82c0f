"""The folder that is watched: which of its files are work, and where each goes. Names alone, no file is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from pathlib import Path

from vsr.errors import UsageError
from vsr.jobs.film_search import FILM_SUFFIXES
from vsr.stills.formats import STILL_SUFFIXES

__all__ = ["MAX_NAME_BYTES", "STATE_FOLDER", "Inbox", "Kind", "free_name", "make_name"]

WORK_SUFFIXES = FILM_SUFFIXES | STILL_SUFFIXES | {".gif", ".ivf", ".obu"}
# Programs that copy write under such names until they are done.
PARTIAL_SUFFIXES = frozenset({".part", ".partial", ".crdownload", ".tmp"})
PRESET_NAME = "preset.toml"
STATE_FOLDER = ".vsr"
MAX_NAME_BYTES = 255


class Kind(StrEnum):
    """What a name says of a file: to be taken; none of ours, or unfinished; of a kind that vsr knows nothing of."""

    WORK = "work"
    PASSED_OVER = "passed over"
    STRANGE = "strange"


@dataclass(frozen=True, slots=True)
class Inbox:
    """A folder that films are dropped into, and the one that their larger versions appear in. Both are absolute.

    Raises:
        UsageError: both are one folder, or the outbox is one of the inbox's own.
    """

    root: Path
    outbox: Path

    def __post_init__(self) -> None:
        if self.root == self.outbox:
            raise UsageError(
                f"{str(self.root)!r} is watched, and cannot take the outputs as well",
                hint="give another folder with -o",
            )
        for folder in (self.done, self.failed, self.root / STATE_FOLDER):
            if self.outbox.is_relative_to(folder):
                raise UsageError(
                    f"{str(folder)!r} has a use of its own, and cannot take the outputs as well",
                    hint="give another folder with -o",
                )

    @property
    def done(self) -> Path:
        """Where originals go when their output is there."""
        return self.root / "done"

    @property
    def failed(self) -> Path:
        """Where originals go of which nothing came, each with its NAME.error.txt."""
        return self.root / "failed"

    @property
    def mark(self) -> Path:
        """A file that is there whenever the inbox is; without it the folder is but the place of a disk that is away."""
        return self.root / STATE_FOLDER / "README.txt"

    def is_entered(self, folder: Path) -> bool:
        """True for a folder that films may be dropped into."""
        return not folder.name.startswith(".") and folder not in (self.done, self.failed, self.outbox)

    def judge(self, path: Path) -> Kind:
        """What the file of that name is. `path` lies below `root`."""
        inner = path.relative_to(self.root)
        folders = (self.root.joinpath(*inner.parts[:depth]) for depth in range(1, len(inner.parts)))
        suffix = path.suffix.lower()
        is_ours = path.name == PRESET_NAME or not all(map(self.is_entered, folders))
        if is_ours or path.name.startswith((".", "~")) or suffix in PARTIAL_SUFFIXES:
            return Kind.PASSED_OVER
        return Kind.WORK if suffix in WORK_SUFFIXES else Kind.STRANGE

    def name(self, path: Path) -> str:
        """The path within the inbox, for people."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def find_preset(self, path: Path, exists: Callable[[Path], bool]) -> Path | None:
        """The nearest `preset.toml` for a file: in its own folder, or in one of those above, up to the inbox."""
        folders = (folder for folder in path.parents if folder.is_relative_to(self.root))
        return next((preset for folder in folders if exists(preset := folder / PRESET_NAME)), None)

    def output_of(self, path: Path, suffix: str | None) -> Path:
        """Its place in the outbox, sub-folders mirrored, under its own name; `suffix` where it is to be another."""
        place = self.outbox / path.relative_to(self.root)
        return place if suffix is None else place.with_name(make_name(place.stem, suffix))

    def kept_at(self, path: Path, folder: Path) -> Path:
        """The place of an original in `done` or `failed`, sub-folders mirrored."""
        return folder / path.relative_to(self.root)


def free_name(path: Path, is_taken: Callable[[Path], bool]) -> Path:
    """`path`, or the first of film_2.mp4, film_3.mp4 ... that is not taken."""
    numbered: Iterator[Path] = (path.with_name(make_name(path.stem, f"_{number}{path.suffix}")) for number in count(2))
    return path if not is_taken(path) else next(place for place in numbered if not is_taken(place))


def make_name(stem: str, ending: str) -> str:
    """`stem` and `ending`, the former shortened where no file system could hold the name."""
    while len(os.fsencode(stem + ending)) > MAX_NAME_BYTES:
        stem = stem[:-1]
    return stem + ending
