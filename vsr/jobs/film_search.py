"""Films found by their names, without opening one: in a folder, or by a pattern."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from vsr.errors import SourceError

__all__ = ["FILM_SUFFIXES", "fixed_part", "is_pattern", "match_films", "walk_films"]

FILM_SUFFIXES = frozenset(
    {
        ".3g2", ".3gp", ".amv", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".m1v", ".m2p", ".m2t", ".m2ts", ".m2v",
        ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mod", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mpv", ".mts", ".mxf",
        ".nut", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".tod", ".ts", ".vob", ".webm", ".wmv", ".wtv", ".y4m",
    }
)  # fmt: skip


def walk_films(folder: Path, *, recursive: bool) -> Iterator[Path]:
    """The films of a folder, by name; with `recursive` those of its folders too. Links to folders are not followed.

    What begins with a dot and what is called .part is passed over.

    Raises:
        SourceError: a folder cannot be read.
    """
    for place, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not _is_passed_over(name)) if recursive else []
        for name in sorted(names):
            if not _is_passed_over(name) and Path(name).suffix.lower() in FILM_SUFFIXES:
                yield Path(place, name)


def match_films(folder: Path, pattern: str) -> Iterator[Path]:
    """The films that a pattern names (*, ?, [...], and ** for folders at any depth), by name.

    A pattern with a fixed ending ("*.gif") names whatever ends so; any other, only what is called like a film. What
    begins with a dot, where the pattern does not say so, and what is called .part is passed over.

    Args:
        folder: where the pattern begins, taken as it is.
    """
    folder, pattern = _split_root(folder, pattern)
    base, ending = fixed_part(folder, pattern), Path(pattern).suffix
    is_ending_fixed = bool(ending) and not glob.has_magic(ending)
    for name in sorted(glob.iglob(pattern, root_dir=folder, recursive=True)):
        path = Path(os.path.normpath(folder / name))
        if not is_ending_fixed and path.suffix.lower() not in FILM_SUFFIXES:
            continue
        if not any(part.endswith(".part") for part in path.relative_to(base).parts) and not os.path.isdir(path):
            yield path


def is_pattern(folder: Path, text: str) -> bool:
    """True if `text` is to be matched; a file of that very name is meant itself."""
    return glob.has_magic(text) and not os.path.lexists(folder / text)


def fixed_part(folder: Path, pattern: str) -> Path:
    """The folder above the first part of a pattern that is none of a fixed name."""
    folder, pattern = _split_root(folder, pattern)
    parts = Path(pattern).parts
    fixed = next((at for at, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return Path(os.path.normpath(folder.joinpath(*parts[:fixed])))


def _split_root(folder: Path, pattern: str) -> tuple[Path, str]:
    """An absolute pattern begins at the root, wherever the folder is."""
    if not os.path.isabs(pattern):
        return folder, pattern
    root = Path(Path(pattern).anchor)
    return root, str(Path(pattern).relative_to(root))


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or name.endswith(".part")


def _refuse(error: OSError) -> NoReturn:
    raise SourceError(
        f"the folder {str(error.filename)!r} cannot be read: {error.strerror}", hint="is it there, and yours to read?"
    ) from error
