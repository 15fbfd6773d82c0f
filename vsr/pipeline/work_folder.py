"""The folder beside an unfinished film that holds what is done of it: segments, and the journal that counts them.

Whoever is killed leaves it; the same command goes on with it. It is gone once the film has its name.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from vsr.errors import OutputError, ProcessingError
from vsr.lock import FileLock
from vsr.pipeline.fingerprint import find_difference
from vsr.pipeline.journal import Entry, Journal
from vsr.pipeline.registry import forget_folder, remember_folder
from vsr.video.faults import writing
from vsr.video.landmarks import Landmark
from vsr.video.naming import work_folder_name
from vsr.video.segment_file import flush_folder

__all__ = ["DESCRIPTION", "JOURNAL", "LOCK", "Gap", "WorkFolder", "read_description", "remove_contents", "remove_empty"]

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
                remove_empty(self.path)
                raise
            try:
                self._open(source, identity, num_frames, fresh)
            except BaseException:
                if not os.path.lexists(self.path / JOURNAL):  # else there may be work in it
                    with suppress(OSError):
                        remove_contents(self.path)
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
            remove_empty(self.path)

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
        remove_contents(self.path)

    def _open(self, source: Path, identity: dict[str, str], num_frames: int | None, fresh: bool) -> None:
        before = None if fresh else read_description(self.path)
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
        remember_folder(self.path)


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


def remove_contents(path: Path) -> None:
    """The same, and the folder itself; called by whoever holds the lock."""
    _empty(path)
    (path / LOCK).unlink(missing_ok=True)
    remove_empty(path)
    forget_folder(path)


def remove_empty(path: Path) -> None:
    """Tried once more when the lock is closed: network shares keep what is removed while it is open."""
    with suppress(OSError):  # there is something in it
        path.rmdir()


def read_description(path: Path) -> dict[str, Any] | None:
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
