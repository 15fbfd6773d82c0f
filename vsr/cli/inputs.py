"""What the names on the command line mean: each input with the place of its output."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from vsr.errors import OutputError, UsageError

__all__ = ["check_twins", "list_jobs", "make_folder", "wants_folder"]


def wants_folder(options: argparse.Namespace) -> bool:
    """True if `-o` must be a folder: it ends with a slash, or there are several inputs."""
    return options.output is not None and (len(options.inputs) > 1 or options.output.endswith("/"))


def make_folder(options: argparse.Namespace) -> None:
    """Make the folder that the outputs go to, if there must be one.

    Raises:
        UsageError: `-o` is a file or has an empty name.
        OutputError: the folder cannot be made.
    """
    if options.output == "":
        raise UsageError("-o has an empty name")
    if not wants_folder(options):
        return
    folder = Path(options.output)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise UsageError(f"{options.output!r} is a file, where a folder is needed", hint="give a folder with -o")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise OutputError(f"the folder {options.output!r} cannot be made: {exc.strerror}") from exc


def check_twins(options: argparse.Namespace) -> None:
    """Refuse two inputs that would become the same file.

    Raises:
        UsageError: two have one name and go to one folder; or, where existing files are replaced, one stem (the
            output's suffix is not always the input's).
    """
    if len(options.inputs) < 2:
        return
    paths = [Path(name) for name in options.inputs]
    folders = [Path(options.output) if options.output else path.absolute().parent for path in paths]
    places = [
        folder / (path.stem if options.overwrite else path.name) for folder, path in zip(folders, paths, strict=True)
    ]
    for place, path in zip(places, paths, strict=True):
        if places.count(place) > 1:
            raise UsageError(
                f"several inputs share the name of {path.name!r}: they would become one file in {str(place.parent)!r}",
                hint="upscale them in separate runs, into separate folders",
            )


def list_jobs(name: str, options: argparse.Namespace, scale: float) -> list[tuple[Path, Path | None]]:
    """What one name of the command line stands for: inputs with their outputs (None: beside the input).

    A folder of pictures becomes its pictures.

    Raises:
        UsageError: an empty name, or a folder without pictures.
        SourceError: a folder that cannot be read.
    """
    from vsr.pipeline.stills import list_stills, output_path_for, output_path_in

    given = Path(options.output) if options.output else None
    if not name:
        raise UsageError("an input has an empty name")
    source = Path(name)
    if not os.path.isdir(source):  # unlike Path.is_dir, never raises
        return [(source, given)]
    stills, others = list_stills(source)
    if not stills:
        raise UsageError(f"{name!r} is a folder without pictures", hint="films are named one by one")
    if others:
        print(f"vsr: note: {len(others)} entries of {name!r} are no pictures and are left alone", file=sys.stderr)
    folder = output_path_for(source, scale, given if len(options.inputs) == 1 else None)
    if given is not None and len(options.inputs) > 1:
        folder = given / folder.name
    return [(still, output_path_in(folder, still)) for still in stills]
