"""An entry of a batch: films that are named together, with what is to be made of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsr.errors import SettingsError, UsageError
from vsr.jobs.film_search import fixed_part, is_pattern, match_films, walk_films
from vsr.jobs.job import Job
from vsr.jobs.name_template import NameTemplate, output_suffix
from vsr.settings import Settings, load_preset

__all__ = ["Entry", "list_jobs", "merge_settings"]

# Devices belong to the machine; the others are asked of one run, and make no other film.
_NOT_OF_A_FILM = ("device", "overwrite", "fresh")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry.

    Attributes:
        label: what messages call it.
        folder: where `input` begins, absolute.
        input: a path of a film or of a folder, or a pattern.
        output: the folder that outputs go to, absolute.
        template: their names in it.
        settings: of `Settings`, checked, as plain values of JSON.
        preset: the name of the preset in them, for names of outputs; None without one.
        is_recursive: of a folder, the films of its folders too.
    """

    label: str
    folder: Path
    input: str
    output: Path
    template: NameTemplate
    settings: Mapping[str, Any]
    preset: str | None = None
    is_recursive: bool = False

    def find_films(self, known_outputs: Collection[Path]) -> Iterator[tuple[Path, str]]:
        """Each film with its sub-folder, "" for none.

        Of what a folder or a pattern has, the outputs of earlier runs are none, nor is anything in the output folder,
        where that lies deeper than the folder itself.

        Raises:
            SourceError: a folder cannot be read.
        """
        path = Path(os.path.normpath(self.folder / self.input))
        if os.path.isdir(path):
            base, found = path, walk_films(path, recursive=self.is_recursive)
        elif is_pattern(self.folder, self.input):
            base, found = fixed_part(self.folder, self.input), match_films(self.folder, self.input)
        else:
            yield path, ""
            return
        is_below = base in self.output.parents
        for film in found:
            if film not in known_outputs and not (is_below and self.output in film.parents):
                yield film, film.parent.relative_to(base).as_posix().removeprefix(".")


def merge_settings(levels: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], str | None]:
    """The settings of a film from general to particular, presets resolved, and the last preset's name.

    A level's own values win over its preset, and both over the levels before it. What comes out does not change when a
    preset's file does: then the settings of the film are others.

    Raises:
        SettingsError: an unknown key (the nearest one is named), a value out of range, a preset that is not to be had.
    """
    merged: dict[str, Any] = {}
    name = None
    for level in levels:
        values = dict(level)
        for key in _NOT_OF_A_FILM:
            if key in values:
                raise SettingsError(f"{key} is no setting of a film in a batch", hint=f"--{key} on the command line")
        if (preset := values.pop("preset", None)) is not None:
            if not isinstance(preset, str):
                raise SettingsError(f"preset {preset!r} is not a name or a file")
            loaded = load_preset(preset)
            name = loaded.name
            merged |= {key: value for key, value in loaded.values.items() if key != "description"}
        merged |= values
    for key, value in merged.items():
        if not isinstance(value, str if key == "model" else (str, int, float, list)):
            raise SettingsError(f"{key} {value!r} is of a wrong kind")
        if key in ("scale", "crf") and type(value) is int:
            merged[key] = float(value)  # 2 in a file is the 2.0 of a flag: not other settings
    try:
        Settings.from_options(**merged)
    except (TypeError, AttributeError) as exc:  # a list, where a word or a number is wanted
        raise SettingsError(f"a setting is of a wrong kind: {exc}") from exc
    return merged, name


def list_jobs(
    entries: Iterable[Entry],
    find_scale: Callable[[str, float | None], float],
    *,
    known_outputs: Collection[Path] = (),
    say: Callable[[str], None] = lambda _: None,
) -> list[Job]:
    """All films of a batch, in order, each with its output.

    Args:
        find_scale: how many times a network enlarges, from its name or file and the scale asked for.
        known_outputs: files that earlier runs made.
        say: hears of entries that have no film.

    Raises:
        UsageError: there is no film at all; an output comes out twice, or is an input.
        SettingsError: a name leaves the output folder.
    """
    jobs: list[Job] = []
    makers: dict[Path, Path] = {}
    for entry in entries:
        settings = Settings.from_options(**entry.settings)
        values: dict[str, Any] = {
            "model": Path(settings.model).stem,
            "preset": entry.preset or Path(settings.model).stem,
        }
        if "scale" in entry.template.fields:
            values["scale"] = find_scale(settings.model, settings.scale)
        before = len(jobs)
        for source, folder in entry.find_films(known_outputs):
            suffix = output_suffix(source, settings.codec)
            output = entry.template.make(
                entry.output, stem=source.stem, suffix=suffix, folder=folder, number=len(jobs) + 1, **values
            )
            if output in makers:
                raise UsageError(
                    f"{str(output)!r} would be made twice: of {str(makers[output])!r} and of {str(source)!r}",
                    hint="tell them apart by the name, for instance with {folder}, {preset} or {number}",
                )
            makers[output] = source
            jobs.append(Job(source, output, entry.settings))
        if len(jobs) == before:
            say(f"{entry.label} names no film: {entry.input}")
    if not jobs:
        raise UsageError("there is no film to be made larger", hint="a folder's sub-folders count with --recursive")
    for job in jobs:
        if job.source in makers:
            raise UsageError(
                f"{str(job.source)!r} is an input, and would be the output of {str(makers[job.source])!r}",
                hint="choose another output folder, or another name",
            )
    return jobs
