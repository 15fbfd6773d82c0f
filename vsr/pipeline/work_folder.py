"""The folder beside an unfinished film that holds what is done of it: segments, and the journal that counts them.

Whoever is killed leaves it; the same command goes on with it. It is gone once the film has its name.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from vsr.errors import OutputError, ProcessingError
from vsr.lock import FileLock
from vsr.pipeline.fingerprint import find_difference
from vsr.pipeline.journal import Entry, Journal, read_entries
from vsr.places import cache_folder
from vsr.video.faults import writing
from vsr.video.landmarks import Landmark
from vsr.video.naming import work_folder_name
from vsr.video.segment_file import flush_folder

__all__ = ["Gap", "UnfinishedFilm", "WorkFolder", "list_unfinished", "remove_unfinished"]

VERSION = 1
DESCRIPTION, JOURNAL, LOCK = "job.json", "journal.jsonl", "lock"


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of the film that no segment covers.

    Attributes:
        start: its first picture; None where that is the film's.
        stop: the first picture behind it; None where it reaches to the film's end.
    """

    start: Landmark | None
    stop: Landmark | None


class WorkFolder:
    """What is done of one film. A context manager: left unfinished with nothing done, it goes; else it stays.

    Args:
        output: the film that it is to become.
        source: of it, for `vsr jobs`.
        identity: everything that the segments depend on, of `vsr.pipeline.fingerprint.describe_work`.
        num_threads: of the encoder, for a film that begins here.
        num_frames: of the film, as far as known; for `vsr jobs`.
        fresh: what an earlier run has left is thrown away.

    Attributes:
        num_threads: of the encoder that made what is here already.
        reason: why what an earlier run had done is not gone on with, in words; None where there was nothing, or it is.
        num_resumed: frames that earlier runs have done.

    Raises:
        LockedError: another process works on this film.
        OutputError: the folder cannot be made, or something else has its name.
    """

    def __init__(
        self,
        output: Path,
        source: Path,
        identity: dict[str, str],
        *,
        num_threads: int,
        num_frames: int | None,
        fresh: bool = False,
    ) -> None:
        self._output = output
        self.path = work_folder_name(output)
        self.num_threads = num_threads
        self.reason: str | None = None
        with writing(output):
            _make(self.path)
            try:
                self._lock = FileLock(self.path / LOCK, repr(str(output)))
            except OSError:
                _remove_empty(self.path)
                raise
            try:
                self._open(source, identity, num_frames, fresh)
            except BaseException:
                if not os.path.lexists(self.path / JOURNAL):  # else there may be work in it
                    with suppress(OSError):
                        _remove(self.path)
                self._lock.release()
                raise
        self.num_resumed = self.num_frames

    def __enter__(self) -> WorkFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()
        try:
            if not self._journal.entries:
                with suppress(OSError):  # the reason that brought us here is the one to report
                    self.remove()
        finally:
            self._lock.release()
            _remove_empty(self.path)

    @property
    def entries(self) -> list[Entry]:
        """The finished segments, in the order of the film."""
        return list(self._journal)

    @property
    def num_frames(self) -> int:
        """Frames in finished segments."""
        return sum(entry.file.num_frames for entry in self._journal)

    def record(self, entry: Entry) -> None:
        """Note a finished segment.

        Raises:
            OutputError: the disk is full.
        """
        with writing(self._output):
            self._journal.record(entry)

    def gaps(self) -> list[Gap]:
        """What is still to be done, in the order of the film.

        Raises:
            ProcessingError: segments do not fit together.
        """
        gaps: list[Gap] = []
        before: Entry | None = None
        for entry in self._journal:
            if before is None:
                if not entry.span.begins_film:
                    gaps.append(Gap(None, entry.span.first))
            elif before.span.after is None or before.span.after.pts > entry.span.first.pts:
                raise ProcessingError(
                    f"segments {before.index} and {entry.index} in {str(self.path)!r} overlap",
                    hint="begin anew with --fresh",
                )
            elif before.span.after != entry.span.first:
                gaps.append(Gap(before.span.after, entry.span.first))
            before = entry
        if before is None:
            return [Gap(None, None)]
        return gaps if before.span.after is None else [*gaps, Gap(before.span.after, None)]

    def remove(self) -> None:
        """Remove everything: the film has its name, or there is nothing to keep.

        Raises:
            OSError: it cannot be removed.
        """
        self._journal.close()
        _remove(self.path)

    def _open(self, source: Path, identity: dict[str, str], num_frames: int | None, fresh: bool) -> None:
        before = None if fresh else _read_description(self.path)
        if before is not None:
            self.reason = find_difference(before["identity"], identity)
        if before is None or self.reason is not None:
            _empty(self.path)
            _write_description(self.path, {
                "version": VERSION, "source": str(source.absolute()), "output": str(self._output.absolute()),
                "num_frames": num_frames, "num_threads": self.num_threads, "begun": time.time(), "identity": identity,
            })  # fmt: skip
        else:
            self.num_threads = before["num_threads"]
        for leftover in self.path.glob("*.tmp"):
            leftover.unlink(missing_ok=True)
        self._journal = Journal(self.path / JOURNAL)
        self._journal.forget_unusable()
        _register(self.path)


def _make(path: Path) -> None:
    if path.is_dir() and not _is_ours(path):
        raise OutputError(f"{str(path)!r} is in the way: vsr keeps its unfinished work there", hint="move it elsewhere")
    try:
        path.mkdir(exist_ok=True)
    except FileExistsError as exc:
        raise OutputError(
            f"{str(path)!r} is in the way: vsr keeps its unfinished work there", hint="move it elsewhere"
        ) from exc


def _is_ours(path: Path) -> bool:
    names = {file.name for file in path.iterdir()}
    return not names or LOCK in names or DESCRIPTION in names


def _empty(path: Path) -> None:
    """Remove all that is ours but the lock, in an order that leaves nothing half believed, nor unlisted."""
    (path / JOURNAL).unlink(missing_ok=True)
    for pattern in ("*.segment", "*.tmp"):
        for file in path.glob(pattern):
            file.unlink(missing_ok=True)
    (path / DESCRIPTION).unlink(missing_ok=True)


def _remove(path: Path) -> None:
    """The same, and the folder itself; called by whoever holds the lock."""
    _empty(path)
    (path / LOCK).unlink(missing_ok=True)
    _remove_empty(path)
    with suppress(OSError):
        _registration(path).unlink(missing_ok=True)


def _remove_empty(path: Path) -> None:
    """Tried once more when the lock is closed: network shares keep what is removed while it is open."""
    with suppress(OSError):  # there is something in it
        path.rmdir()


def _read_description(path: Path) -> dict[str, Any] | None:
    """None where there is none that can be gone on with."""
    try:
        description: dict[str, Any] = json.loads((path / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return description if description.get("version") == VERSION else None


def _write_description(path: Path, description: dict[str, Any]) -> None:
    temporary = path / f"{DESCRIPTION}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(description, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path / DESCRIPTION)
    flush_folder(path)


# --- what is unfinished, wherever it lies ---


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
        folders = sorted(set(_registered()))
    return [film for film in map(_describe, folders) if film is not None]


def remove_unfinished(film: UnfinishedFilm) -> None:
    """Remove a work folder; what was done is lost.

    Raises:
        LockedError: a process works on it.
        OutputError: it cannot be removed.
    """
    with writing(film.folder), FileLock(film.folder / LOCK, repr(film.output)):
        _remove(film.folder)
    _remove_empty(film.folder)


def _describe(folder: Path) -> UnfinishedFilm | None:
    description = _read_description(folder)
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


def _registration(folder: Path) -> Path:
    """The file that remembers a work folder, so that it is found again from anywhere."""
    name = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:32]
    return cache_folder() / "unfinished" / name


def _register(folder: Path) -> None:
    # A home that cannot be written to must stop no film; the folder itself is the truth.
    with suppress(OSError):
        file = _registration(folder)
        file.parent.mkdir(parents=True, exist_ok=True)
        # What is half written would be taken for a film that is gone.
        temporary = file.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(os.fsencode(folder.absolute()))
        os.replace(temporary, file)


def _registered() -> Iterator[Path]:
    for file in (cache_folder() / "unfinished").glob("*"):
        if file.suffix:  # being written
            continue
        with suppress(OSError):  # one that cannot be looked at says nothing of the others
            folder = Path(os.fsdecode(file.read_bytes()))
            if (folder / DESCRIPTION).is_file():
                yield folder
            elif folder.parent.is_dir():  # else its disk may not be mounted now
                file.unlink(missing_ok=True)
