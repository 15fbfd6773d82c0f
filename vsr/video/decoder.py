"""Where frames come from: what every decoder gives to the reader, and FFmpeg's own decoders."""

from __future__ import annotations

import atexit
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, Protocol

import av

from vsr.video.damage import Damage
from vsr.video.faults import reading
from vsr.video.packets import demux_main, skip_to_key_frame, time_of
from vsr.video.probe import VideoInfo
from vsr.video.source import open_film, seek

__all__ = ["NUM_LEAD_IN", "Decoder", "SoftwareDecoder"]

# More decoder threads than this bring nothing but frames in flight.
MAX_DECODER_THREADS = 8
# MP4 is searched by decoding time, which lies this much before presentation at most.
SEEK_MARGIN = Fraction(3)
# Frames before a part that the deinterlacer looks back at.
NUM_LEAD_IN = 2


# Contexts of decoders at work.
_at_work: set[Any] = set()


@contextmanager
def _flushing(context: Any) -> Iterator[None]:
    """Flushes a decoder at the end of the block: one with frame threads that is dropped half way can hang the process.

    A block that nobody ends is ended when the process exits, and before the interpreter is taken down: from then on a
    frame thread that asks for Python's lock is gone without a word, and flushing would wait for it for ever.
    """
    _at_work.add(context)
    try:
        yield
    finally:
        _at_work.discard(context)
        context.flush_buffers()


@atexit.register
def _flush_all() -> None:
    for context in list(_at_work):
        context.flush_buffers()


class Decoder(Protocol):
    """A source of the frames of one film.

    Attributes:
        name: what really decoded so far: "software", "nvdec", "dali", or two of them where one took over.
        notes: what the user should know of it, each a sentence.
    """

    @property
    def name(self) -> str: ...

    @property
    def notes(self) -> list[str]: ...

    def frames(self, begin: Fraction | None, damage: Damage, *, enter: bool = True) -> Generator[Any, None, None]:
        """Every frame from `begin` on (seconds; None: all), and some of those before it.

        Frames are PyAV's, or `DeviceFrame`s; with `pts` and `duration` in ticks of the stream, in the decoder's order.
        Closing the generator early frees the decoder and leaves no thread behind.

        Args:
            damage: where losses are counted; those before `begin` are not.
            enter: the file may be entered at the last key frame before `begin`; False: it is decoded from its start.

        Raises:
            SourceError: the file cannot be opened.
        """
        ...


class SoftwareDecoder:
    """FFmpeg's decoders, on the CPU: they take every film that FFmpeg can read."""

    def __init__(self, info: VideoInfo) -> None:
        self._info = info
        self.notes: list[str] = []

    @property
    def name(self) -> str:
        return "software"

    def frames(self, begin: Fraction | None, damage: Damage, *, enter: bool = True) -> Generator[Any, None, None]:
        """See `Decoder`."""
        info = self._info
        with self._open() as container, reading(info.path):
            stream = container.streams[info.main]
            self._prepare(stream)
            entry = None
            if begin is not None and enter:
                entry = begin - NUM_LEAD_IN / (info.frame_rate or Fraction(25))
                seek(container, stream, entry, SEEK_MARGIN)
            with _flushing(stream.codec_context):
                for packet in skip_to_key_frame(demux_main(info, container, damage), entry):
                    yield from self._decode(stream, packet, begin, damage)
                yield from self._decode(stream, None, begin, damage)

    def _open(self) -> Any:
        return open_film(self._info.path)

    def _prepare(self, stream: Any) -> None:
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = min(MAX_DECODER_THREADS, os.cpu_count() or 1)

    def _decode(self, stream: Any, packet: Any | None, begin: Fraction | None, damage: Damage) -> list[Any]:
        """The frames that a packet brings; None drains the decoder."""
        counts = packet is None or self._is_in_part(packet, begin)
        if packet is not None and packet.is_corrupt:
            damage.corrupt_packets += counts
        try:
            frames: list[Any] = stream.decode(packet)
        except av.error.FFmpegError:
            damage.undecodable_packets += counts
            return []
        damage.corrupt_frames += sum(frame.is_corrupt and self._is_in_part(frame, begin) for frame in frames)
        return frames

    def _is_in_part(self, item: Any, begin: Fraction | None) -> bool:
        """False for what is only needed on the way to the part: its damage is none of the part's."""
        time = time_of(item, self._info.time_base)
        return time is None or begin is None or time >= begin
