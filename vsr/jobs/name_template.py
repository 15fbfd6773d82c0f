"""Names of many outputs by one template: "{folder}/{stem}_x{scale}{suffix}"."""

from __future__ import annotations

import os
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsr.errors import SettingsError
from vsr.settings import nearest
from vsr.stills import formats

__all__ = ["DEFAULT_TEMPLATE", "FIELDS", "NameTemplate", "output_suffix"]

# Sub-folders are kept: films of one name in several of them would else become one file.
DEFAULT_TEMPLATE = "{folder}/{stem}_x{scale}{suffix}"

FIELDS = {
    "stem": "the source's name without its ending",
    "suffix": "the ending of the output, see `output_suffix`",
    "folder": "the source's sub-folder, below the folder or the fixed part of the pattern",
    "scale": "how many times as large: 4, 1.5",
    "preset": "the preset's name; where there is none, the network's",
    "model": "the network's name",
    "number": "the film's place in the batch, from 1; {number:04} has four digits",
}
_HOMES = {"prores": ".mov", "ffv1": ".mkv"}
_KEPT = {".mp4": ".mp4", ".m4v": ".mp4", ".mov": ".mov", ".qt": ".mov"}


def output_suffix(source: Path, codec: str) -> str:
    """The ending of an output, by the source's name alone: ten thousand films are not to be opened before the first.

    MP4 and QuickTime stay what they are. All else becomes Matroska, which holds what any of them may have. ProRes goes
    into QuickTime and FFV1 into Matroska. A picture stays one.
    """
    if source.suffix.lower() in formats.STILL_SUFFIXES:
        return formats.output_suffix(source)
    return _HOMES.get(codec) or _KEPT.get(source.suffix.lower(), ".mkv")


@dataclass(frozen=True, slots=True)
class NameTemplate:
    """A template, checked when it is made.

    Attributes:
        text: a path below the output folder, with fields of `FIELDS` in braces.

    Raises:
        SettingsError: an unknown field (the nearest is named), a stray brace, a format that a field does not have.
    """

    text: str

    def __post_init__(self) -> None:
        if not self.text:
            raise SettingsError("the name template is empty", hint=f"the usual one is {DEFAULT_TEMPLATE!r}")
        try:
            parts = list(string.Formatter().parse(self.text))
        except ValueError as exc:
            raise SettingsError(f"name {self.text!r}: {exc}", hint="a brace that is meant is written twice") from exc
        for _, name, form, conversion in parts:
            if name is None:
                continue
            if name not in FIELDS:
                raise SettingsError(f"name {self.text!r} has an unknown field {name!r}", hint=nearest(name, [*FIELDS]))
            has_form = not form or (name == "number" and form.isdigit() and len(form) <= 2)
            if conversion or not has_form:
                raise SettingsError(f"name {self.text!r}: {name} has no such form", hint="only {number:04} has one")

    @property
    def fields(self) -> frozenset[str]:
        """The fields that it has."""
        return frozenset(name for _, name, _, _ in string.Formatter().parse(self.text) if name is not None)

    def make(self, root: Path, /, **values: Any) -> Path:
        """The output's path.

        Args:
            root: the folder that outputs go to, absolute.
            values: one for each field of `FIELDS` that the template has.

        Raises:
            SettingsError: the name is none, or leaves `root`.
        """
        if "scale" in values:
            values["scale"] = f"{values['scale']:g}"
        name = self.text.format_map(values)
        if self.text.startswith("{folder}/") and not values["folder"]:
            name = name.removeprefix("/")  # of a film that is in no sub-folder
        path = Path(os.path.normpath(root / name))
        if os.path.isabs(name) or root not in path.parents:
            raise SettingsError(
                f"name {self.text!r} gives {name!r}, which leaves the output folder {str(root)!r}",
                hint="names are paths below the output folder",
            )
        if name.endswith("/") or "\0" in name or path.suffix == "":
            raise SettingsError(
                f"name {self.text!r} gives {name!r}, which is no name of a film", hint="end with {suffix}"
            )
        return path
