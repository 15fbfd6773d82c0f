"""Keeping the pictures that came out: FOLDER/DATA/MODEL/NAME.png."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from vsr.errors import OutputError
from vsr.evaluation.sources import Pixels
from vsr.stills import Still, write_still

__all__ = ["OutputFolder"]

_ANOTHER = "give another folder with --save"


@dataclass(frozen=True, slots=True)
class OutputFolder:
    """Where outputs are kept; existing files are replaced only with `overwrite`."""

    path: Path
    overwrite: bool = False

    def save(self, data: str, model: str, name: str, picture_HWC: Pixels) -> Path:
        """Write one picture as PNG; returns its path.

        Raises:
            OutputError: the file exists, or cannot be written.
        """
        folder = self.path / _flat(data) / _flat(model)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise OutputError(f"the folder {str(folder)!r} cannot be made: {exc.strerror}", hint=_ANOTHER) from exc
        path = folder / f"{_flat(name)}.png"
        try:
            write_still(path, Still(pixels=picture_HWC), overwrite=self.overwrite)
        except OutputError as exc:  # its hint is of `vsr upscale`
            hint = f"use --overwrite, or {_ANOTHER}" if os.path.lexists(path) and not self.overwrite else exc.hint
            raise OutputError(exc.message, hint=hint) from exc
        return path


def _flat(name: str) -> str:
    """`name` as one part of a path."""
    return name.replace("/", "_").replace("\\", "_")
