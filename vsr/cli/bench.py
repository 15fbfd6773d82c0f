"""`vsr bench`: how fast everything is on this machine, and how near to what it can do, as a table or as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from vsr.bench.request import PARTS, Request
from vsr.cli.options import read_settings
from vsr.progress import ScreenProgress, printable, show_download


def run(options: argparse.Namespace) -> int:
    """Measure, then print; words about what is under way go to stderr."""
    models = tuple(options.model or ())
    own = argparse.Namespace(**vars(options) | {"model": models[0] if models else None})
    request = Request(
        settings=read_settings(own),
        models=models,
        source=None if options.input is None else Path(options.input),
        num_frames=options.frames,
        num_runs=options.runs,
        parts=tuple(part for part in PARTS if part in (options.only or PARTS)),
    )
    from vsr.bench.session import run_bench
    from vsr.bench.table import format_results

    with ScreenProgress() as screen:
        results = run_bench(request, tell=_tell, on_download=lambda name: show_download(screen, name))
    if options.json:
        print(json.dumps(results.as_dict(), allow_nan=False))
    else:
        print("\n".join(map(printable, format_results(results).splitlines())))
    return 0


def _tell(line: str) -> None:
    print(f"vsr: {printable(line)}", file=sys.stderr)
