"""What the daemon does to files, handed in, so that tests can lose power between any two steps."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vsr.errors import OutputError
from vsr.lock import FileLock
from vsr.video.naming import give_name, remove_stale, temporary_name

__all__ = ["Disk", "FileSystem", "Signature"]

COPY_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Signature:
    """What changes when a file is written to: its size in bytes and its time of modification in nanoseconds."""

    size: int
    mtime_ns: int


class FileSystem(Protocol):
    """Every method raises OSError where the file system does, unless it says otherwise."""

    def walk(
        self, root: Path, enter: Callable[[Path], bool], on_error: Callable[[OSError], None]
    ) -> Iterator[tuple[Path, Signature]]:
        """The plain files below `root`; `enter` says which folders are looked into. What cannot be read is told."""

    def sign(self, path: Path) -> Signature | None:
        """Of a plain file; None where there is none (any more)."""

    def lock(self, path: Path, what: str) -> AbstractContextManager[object]:
        """Held by one process at a time; see `vsr.lock`."""

    def exists(self, path: Path) -> bool:
        """True if the name is taken, by whatever."""

    def move(self, source: Path, target: Path) -> None:
        """Rename; across file systems copy, sync, rename, remove. `target` is whole or not there.

        A move that was cut short by a crash is finished by the same call.

        Raises:
            FileExistsError: another file has the name `target`.
        """

    def make_folder(self, path: Path) -> None:
        """With all folders above; it may be there."""

    def write(self, path: Path, content: bytes) -> None:
        """Replace the file, whole or not at all, and see it to the disk."""

    def read(self, path: Path) -> bytes | None:
        """None where there is no such file."""

    def list_folder(self, path: Path) -> list[Path]:
        """What lies in a folder, sorted; nothing where there is none."""

    def remove(self, path: Path) -> None:
        """A file or a folder with all that is in it; it may be gone."""

    def remove_empty(self, path: Path) -> None:
        """A folder, if nothing is in it."""

    def free_bytes(self, path: Path) -> int:
        """What may still be written on the disk of `path`, or of the nearest folder above that is there."""


class Disk:
    """The machine's own file system."""

    def walk(
        self, root: Path, enter: Callable[[Path], bool], on_error: Callable[[OSError], None]
    ) -> Iterator[tuple[Path, Signature]]:
        folders = [root]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(folder) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
            except FileNotFoundError:
                continue  # gone since its parent was read
            except OSError as exc:
                on_error(exc)
                continue
            for entry in found:
                path = Path(entry.path)
                # A link to a folder may lead round in a circle; one to a file is a file.
                if entry.is_dir(follow_symlinks=False):
                    if enter(path):
                        folders.append(path)
                elif (signature := self.sign(path)) is not None:
                    yield path, signature

    def sign(self, path: Path) -> Signature | None:
        try:
            status = os.stat(path)
        except OSError:
            return None
        return Signature(status.st_size, status.st_mtime_ns) if os.path.isfile(path) else None

    def lock(self, path: Path, what: str) -> AbstractContextManager[object]:
        return FileLock(path, what)

    def exists(self, path: Path) -> bool:
        return os.path.lexists(path)

    def move(self, source: Path, target: Path) -> None:
        if os.path.lexists(target):
            if not os.path.samefile(source, target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
            os.unlink(source)  # two names of one file: a crash came between the link and the removal
            return
        try:
            _give_name(source, target)
        except OSError as exc:
            if exc.errno != errno.EXDEV:
                raise
            _copy(source, target)
            os.unlink(source)
        _sync_folder(target.parent)

    def make_folder(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)

    def write(self, path: Path, content: bytes) -> None:
        remove_stale(path)
        temporary = temporary_name(path)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)

    def read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def list_folder(self, path: Path) -> list[Path]:
        try:
            return sorted(path.iterdir())
        except FileNotFoundError:
            return []

    def remove(self, path: Path) -> None:
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except FileNotFoundError:
            return

    def remove_empty(self, path: Path) -> None:
        with suppress(OSError):  # something is in it, or it is gone
            path.rmdir()

    def free_bytes(self, path: Path) -> int:
        return shutil.disk_usage(next(folder for folder in (path, *path.absolute().parents) if folder.exists())).free


def _give_name(source: Path, target: Path) -> None:
    try:
        give_name(source, target, overwrite=False)
    except OutputError as exc:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from exc


def _copy(source: Path, target: Path) -> None:
    remove_stale(target)
    temporary = temporary_name(target)
    try:
        with source.open("rb") as old, temporary.open("wb") as new:
            shutil.copyfileobj(old, new, COPY_BYTES)
            new.flush()
            os.fsync(new.fileno())
        shutil.copystat(source, temporary)
        _give_name(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """A name is on the disk when its folder is. Some network shares cannot do that, and lose nothing by it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
