"""Checkpoints: a file is either whole or not there; the newest ones and the best stay."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from vsr.errors import TrainingError

__all__ = ["Checkpoints", "explain_failure", "remove_leftovers", "replace_file"]

_FORMAT = 1
_TEMPORARY = ".tmp"


def replace_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write `path` as a whole or not at all, also through a loss of power: temporary file, fsync, rename.

    Folders on the way are made.

    Raises:
        TrainingError: no space, no permission.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as exc:
        raise explain_failure(path, exc) from exc
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def explain_failure(path: Path, error: OSError) -> TrainingError:
    """Why `path` cannot be written, as the user is told."""
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return TrainingError(
        f"{str(path)!r} cannot be written: {error.strerror or error}",
        hint="make room, then go on with --resume" if is_full else "give an --out that can be written",
    )


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote. Only for who writes here alone."""
    for left in folder.glob(f".*{_TEMPORARY}"):
        with contextlib.suppress(OSError):
            left.unlink()


class Checkpoints:
    """The checkpoints of one run: `step-000001000.pt` and `best.pt` in a folder of their own.

    Args:
        folder: made when the first is written.
        keep: how many of the newest stay.

    Attributes:
        folder: as given.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self._keep = folder, keep

    def steps(self) -> list[int]:
        """Steps of which there are checkpoints, rising."""
        names = [path.name for path in self.folder.glob("step-*.pt")] if self.folder.is_dir() else []
        return sorted(int(match[1]) for name in names if (match := re.fullmatch(r"step-(\d+)\.pt", name)))

    def save(self, step: int, state: Mapping[str, Any], *, is_best: bool = False) -> None:
        """Keep `state` (tensors and plain values) as that of `step`, and forget the oldest.

        Raises:
            TrainingError: it cannot be written; the older ones are still there.
        """
        content = io.BytesIO()  # torch.save to a file makes an internal error of a full disk, and hides which
        torch.save({"format": _FORMAT, "step": step, **state}, content)
        replace_file(self._path(step), lambda file: file.write(content.getbuffer()))
        if is_best:
            self.mark_best(step)
        for old in self.steps()[: -self._keep]:
            self._path(old).unlink(missing_ok=True)

    def mark_best(self, step: int) -> None:
        """The checkpoint of `step` is `best.pt` from now on. It shares its bytes where the file system can."""
        temporary = self.folder / f".best.pt.{os.getpid()}{_TEMPORARY}"
        temporary.unlink(missing_ok=True)
        try:
            os.link(self._path(step), temporary)
            os.replace(temporary, self.folder / "best.pt")
        except OSError:
            content = self._path(step).read_bytes()
            replace_file(self.folder / "best.pt", lambda file: file.write(content))

    def load_newest(self, say: Callable[[str], None]) -> dict[str, Any] | None:
        """The newest state that can be read; None where there is none. What is broken is told to `say` and left out.

        Raises:
            TrainingError: there are checkpoints, and not one can be read.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                return self._load(step)
            except TrainingError as exc:
                say(exc.message)
        if steps:
            raise TrainingError(
                f"none of the {len(steps)} checkpoints in {str(self.folder)!r} can be read",
                hint="begin anew in another --out",
            )
        return None

    def _load(self, step: int) -> dict[str, Any]:
        path = self._path(step)
        try:
            state = dict(torch.load(path, map_location="cpu", weights_only=True))
        except (OSError, RuntimeError, ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile) as exc:
            raise TrainingError(f"checkpoint {str(path)!r} is broken: {type(exc).__name__}") from exc
        except Exception as exc:  # the unpickler has an error of its own for what is no plain data
            raise TrainingError(f"checkpoint {str(path)!r} holds more than plain data") from exc
        if state.get("format") != _FORMAT:
            raise TrainingError(f"checkpoint {str(path)!r} is of another version of vsr")
        return state

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}.pt"


def _sync_folder(folder: Path) -> None:
    """Make a rename last; some systems cannot, and need not."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
