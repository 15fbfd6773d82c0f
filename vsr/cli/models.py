"""`vsr models list|pull|info|blend`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

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
    from vsr.cli.output_file import check_output, written_whole
    from vsr.model.blending import blend_networks, check_alpha, write_blend
    from vsr.model.loading import load_model

    check_alpha(options.alpha)
    path = Path(options.output)
    check_output(path, ".safetensors", "weights", overwrite=options.overwrite)
    with ScreenProgress() as screen:
        first = load_model(options.first, progress=show_download(screen, options.first))
        second = load_model(options.second, progress=show_download(screen, options.second))
    blend = blend_networks(first, second, options.alpha)
    with written_whole(path, overwrite=options.overwrite) as temporary:
        write_blend(blend, temporary)
    print(path)
    print(
        f"vsr: {1 - options.alpha:.4g} of {first.name} and {options.alpha:.4g} of {second.name}"
        f" ({first.architecture}, x{first.scale})",
        file=sys.stderr,
    )
    return 0
