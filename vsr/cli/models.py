"""`vsr models list|pull|info|blend`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from vsr.errors import OutputError
from vsr.model import catalog
from vsr.progress import ScreenProgress, show_download


def run(options: argparse.Namespace) -> int:
    """List, download, describe or mix networks."""
    if options.action == "list":
        return _list(options)
    if options.action == "pull":
        return _pull(options)
    if options.action == "blend":
        return _blend(options)
    return _info(options)


def _list(options: argparse.Namespace) -> int:
    rows = [_row(entry) for entry in catalog.entries()]
    if options.json:
        print(json.dumps(rows))
        return 0
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        size = f"{row['num_bytes'] / 1e6:.1f} MB"
        facts = f"x{row['scale']}  {size:>8}  {row['state']:8}  {row['licence']:13}"
        print(f"{row['name']:{width}}  {facts} {row['description']}")
    return 0


def _row(entry: catalog.Entry) -> dict[str, Any]:
    if entry.is_embedded:
        state = "inside"
    elif (path := catalog.locate(entry)) is not None:
        state = "here" if path.stat().st_size == entry.num_bytes else "wrong"
    else:
        state = "to pull" if entry.url else "by hand"
    return {
        "name": entry.name,
        "scale": entry.scale,
        "architecture": entry.architecture,
        "num_bytes": entry.num_bytes,
        "sha256": entry.sha256,
        "licence": entry.licence,
        "url": entry.url,
        "state": state,
        "description": entry.description,
    }


def _pull(options: argparse.Namespace) -> int:
    wanted = [catalog.find(name) for name in options.names]
    for entry in wanted:
        with ScreenProgress() as screen:
            path = catalog.fetch(entry, progress=show_download(screen, entry.name))
        print(path)
        print(f"vsr: {entry.name} is here and its checksum is right", file=sys.stderr)
    return 0


def _info(options: argparse.Namespace) -> int:
    from vsr.model.loading import describe, load_model

    facts = describe(load_model(options.name))
    if options.json:
        print(json.dumps(facts))
        return 0
    width = max(len(key) for key in facts)
    for key, value in facts.items():
        print(f"{key.replace('_', ' '):{width}}  {value if value is not None else 'unknown'}")
    return 0


def _blend(options: argparse.Namespace) -> int:
    from vsr.model.blending import blend_networks, check_alpha, write_blend
    from vsr.model.loading import load_model
    from vsr.video.naming import give_name, remove_stale, temporary_name

    check_alpha(options.alpha)
    path = _check_blend_output(options)
    with ScreenProgress() as screen:
        first = load_model(options.first, progress=show_download(screen, options.first))
        second = load_model(options.second, progress=show_download(screen, options.second))
    blend = blend_networks(first, second, options.alpha)
    temporary = temporary_name(path)
    try:
        remove_stale(path)
        write_blend(blend, temporary)
        give_name(temporary, path, options.overwrite)
    except OSError as exc:
        raise OutputError(
            f"{str(path)!r} cannot be written: {exc.strerror or exc}",
            hint="choose another place with -o",
        ) from exc
    finally:
        temporary.unlink(missing_ok=True)
    print(path)
    print(
        f"vsr: {1 - options.alpha:.4g} of {first.name} and {options.alpha:.4g} of {second.name}"
        f" ({first.architecture}, x{first.scale})",
        file=sys.stderr,
    )
    return 0


def _check_blend_output(options: argparse.Namespace) -> Path:
    path = Path(options.output)
    if path.suffix.lower() != ".safetensors":
        raise OutputError(f"{str(path)!r} is no name for weights", hint="give a name ending in .safetensors with -o")
    if os.path.isdir(path):
        raise OutputError(f"{str(path)!r} is a folder", hint="give the name of a file with -o")
    if os.path.lexists(path) and not options.overwrite:
        raise OutputError(f"{str(path)!r} exists already", hint="use --overwrite, or another name with -o")
    if not os.path.isdir(path.parent):
        raise OutputError(f"there is no folder {str(path.parent)!r}", hint="make it, or choose another with -o")
    return path
