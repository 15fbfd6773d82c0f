"""`vsr upscale`: several inputs, one after the other; the first that fails does not stop the rest."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

from vsr.cli import report_error
from vsr.cli.inputs import check_twins, list_jobs, make_folder
from vsr.cli.options import read_settings
from vsr.errors import Interrupted
from vsr.progress import Progress, ScreenProgress, SilentProgress, printable, show_download
from vsr.settings import Settings

if TYPE_CHECKING:
    from vsr.pipeline.report import Report

T = TypeVar("T")


def run(options: argparse.Namespace) -> int:
    """Upscale every input; the worst status of all."""
    settings = read_settings(options)
    if options.dry_run:
        from vsr.cli import probe

        return probe.run(options)
    check_twins(options)
    make_folder(options)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)
    with ScreenProgress() as screen:
        progress: Progress = SilentProgress() if options.quiet or options.json else screen
        return _upscale_all(options, settings, progress)


def _upscale_all(options: argparse.Namespace, settings: Settings, progress: Progress) -> int:
    from vsr.api import make_upscaler, upscale

    cancel = threading.Event()
    _announce_download(settings.model, options)
    upscaler = make_upscaler(settings, cancel=cancel, on_download=show_download(progress, settings.model))
    progress.finish()
    status = 0

    def attempt(work: Callable[[], T]) -> T | None:
        """One input's failure is told, and counts, and does not stop the rest."""
        nonlocal status
        try:
            return work()
        except Interrupted:
            raise
        except Exception as exc:
            if options.debug:
                raise
            status = max(status, report_error(exc))
            return None

    for name in options.inputs:
        for source, output in attempt(partial(list_jobs, name, options, upscaler.scale)) or ():
            report = attempt(
                partial(upscale, source, output, settings=settings, upscaler=upscaler, progress=progress, cancel=cancel)
            )
            if report is not None:
                status = max(status, _show(report, options, settings))
    return status


def _show(report: Report, options: argparse.Namespace, settings: Settings) -> int:
    """Tell what was done; returns the status that a damaged source earns."""
    for warning in report.warnings:
        print(f"vsr: note: {printable(warning)}", file=sys.stderr)
    if options.json:
        print(json.dumps(report.as_dict()), flush=True)
    elif not options.quiet:
        what = "1 picture" if report.kind == "image" else f"{report.frames_out} frame{'s' * (report.frames_out != 1)}"
        if report.frames_resumed:
            what += f" ({report.frames_resumed} by an earlier run)"
        width, height = report.size_out
        speed = f"{report.seconds:.1f} s ({report.fps:.2f} frames/s)"
        how = f"{report.model} in {report.precision} on {report.device}"
        print(f"{printable(report.output)}: {what}, {width}x{height}, {speed}, {how}, verified", file=sys.stderr)
    if not report.damaged or settings.allow_corrupt:
        return 0
    print(f"vsr: {report.input!r} is damaged: what could be decoded is in {report.output!r}", file=sys.stderr)
    print("hint: --allow-corrupt makes this status 0", file=sys.stderr)
    return 1


def _announce_download(model: str, options: argparse.Namespace) -> None:
    from vsr.model import catalog

    entry = next((entry for entry in catalog.entries() if entry.name == model), None)
    if entry is not None and entry.url is not None and catalog.locate(entry) is None and not options.quiet:
        print(f"vsr: the weights of {model} are not here yet: downloading {entry.url}", file=sys.stderr)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
