"""Runs that die at a chosen moment, as `kill -9` or a power cut would have it; `test_faults.py` uses them.

The moments are found by name in vsr itself: just before, in the midst of, or just after a step.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

__all__ = ["MOMENTS", "run"]

# (module, name in it, where in the call the process dies)
MOMENTS = {
    "decode": ("vsr.video.landmarks", "Landmarks.watch", "midst"),
    "encode": ("vsr.video.segment_encoder", "SegmentEncoder.add", "before"),
    "half a packet": ("vsr.video.segment_file", "SegmentFileWriter._write", "half"),
    "drain": ("vsr.video.segment_encoder", "SegmentEncoder.finish", "before"),
    "segment about to be named": ("vsr.video.segment_file", "os.replace", "before"),
    "segment named": ("vsr.video.segment_file", "flush_folder", "before"),
    "half a line of the journal": ("vsr.pipeline.journal", "Journal.record", "half line"),
    "journal about to be written": ("vsr.pipeline.journal", "Journal.record", "before"),
    "journal written": ("vsr.pipeline.journal", "Journal.record", "after"),
    "description about to be written": ("vsr.pipeline.work_folder", "_write_description", "before"),
    "lock taken": ("vsr.pipeline.work_folder", "FileLock", "after"),
    "mux": ("vsr.video.writer", "Writer._mux", "before"),
    "header": ("vsr.video.writer", "Writer._open", "after"),
    "verification": ("vsr.video.writer", "verify", "before"),
    "about to be named": ("vsr.video.writer", "give_name", "before"),
    "two names": ("vsr.video.naming", "os.link", "after"),
    "named": ("vsr.video.writer", "give_name", "after"),
    "work folder half removed": ("vsr.pipeline.work_folder", "_empty", "after"),
}


def run(source: Path, output: Path, weights: Path, moment: str | None, count: int, delay: float | None = None) -> None:
    """Upscale a film in this process, which dies when `moment` has come `count` times, or after `delay` seconds."""
    from vsr.video import segments

    segments.LENGTH, segments.MIN_FRAMES = Fraction(1, 2), 1  # cells of twelve pictures
    import vsr

    if moment is not None:
        _plant(*MOMENTS[moment], count)
    if delay is not None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, lambda *_: _die())
        signal.setitimer(signal.ITIMER_REAL, delay)
    vsr.upscale(source, output, model=str(weights))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _plant(module_name: str, path: str, where: str, count: int) -> None:
    import importlib

    owner: Any = importlib.import_module(module_name)
    *parts, name = path.split(".")
    for part in parts:
        owner = getattr(owner, part)
    original = getattr(owner, name)
    num_left = count

    def is_due() -> bool:
        nonlocal num_left
        num_left -= 1
        return num_left == 0

    replacements: dict[str, Callable[..., Any]] = {
        "before": lambda *args, **options: (_die() if is_due() else None, original(*args, **options))[1],
        "after": lambda *args, **options: (original(*args, **options), _die() if is_due() else None)[0],
        "midst": lambda *args, **options: _mined(original(*args, **options), is_due),
        "half": lambda writer, data: _write_half(writer, data) if is_due() else original(writer, data),
        "half line": lambda journal, entry: _record_half(journal, entry) if is_due() else original(journal, entry),
    }
    replacement = replacements[where]
    if owner is os:  # the module's own view of it, not everybody's
        owner = importlib.import_module(module_name)
        view = type("View", (), {"__getattr__": lambda self, key: replacement if key == name else getattr(os, key)})
        owner.os = view()
        return
    setattr(owner, name, replacement)


def _mined(items: Any, is_due: Callable[[], bool]) -> Any:
    for item in items:
        if is_due():
            _die()
        yield item


def _write_half(writer: Any, data: bytes) -> None:
    writer._file.write(data[: len(data) // 2])
    writer._file.flush()
    _die()


def _record_half(journal: Any, entry: Any) -> None:
    from vsr.pipeline.journal import _write_line

    line = _write_line(entry)
    journal._file.write(line[: len(line) // 2])
    journal._file.flush()
    _die()
