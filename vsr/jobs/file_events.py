"""Word of new and changed files from the operating system, where it gives any."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from vsr.errors import JobError

__all__ = ["FileEvents", "is_on_network"]

# File systems whose changes by other machines no kernel tells of. FUSE ones are named after a dot.
_NETWORK = re.compile(r"nfs|nfs4|cifs|smb3|smbfs|9p|ceph|glusterfs|afs|ncpfs|virtiofs|fuse(\..*)?|vboxsf|prl_fs")
MOUNTS = Path("/proc/self/mounts")


class FileEvents:
    """Calls back for every file below a folder that comes or changes, from a thread of its own, until `close`.

    Args:
        on_file: a file that was made, changed, closed or moved there.
        on_folder: a folder has come, with nobody knows what in it.

    Raises:
        JobError: watchdog is not installed.
        OSError: the system has no more watches to give.
    """

    def __init__(self, root: Path, on_file: Callable[[Path], None], on_folder: Callable[[], None]) -> None:
        try:
            from watchdog import events, observers
        except ImportError as exc:
            raise JobError(
                "folders are watched by watchdog, which is not installed",
                hint="pip install 'vsr[watch]', or look through the folder now and then: --poll 10",
            ) from exc

        class Handler(events.FileSystemEventHandler):
            def on_any_event(self, event: Any) -> None:
                place = event.dest_path or event.src_path
                if event.event_type not in ("created", "modified", "moved", "closed"):
                    return
                if not event.is_directory:
                    on_file(Path(os.fsdecode(place)))
                elif event.event_type in ("created", "moved"):
                    on_folder()

        self._observer = observers.Observer()
        self._observer.daemon = True
        self._observer.schedule(Handler(), os.fspath(root), recursive=True)
        try:
            self._observer.start()
        except BaseException:
            with suppress(RuntimeError):  # its thread was not started
                self._observer.stop()
            raise

    def close(self) -> None:
        self._observer.stop()
        self._observer.join()


def is_on_network(path: Path, mounts: Path = MOUNTS) -> bool:
    """True if the file system of `path` is known to be another machine's (or a program's), which sends no events."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False  # no Linux: nobody can tell
    whole, kind = path.resolve(), ""
    longest = -1
    for line in lines:
        _, place, name, *_ = line.split(" ")
        folder = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), place))
        # Of two mounts at one place, the later one lies on top.
        if whole.is_relative_to(folder) and len(folder.parts) >= longest:
            longest, kind = len(folder.parts), name
    return _NETWORK.fullmatch(kind) is not None
