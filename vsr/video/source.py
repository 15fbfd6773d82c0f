"""The door to a film file: opened as FFmpeg should see it, and read packet by packet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vsr.errors import SourceError
from vsr.video.continuity import has_jumping_clock
from vsr.video.faults import reading

__all__ = ["LATE_STREAMS_PROBE", "address", "demux_known", "open_film", "seek"]

# Formats without a list of streams in front: what FFmpeg has not met when it stops looking is lost. Bytes and
# microseconds to look at; FFmpeg's own 5 MB are a second of a good broadcast.
FORMATS_WITH_LATE_STREAMS = ("mpegts", "mpeg", "flv")
LATE_STREAMS_PROBE = {"probesize": "50000000", "analyzeduration": "30000000"}


def address(path: Path) -> str:
    """`path` so that FFmpeg takes it for a file whatever is in it ("12:30 clip.mov" is no protocol)."""
    return f"file:{path}"


def open_film(path: Path, *, hwaccel: Any = None) -> Any:
    """An open PyAV input container; the caller closes it.

    Args:
        hwaccel: PyAV's HWAccel for the decoders of its streams; None: they are software.

    Raises:
        SourceError: there is no such file, or it is no film.
    """
    with reading(path):
        if path.is_dir():
            raise IsADirectoryError(path)
        if path.exists() and not path.is_file():
            raise SourceError(
                f"{str(path)!r} is a pipe or a device", hint="a film is read more than once: save it to a file first"
            )
        # Titles in other encodings than UTF-8 are common in old files; their bytes must come through.
        container = av.open(address(path), metadata_errors="surrogateescape", hwaccel=hwaccel)
        if container.format.name not in FORMATS_WITH_LATE_STREAMS:
            return container
        container.close()
        return av.open(
            address(path), metadata_errors="surrogateescape", container_options=LATE_STREAMS_PROBE, hwaccel=hwaccel
        )


def demux_known(container: Any, stream: Any = None, on_late: Callable[[], None] | None = None) -> Iterator[Any]:
    """Packets of the streams known since the container was opened, or of `stream` alone, in file order.

    Like PyAV's `demux`, which fails at the end of the file where more streams have turned up in the middle. Those
    are left out, and `on_late` is called.
    """
    packets = container.demux() if stream is None else container.demux(stream)
    try:
        yield from packets
    except IndexError:  # PyAV looks up the new streams in its list of the old ones, after all packets
        if on_late is not None:
            on_late()


def seek(container: Any, stream: Any, time: Fraction, margin: Fraction = Fraction(0)) -> None:
    """Go to the key frame of `stream` at or before `time` - `margin` seconds.

    Stays at the beginning where seeking fails, and where a clock may jump: there a time names no place.
    """
    if has_jumping_clock(container):
        return
    try:
        container.seek(int((time - margin) / stream.time_base), stream=stream, backward=True)
    except av.error.FFmpegError:
        return
