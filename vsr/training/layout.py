"""Which files of a folder are training pictures, and which of them belong together.

Three arrangements are understood, at any depth and mixed: plain folders of pictures and films; ``HR`` beside ``LR``
(or ``GT`` beside ``LQ``), each perhaps below ``train`` and ``val`` and with ``X2``, ``X4`` below ``LR``; and the names
of the DIV2K archives (``DIV2K_train_HR/0001.png``, ``DIV2K_train_LR_bicubic/X4/0001x4.png``).
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from vsr.errors import DataError
from vsr.stills import STILL_SUFFIXES, is_still

__all__ = ["FILM_SUFFIXES", "Layout", "PictureFile", "Skipped", "Split", "find_files"]

Split = Literal["train", "val", "all"]

FILM_SUFFIXES = frozenset((
    ".3gp", ".asf", ".avi", ".flv", ".gif", ".ivf", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4",
    ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".obu", ".ogg", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m",
))  # fmt: skip

_TRAIN, _VAL = {"train", "training"}, {"val", "valid", "validation"}
_HIGH = re.compile(r"hr|gt|gtmod\d+", re.IGNORECASE)
_LOW = re.compile(r"(?:lr|lq)(?:bic(?:ubic)?)?(?:x\d+)?", re.IGNORECASE)
_FACTOR = re.compile(r"x(\d+)", re.IGNORECASE)
_STEM_FACTOR = re.compile(r"[_-]?x(\d+)$", re.IGNORECASE)
_STEM_ROLE = re.compile(r"[_-](?:hr|lr|gt|lq)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PictureFile:
    """One source of patches: a picture, its low-resolution partner where there is one, or a film.

    Attributes:
        name: path of `high` below the folder that was searched, with slashes.
    """

    name: str
    high: Path
    low: Path | None = None
    is_film: bool = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not used, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Layout:
    """What a folder holds: `files` to use, `skipped` ones, and names of files that are neither picture nor film."""

    files: tuple[PictureFile, ...]
    skipped: tuple[Skipped, ...]
    ignored: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """A picture file with what the names of its folders say: `key` is equal for partners."""

    name: str
    path: Path
    key: tuple[str, ...]
    stem: str
    role: Literal["high", "low"]
    factor: int | None
    splits: frozenset[str]
    is_bicubic: bool
    is_film: bool


def find_files(folder: Path, scale: int, split: Split = "train") -> Layout:
    """Search `folder` (or take the one file it is), in the order of the names.

    Args:
        scale: low-resolution partners for other scales are left alone.
        split: "train" leaves out what lies below a folder named val, and, where there is a folder named train, all
            that does not lie below that one; "val" keeps only what lies below val; "all" keeps everything.

    Raises:
        DataError: there is no such folder, or it cannot be read.
    """
    if not folder.exists():
        raise DataError(f"{str(folder)!r}: no such folder", hint="check --data and data.validation")
    skipped: list[Skipped] = []
    ignored: list[str] = []
    found = [_classify(name, path) for name, path in _walk(folder, skipped, ignored)]
    splits = {split for item in found for split in item.splits}
    if split == "val":
        found = [item for item in found if "val" in item.splits]
    elif split == "train":
        found = [item for item in found if "train" in item.splits or not ({"train"} & splits or item.splits)]
    return Layout(tuple(_join(found, scale, skipped)), tuple(skipped), tuple(ignored))


def _walk(folder: Path, skipped: list[Skipped], ignored: list[str]) -> Iterator[tuple[str, Path]]:
    """Yield (name, path) of pictures and films in the order of their names. Each file comes once, loops end."""
    if folder.is_file():
        yield folder.name, folder
        return
    seen_folders: set[tuple[int, int]] = set()
    seen_files: dict[tuple[int, int], str] = {}
    paths: list[tuple[str, Path]] = []

    def refuse(exc: OSError) -> None:
        raise DataError(f"{str(exc.filename)!r} cannot be read ({exc.strerror})") from exc

    for place, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen_folders:
            folders.clear()
            continue
        seen_folders.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        paths += [(Path(place, name).relative_to(folder).as_posix(), Path(place, name)) for name in files]
    for name, path in sorted(paths):
        if path.name.startswith("."):
            continue
        try:
            status = path.stat()
        except OSError as exc:
            skipped.append(Skipped(name, f"cannot be read ({exc.strerror})"))
            continue
        twin = seen_files.setdefault((status.st_dev, status.st_ino), name)
        if twin != name:
            skipped.append(Skipped(name, f"the same file as {twin}"))
        elif is_still(path) or path.suffix.lower() in FILM_SUFFIXES:
            yield name, path
        else:
            ignored.append(name)


def _classify(name: str, path: Path) -> _Found:
    """Read what the folders' names say. Partners share `key` and `stem`, once role and factor are taken out."""
    role: Literal["high", "low"] = "high"
    factor: int | None = None
    splits: set[str] = set()
    key: list[str] = []
    is_bicubic = False
    for part in PurePosixPath(name).parts[:-1]:
        tokens = re.split(r"[_\-. ]", part)
        lowered = {token.lower() for token in tokens}
        splits |= ({"train"} if lowered & _TRAIN else set()) | ({"val"} if lowered & _VAL else set())
        is_bicubic = is_bicubic or any("bic" in token for token in lowered)
        factor = next((int(m[1]) for m in map(_FACTOR.fullmatch, tokens) if m), factor)
        at = next((i for i, token in enumerate(tokens) if _HIGH.fullmatch(token) or _LOW.fullmatch(token)), None)
        if at is not None:
            role = "low" if _LOW.fullmatch(tokens[at]) else "high"
            factor = next((int(m[1]) for m in [re.search(r"x(\d+)$", tokens[at], re.IGNORECASE)] if m), factor)
            part = "_".join(tokens[:at])
        if part and not _FACTOR.fullmatch(part):
            key.append(part)
    stem = path.stem
    if matched := _STEM_ROLE.search(stem):
        if matched[0][1:].lower() in ("lr", "lq"):
            role = "low"
        stem = stem[: matched.start()]
    is_film = path.suffix.lower() in FILM_SUFFIXES and path.suffix.lower() not in STILL_SUFFIXES and not is_still(path)
    if role == "low" and (matched := _STEM_FACTOR.search(stem)):
        factor = factor or int(matched[1])
    return _Found(name, path, tuple(key), stem, role, factor, frozenset(splits), is_bicubic, is_film)


def _join(found: list[_Found], scale: int, skipped: list[Skipped]) -> Iterator[PictureFile]:
    """Give each high-resolution picture its partner; a folder with partners for `scale` must have all of them."""
    lows: defaultdict[tuple[str, ...], dict[str, _Found]] = defaultdict(dict)
    # Bicubic partners first: where a set comes in several degradations, those are the ones that a scale alone names.
    for item in sorted((item for item in found if item.role == "low"), key=lambda item: not item.is_bicubic):
        if item.factor not in (None, scale):
            continue
        for stem in (item.stem, _STEM_FACTOR.sub("", item.stem)):
            lows[item.key].setdefault(stem, item)
    used: set[str] = set()
    for item in found:
        if item.role == "low":
            continue
        partners = lows.get(item.key)
        if item.is_film or partners is None:
            yield PictureFile(item.name, item.path, None, item.is_film)
        elif partner := partners.get(item.stem):
            used.add(partner.name)
            yield PictureFile(item.name, item.path, partner.path)
        else:
            skipped.append(Skipped(item.name, "no low-resolution partner of this name"))
    stems = {(item.key, item.stem) for item in found if item.role == "high"}
    for item in found:
        is_wanted = item.role == "low" and item.factor in (None, scale) and item.name not in used
        if is_wanted and not {(item.key, item.stem), (item.key, _STEM_FACTOR.sub("", item.stem))} & stems:
            skipped.append(Skipped(item.name, "no high-resolution partner of this name"))
