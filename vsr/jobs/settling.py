"""Files that may still be growing: when each has been left alone for long enough to be looked into."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vsr.jobs.file_system import Signature

__all__ = ["Settling"]

LONGEST_LOOK_SECONDS = 60.0


@dataclass(slots=True)
class _Growing:
    signature: Signature
    changed_at: float
    look_at: float
    was_postponed: bool = False


class Settling:
    """The files that were seen and not taken yet. Times are seconds of a clock that only goes forward.

    Only changes count, never how old a file says it is: `cp -p` and unpackers set that at will.

    Args:
        settle: seconds without a change after which a file is looked into.
        patience: seconds without a change after which a file that does not look whole is taken nevertheless.
    """

    def __init__(self, settle: float, patience: float) -> None:
        self._settle = settle
        self._patience = patience
        self._files: dict[Path, _Growing] = {}

    def __contains__(self, path: object) -> bool:
        return path in self._files

    def __len__(self) -> int:
        return len(self._files)

    def note(self, path: Path, signature: Signature, now: float) -> None:
        """The file was seen, with that signature."""
        known = self._files.get(path)
        if known is None or known.signature != signature:
            was_postponed = known is not None and known.was_postponed
            self._files[path] = _Growing(signature, now, now + self._settle, was_postponed)

    def take_ripe(self, now: float, sign: Callable[[Path], Signature | None]) -> list[tuple[Path, Signature]]:
        """The files that have not changed for `settle` seconds, each once; they stay until `drop` or `postpone`.

        Args:
            sign: a fresh look at a file; None: it is gone, and forgotten here.
        """
        ripe = []
        for path in [path for path, file in self._files.items() if file.look_at <= now]:
            signature, file = sign(path), self._files[path]
            if signature is None:
                del self._files[path]
            elif signature != file.signature:
                self.note(path, signature, now)
            else:
                file.look_at = math.inf
                ripe.append((path, signature))
        return ripe

    def postpone(self, path: Path, now: float) -> bool:
        """The file was looked into and is not whole yet: again later, the rarer the longer nothing has happened.

        True if this is the first time since it came.
        """
        file = self._files[path]
        file.look_at = now + min(LONGEST_LOOK_SECONDS, max(self._settle, (now - file.changed_at) / 2))
        is_first, file.was_postponed = not file.was_postponed, True
        return is_first

    def restart(self, path: Path, now: float) -> None:
        """The file has changed while it was looked into."""
        file = self._files[path]
        file.changed_at, file.look_at = now, now + self._settle

    def is_given_up(self, path: Path, now: float) -> bool:
        """True if nothing has happened to the file for longer than anybody waits."""
        file = self._files.get(path)
        return file is not None and now - file.changed_at >= self._patience

    def drop(self, path: Path) -> None:
        """The file was taken, or is gone."""
        self._files.pop(path, None)

    def keep_only(self, seen: set[Path]) -> None:
        """Forget every file that is not among `seen`."""
        for path in self._files.keys() - seen:
            del self._files[path]

    @property
    def is_quiet(self) -> bool:
        """True if there is no file but such as were looked into and found incomplete."""
        return all(file.was_postponed for file in self._files.values())

    @property
    def next_look(self) -> float:
        """When the next file is due; infinite where none is."""
        return min((file.look_at for file in self._files.values()), default=math.inf)
