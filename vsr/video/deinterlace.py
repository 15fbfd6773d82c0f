"""Interlaced frames made whole before the network sees them: FFmpeg's bwdif, one frame out per frame in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import av
from av.filter import Graph

from vsr.errors import ProcessingError
from vsr.video.faults import FFMPEG_ERRORS
from vsr.video.timing import Stamped

__all__ = ["deinterlace"]

# bwdif works on planes. Left to itself FFmpeg turns other layouts into whatever it finds near, of 8 bits at times;
# these hold the same samples.
PLANAR = {
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "nv24": "yuv444p",
    "nv42": "yuv444p",
    "p010le": "yuv420p10le",
    "p012le": "yuv420p12le",
    "p016le": "yuv420p16le",
    "p210le": "yuv422p10le",
    "p212le": "yuv422p12le",
    "p216le": "yuv422p16le",
    "p410le": "yuv444p10le",
    "p412le": "yuv444p12le",
    "p416le": "yuv444p16le",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "yvyu422": "yuv422p",
    "y210le": "yuv422p10le",
    "y212le": "yuv422p12le",
    "rgb24": "gbrp",
    "bgr24": "gbrp",
    "rgb0": "gbrp",
    "bgr0": "gbrp",
    "0rgb": "gbrp",
    "0bgr": "gbrp",
    "rgba": "gbrap",
    "bgra": "gbrap",
    "argb": "gbrap",
    "abgr": "gbrap",
    "rgb48le": "gbrp16le",
    "bgr48le": "gbrp16le",
    "rgba64le": "gbrap16le",
    "bgra64le": "gbrap16le",
}


def deinterlace(items: Iterable[Stamped[Any]]) -> Iterator[Stamped[Any]]:
    """Pass frames through until the first one flagged interlaced; from there on through bwdif.

    bwdif leaves frames alone that are not flagged, so that mixed films keep their progressive parts. It looks
    one frame ahead; the frames' own times are kept aside and given back in order, never computed anew.

    Raises:
        ProcessingError: the filter failed, or gave back another number of frames than it got.
    """
    graph: _Bwdif | None = None
    for item in items:
        frame = item.payload
        if graph is not None and not graph.takes(frame):
            yield from graph.flush()
            graph = None
        if graph is None and frame.interlaced_frame:
            graph = _Bwdif(frame)
        if graph is None:
            yield item
        else:
            yield from graph.process(item)
    if graph is not None:
        yield from graph.flush()


class _Bwdif:
    """One filter graph; it serves frames of one size and format."""

    def __init__(self, frame: Any) -> None:
        self._layout = _layout(frame)
        self._waiting: deque[Stamped[Any]] = deque()
        self._graph = Graph()
        source = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        bwdif = self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
        layout = self._graph.add("format", f"pix_fmts={PLANAR.get(frame.format.name, frame.format.name)}")
        sink = self._graph.add("buffersink")
        source.link_to(layout)
        layout.link_to(bwdif)
        bwdif.link_to(sink)
        with _filtering(frame):
            self._graph.configure()
        self._serial = 0

    def takes(self, frame: Any) -> bool:
        return _layout(frame) == self._layout

    def process(self, item: Stamped[Any]) -> Iterator[Stamped[Any]]:
        self._waiting.append(item)
        frame = item.payload
        # The filter refuses missing and repeated timestamps; ours are set aside, so it gets a plain count.
        frame.pts, self._serial = self._serial, self._serial + 1
        with _filtering(frame):
            self._graph.push(frame)
        yield from self._pull()

    def flush(self) -> Iterator[Stamped[Any]]:
        self._graph.push(None)
        yield from self._pull()
        if self._waiting:
            raise ProcessingError(f"the deinterlacing filter kept {len(self._waiting)} frames back")

    def _pull(self) -> Iterator[Stamped[Any]]:
        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            if not self._waiting:
                raise ProcessingError("the deinterlacing filter gave more frames than it got")
            item = self._waiting.popleft()
            yield replace(item, payload=frame)


@contextmanager
def _filtering(frame: Any) -> Iterator[None]:
    """Errors of the filter leave as ProcessingError."""
    try:
        yield
    except FFMPEG_ERRORS as exc:
        raise ProcessingError(
            f"a frame of {frame.width}x{frame.height} {frame.format.name} cannot be deinterlaced: {exc}"
        ) from exc


def _layout(frame: Any) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name
