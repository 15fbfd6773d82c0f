"""`vsr presets list|show`."""

from __future__ import annotations

import argparse
import json

from vsr.settings import list_presets, load_preset


def run(options: argparse.Namespace) -> int:
    """List the presets, or print the file of one."""
    if options.action == "show":
        print(load_preset(options.name).path.read_text(encoding="utf-8"), end="")
        return 0
    presets = list_presets()
    if options.json:
        print(json.dumps([{"name": preset.name, **preset.values} for preset in presets]))
        return 0
    width = max(len(preset.name) for preset in presets)
    for preset in presets:
        print(f"{preset.name:{width}}  {preset.description}")
    return 0
