"""A batch as a TOML file: [defaults], and one [[film]] for each film or pattern. samples/batch.toml shows all of it."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from vsr.errors import SettingsError
from vsr.jobs.entry import Entry, merge_settings
from vsr.jobs.name_template import DEFAULT_TEMPLATE, NameTemplate
from vsr.settings import Settings, nearest

__all__ = ["read_batch_file"]

_OF_FILES = ("input", "output", "name")
_KEYS = (*_OF_FILES, "preset", *(field.name for field in fields(Settings)))


def read_batch_file(
    path: Path, flags: Mapping[str, Any], *, output: Path | None = None, name: str | None = None
) -> list[Entry]:
    """The entries of the file, in order.

    Settings come from [defaults], then from the film's own table, then from `flags`, the later winning; paths are
    relative to the file.

    Args:
        flags: settings given on the command line.
        output, name: given there: they win over those of the file.

    Raises:
        SettingsError: it cannot be read; a key is unknown (the nearest is named), a value is out of range or missing.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise SettingsError(f"batch file {str(path)!r} cannot be read: {exc}") from exc
    for key in content:
        if key not in ("defaults", "film"):
            raise SettingsError(
                f"batch file {str(path)!r} has an unknown table {key!r}", hint=nearest(key, ("defaults", "film"))
            )
    defaults, films = content.get("defaults", {}), content.get("film", [])
    if not isinstance(defaults, dict) or not isinstance(films, list) or not all(isinstance(f, dict) for f in films):
        raise SettingsError(f"batch file {str(path)!r}: write [defaults] and [[film]]")
    reader = _Reader(path.absolute().parent, defaults, flags, output, name)
    entries = []
    for number, film in enumerate(films, 1):
        label = f"film {number}"
        try:
            entries.append(reader.read(label, film))
        except SettingsError as exc:
            raise SettingsError(f"batch file {str(path)!r}, {label}: {exc.message}", hint=exc.hint) from exc
    return entries


class _Reader:
    """Makes entries of tables. What many films have in common is worked out once."""

    def __init__(
        self, folder: Path, defaults: Mapping[str, Any], flags: Mapping[str, Any], output: Path | None, name: str | None
    ) -> None:
        self._folder, self._defaults, self._flags = folder, defaults, flags
        self._output, self._name = output, name
        self._merged: dict[str, tuple[dict[str, Any], str | None]] = {}

    def read(self, label: str, film: Mapping[str, Any]) -> Entry:
        for table in (self._defaults, film):
            for key in table:
                if key not in _KEYS:
                    raise SettingsError(f"there is no key {key!r}", hint=nearest(key, _KEYS))
        if "input" not in film or "input" in self._defaults:
            raise SettingsError("each film has an input, and [defaults] has none", hint='input = "tapes/*.avi"')
        for key in _OF_FILES:
            if not isinstance(film.get(key, self._defaults.get(key, "")), str):
                raise SettingsError(f"{key} is not a text in quotes")
        output = self._output or film.get("output") or self._defaults.get("output")
        if not output:
            raise SettingsError("there is no output folder", hint='output = "restored" in [defaults], or -o')
        name = self._name or film.get("name", self._defaults.get("name", DEFAULT_TEMPLATE))
        settings, preset = self._merge(film)
        return Entry(
            label, self._folder, os.path.expanduser(film["input"]), Path(self._place(output)), NameTemplate(name),
            settings, preset,
        )  # fmt: skip

    def _merge(self, film: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
        own = {key: value for key, value in film.items() if key not in _OF_FILES}
        text = json.dumps(own, sort_keys=True, default=str)
        if text not in self._merged:
            general = {key: value for key, value in self._defaults.items() if key not in _OF_FILES}
            self._merged[text] = merge_settings((self._find_files(general), self._find_files(own), self._flags))
        return self._merged[text]

    def _find_files(self, values: dict[str, Any]) -> dict[str, Any]:
        """Presets and networks that are files lie where the batch file says, and not where it is read from."""
        for key in ("preset", "model"):
            value = values.get(key)
            if isinstance(value, str) and os.path.isfile(place := self._place(value)):
                values[key] = place
        return values

    def _place(self, path: str | Path) -> str:
        """Absolute; a leading ~ is the home folder."""
        return os.path.normpath(self._folder / os.path.expanduser(path))
