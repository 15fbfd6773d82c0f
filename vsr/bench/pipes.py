"""8-bit RGB arrays out of a film and into one, through the pipes of two ffmpeg programs, as in usual scripts."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np

from vsr.bench.rgb import Array
from vsr.bench.task import Coding
from vsr.errors import ProcessingError

__all__ = ["find_ffmpeg", "read_rgb", "write_rgb"]

_QUIET = ("-nostdin", "-loglevel", "error")
_RAW = ("-f", "rawvideo", "-pix_fmt", "rgb24")


def find_ffmpeg() -> str | None:
    """The ffmpeg program on PATH, None where there is none."""
    return shutil.which("ffmpeg")


def read_rgb(path: Path, width: int, height: int) -> Iterator[Array]:
    """Every picture of a film of that size, H,W,3. Left early, the program ends.

    Raises:
        ProcessingError: the program fails, or ends in the midst of a picture.
    """
    command = [_program(), *_QUIET, "-i", str(path), *_RAW, "-"]
    num_bytes = height * width * 3
    with (
        tempfile.TemporaryFile() as words,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=words) as process,
    ):
        assert process.stdout is not None
        while content := process.stdout.read(num_bytes):
            if len(content) < num_bytes:
                break
            yield np.frombuffer(content, np.uint8).reshape(height, width, 3)
        if process.wait() or content:
            raise _failure("decoding", path, words)


def write_rgb(path: Path, pictures: Iterable[Array], coding: Coding) -> int:
    """Encode pictures of one size, H,W,3; returns how many there were.

    Raises:
        ProcessingError: there are none, or the program fails.
    """
    iterator = iter(pictures)
    first = next(iterator, None)
    if first is None:
        raise ProcessingError(f"there is no picture to encode to {str(path)!r}")
    height, width = first.shape[:2]
    options = [word for key, value in coding.options.items() for word in (f"-{key}", value)]
    source = [*_RAW, "-video_size", f"{width}x{height}", "-framerate", coding.rate, "-i", "-"]
    target = ["-c:v", coding.encoder, *options, "-pix_fmt", coding.pix_fmt, str(path)]
    command = [_program(), *_QUIET, "-y", *source, *target]
    num_pictures = 0
    with tempfile.TemporaryFile() as words:
        try:
            with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=words) as process:
                assert process.stdin is not None
                for picture in chain([first], iterator):
                    process.stdin.write(picture.tobytes())
                    num_pictures += 1
        except BrokenPipeError as exc:
            raise _failure("encoding", path, words) from exc
        if process.returncode:
            raise _failure("encoding", path, words)
    return num_pictures


def _program() -> str:
    program = find_ffmpeg()
    if program is None:
        raise ProcessingError("there is no ffmpeg program on PATH", hint="install FFmpeg, or let PyAV do its work")
    return program


def _failure(work: str, path: Path, words: IO[Any]) -> ProcessingError:
    words.seek(0)
    lines = words.read().decode(errors="replace").strip().splitlines()
    # The first line has the reason; the later ones are of what failed because of it.
    return ProcessingError(f"ffmpeg failed at {work} {str(path)!r}: {lines[0] if lines else 'it says nothing'}")
