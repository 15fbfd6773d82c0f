"""`vsr jobs`: films that were broken off, and what is kept of them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from vsr.cli import report_error
from vsr.errors import SourceError, VsrError
from vsr.progress import printable

if TYPE_CHECKING:
    from vsr.pipeline.unfinished import UnfinishedFilm


def run(options: argparse.Namespace) -> int:
    """List unfinished films, or remove what is kept of them."""
    from vsr.pipeline.unfinished import list_unfinished

    for name in options.folders:
        if not Path(name).is_dir():
            raise SourceError(f"there is no folder {name!r}")
    films = list_unfinished([Path(name) for name in options.folders])
    if options.action == "clean":
        return _clean(films, options)
    for film in films:
        print(_to_json(film) if options.json else _describe(film))
    if not films and not options.json:
        print("vsr: nothing is unfinished", file=sys.stderr)
    return 0


def _clean(films: list[UnfinishedFilm], options: argparse.Namespace) -> int:
    from vsr.pipeline.unfinished import remove_unfinished

    status = 0
    for film in films:
        if film.is_running:
            print(f"vsr: note: {printable(film.output)} is being worked on: left alone", file=sys.stderr)
            continue
        try:
            remove_unfinished(film)
        except VsrError as exc:
            status = max(status, report_error(exc))
            continue
        print(_to_json(film) if options.json else f"removed {printable(str(film.folder))}: {_describe(film)}")
    return status


def _describe(film: UnfinishedFilm) -> str:
    total = "an unknown number" if film.num_frames is None else str(film.num_frames)
    begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(film.begun))
    state = ", running now" if film.is_running else ""
    return (
        f"{printable(film.output)}: {film.num_done} of {total} frames of {printable(film.source)}, begun {begun}, "
        f"{film.size / 1e6:.1f} MB{state}"
    )


def _to_json(film: UnfinishedFilm) -> str:
    return json.dumps(asdict(film) | {"folder": str(film.folder)})
