"""`vsr train`: a recipe and pictures in, weights out."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from vsr.errors import Interrupted, UsageError
from vsr.progress import Progress, ScreenProgress, SilentProgress, printable

INTERRUPTED = 130


def run(options: argparse.Namespace) -> int:
    """Train; what happens on the way goes to stderr, with --json the summary to stdout."""
    from vsr.training.loop import train
    from vsr.training.recipe_file import load_recipe

    recipe = load_recipe(options.recipe, _read_overrides(options.set or []))
    with ScreenProgress() as screen:
        progress: Progress = SilentProgress() if options.quiet or options.json else screen
        try:
            summary = train(
                recipe,
                [Path(folder) for folder in options.data],
                Path(options.out),
                resume=options.resume,
                device=options.device,
                progress=progress,
                say=None if options.quiet else _say,
            )
        except Interrupted as exc:
            screen.finish()
            print(f"vsr: {exc}\nhint: the same command with --resume goes on from there", file=sys.stderr)
            return INTERRUPTED
        except KeyboardInterrupt:  # before the first step, or a second Ctrl-C
            screen.finish()
            print("vsr: interrupted\nhint: --resume goes on from the last checkpoint, if there is one", file=sys.stderr)
            return INTERRUPTED
    if summary is None:  # not the first of several processes
        return 0
    if options.json:
        print(json.dumps(summary.as_dict()), flush=True)
    elif not options.quiet:
        speed = f"{summary.images_per_second:.1f} images/s, {summary.matrix_share:.0%} of the machine's matrix rate"
        wait = f"{summary.data_wait:.1%} of the time waited for data"
        _say(f"{summary.output}: {summary.steps} steps in {summary.seconds / 60:.1f} min; {speed}; {wait}")
        if summary.stopped:
            _say(f"stopped before the last step: {summary.stopped}; --resume goes on")
    return 0


def _read_overrides(words: list[str]) -> dict[str, str]:
    overrides = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {word!r} is not key=value", hint="for instance --set run.steps=1000")
        overrides[key.strip()] = value.strip()
    return overrides


def _say(line: str) -> None:
    from tqdm import tqdm

    tqdm.write(f"vsr: {printable(line)}", file=sys.stderr)  # above the bar, where there is one
