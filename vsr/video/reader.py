"""Container -> packets -> frames: the film's pictures in the order of their time, each with its own timestamp."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from vsr.errors import SourceError
from vsr.video.continuity import Continuity, has_jumping_clock
from vsr.video.deinterlace import deinterlace
from vsr.video.faults import reading
from vsr.video.probe import VideoInfo
from vsr.video.source import demux_known, open_film
from vsr.video.timing import Stamped, TimestampRepair, sort_by_time

__all__ = ["Damage", "Picture", "Reader", "Window"]

# Containers that store presentation times. In the others (AVI, raw streams) FFmpeg guesses them from decoding
# times and gets them wrong around B-frames, while the decoder knows the order of the pictures.
FORMATS_WITH_PTS = frozenset(("mov", "matroska", "mpegts", "mpeg", "flv", "asf", "nut", "ogg"))

# More decoder threads than this bring nothing but frames in flight.
MAX_DECODER_THREADS = 8
# Packets kept while looking for the start of a part; a longer group of pictures is decoded from its middle.
MAX_GROUP_PACKETS = 4000
# MP4 is searched by decoding time, which lies this much before presentation at most.
SEEK_MARGIN = Fraction(3)
# Frames before a part that the deinterlacer looks back at.
NUM_LEAD_IN = 2


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame (PyAV's VideoFrame) and its presentation time: `pts` ticks of `time_base` seconds."""

    frame: Any
    pts: int
    duration: int
    time_base: Fraction

    @property
    def time(self) -> Fraction:
        """Seconds."""
        return self.pts * self.time_base


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a film to work on, in the film's own clock: `start` <= time < `end` (None: open), seconds."""

    start: Fraction | None = None
    end: Fraction | None = None

    @classmethod
    def of(cls, info: VideoInfo, start: Fraction | None, duration: Fraction | None) -> Window:
        """`start` and `duration` count from the film's beginning, wherever its clock starts."""
        first = None if start is None else info.start + start
        origin = info.start if first is None else first
        return cls(first, None if duration is None else origin + duration)

    def holds(self, time: Fraction) -> bool:
        return (self.start is None or time >= self.start) and (self.end is None or time < self.end)


@dataclass(slots=True)
class Damage:
    """What was wrong with the source, counted while reading.

    `cut_off` is for whoever reads the file to its end (`truncation.find_truncation`); the reader leaves it None.
    """

    undecodable_packets: int = 0
    corrupt_packets: int = 0
    corrupt_frames: int = 0
    read_error: str | None = None
    missing_timestamps: int = 0
    repaired_timestamps: int = 0
    clock_jumps: int = 0
    late_streams: bool = False
    cut_off: str | None = None

    def is_lossy(self) -> bool:
        """True if pictures may be missing or broken (repaired times are not)."""
        losses = (self.undecodable_packets, self.corrupt_packets, self.corrupt_frames, self.read_error, self.cut_off)
        return any(losses)

    def describe(self) -> list[str]:
        """The counts in words, worst first; empty for a sound film."""
        lines = []
        if self.read_error:
            lines.append(f"reading stopped early: {self.read_error}")
        if self.cut_off:
            lines.append(self.cut_off)
        if self.undecodable_packets:
            lines.append(f"{self.undecodable_packets} video packets could not be decoded")
        if self.corrupt_packets:
            lines.append(f"{self.corrupt_packets} video packets are marked as damaged")
        if self.corrupt_frames:
            lines.append(f"{self.corrupt_frames} frames were decoded with errors")
        if self.missing_timestamps:
            lines.append(f"{self.missing_timestamps} frames had no timestamp; given by the frame before")
        if self.repaired_timestamps:
            lines.append(
                f"{self.repaired_timestamps} timestamps did not increase; moved to just after the frame before"
            )
        if self.clock_jumps:
            lines.append(f"the film's clock jumps {self.clock_jumps} times; the parts were joined, sound alike")
        if self.late_streams:
            lines.append("streams that begin only in the middle of the file, too late to be found, are left out")
        return lines


class Reader:
    """Decodes the main video stream of one film, once.

    Args:
        info: what `probe` found.
        window: the part wanted.
        minimal_step: smallest distance of two timestamps that the output can hold, in ticks of the stream.

    Attributes:
        damage: what was wrong with the source, so far.
        num_deinterlaced: frames flagged interlaced so far, which were made whole; `VideoInfo.interlaced` tells only
            of the first few.
    """

    def __init__(self, info: VideoInfo, window: Window | None = None, minimal_step: int = 1) -> None:
        self._info = info
        self._window = window or Window()
        self._step = minimal_step
        self.damage = Damage()
        self.num_deinterlaced = 0

    def pictures(self) -> Iterator[Picture]:
        """Yield every picture of the window, in presentation order, with strictly increasing timestamps.

        Interlaced pictures come out deinterlaced. What cannot be decoded is counted in `damage` and left out.

        Raises:
            SourceError: the file cannot be opened, or not one picture could be decoded.
        """
        time_base = self._info.time_base
        rate = self._info.frame_rate
        repair = TimestampRepair(time_base, 1 / rate if rate else None, minimal_step=self._step)
        num_pictures = 0
        trust_order = self._info.formats.isdisjoint(FORMATS_WITH_PTS)
        for item in deinterlace(self._count_interlaced(sort_by_time(self._decode(), trust_order=trust_order))):
            pts = repair.repair(item.pts, item.duration)
            self.damage.missing_timestamps = repair.num_missing
            self.damage.repaired_timestamps = repair.num_not_increasing
            if self._window.end is not None and pts * time_base >= self._window.end:
                break
            if self._window.holds(pts * time_base):
                num_pictures += 1
                yield Picture(item.payload, pts, item.duration, time_base)
        if not num_pictures:
            raise SourceError(
                f"{str(self._info.path)!r}: no picture lies in the part asked for",
                hint=f"the film is {float(self._info.duration):.3f} s long" if self._info.duration else None,
            )

    def _count_interlaced(self, items: Iterable[Stamped[Any]]) -> Iterator[Stamped[Any]]:
        for item in items:
            self.num_deinterlaced += item.payload.interlaced_frame
            yield item

    def _decode(self) -> Iterator[Stamped[Any]]:
        """All frames of the window, and the few before it that the deinterlacer looks back at."""
        if self._window.start is None or not self._can_be_entered():
            yield from map(_stamp, self._decode_from(None))
            return
        frames = self._decode_from(self._window.start)
        lead_in: deque[Any] = deque(maxlen=NUM_LEAD_IN)
        for frame in frames:
            if not self._is_in_part(frame):
                lead_in.append(frame)
                continue
            if frame.is_corrupt:
                # Some films cannot be entered at what they call key frames: then from the beginning.
                frames.close()
                self.damage = Damage()
                yield from map(_stamp, self._decode_from(None))
                return
            yield from map(_stamp, lead_in)
            yield _stamp(frame)
            break
        yield from map(_stamp, frames)

    def _can_be_entered(self) -> bool:
        """False where a part can only be had by decoding all before it, because times or pictures hang on it."""
        return not self._info.formats.isdisjoint(FORMATS_WITH_PTS) and self._info.codec != "gif"

    def _decode_from(self, start: Fraction | None) -> Generator[Any, None, None]:
        """Frames from the last key frame that does not lie behind `start` (seconds; None: the beginning)."""
        with open_film(self._info.path) as container, reading(self._info.path):
            stream = container.streams[self._info.main]
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = min(MAX_DECODER_THREADS, os.cpu_count() or 1)
            if start is not None:
                start -= NUM_LEAD_IN / (self._info.frame_rate or Fraction(25))
                seek(container, stream, start, SEEK_MARGIN)
            try:
                for packet in _from_key_frame(self._demux(container, stream), start):
                    yield from self._decode_packet(stream, packet)
            finally:
                # A decoder with frame threads that is dropped half way can hang the process at exit.
                stream.codec_context.flush_buffers()

    def _demux(self, container: Any, stream: Any) -> Iterator[Any]:
        """Packets of `stream`, then None (it drains the decoder), whatever the file does."""
        continuity = Continuity.of(container, self._info.clock_shift, self._info.main)
        packets = demux_known(container, None if continuity.needed else stream, self._note_late_streams)
        try:
            for packet in packets:
                offset = continuity.offset(packet)
                # PyAV ends every stream with an empty packet; its `stream_index` is not to be trusted.
                if not packet.size or packet.stream_index != stream.index:
                    continue
                continuity.shift(packet, offset)
                yield packet
        except av.error.FFmpegError as exc:
            self.damage.read_error = str(exc.strerror)
        self.damage.clock_jumps = continuity.num_jumps
        # Where two streams were joined, the demuxer marks a packet whose number does not follow.
        self.damage.corrupt_packets = max(0, self.damage.corrupt_packets - continuity.num_jumps)
        yield None

    def _note_late_streams(self) -> None:
        self.damage.late_streams = True

    def _decode_packet(self, stream: Any, packet: Any | None) -> list[Any]:
        counts = packet is None or self._is_in_part(packet)
        if packet is not None and packet.is_corrupt:
            self.damage.corrupt_packets += counts
        try:
            frames: list[Any] = stream.decode(packet)
        except av.error.FFmpegError:
            self.damage.undecodable_packets += counts
            return []
        self.damage.corrupt_frames += sum(frame.is_corrupt and self._is_in_part(frame) for frame in frames)
        return frames

    def _is_in_part(self, item: Any) -> bool:
        """False for what is only needed on the way to the window: its damage is none of the part's."""
        time = _time_of(item, self._info.time_base)
        return time is None or self._window.start is None or time >= self._window.start


def _from_key_frame(packets: Iterable[Any | None], start: Fraction | None) -> Iterator[Any | None]:
    """Leave out the packets before the last key frame that does not lie behind `start` (seconds; None: keep all)."""
    group: deque[Any] = deque(maxlen=MAX_GROUP_PACKETS)
    is_reached = start is None
    for packet in packets:
        if is_reached:
            yield packet
            continue
        time = None if packet is None else _time_of(packet, packet.time_base)
        is_key = packet is not None and packet.is_keyframe and time is not None
        is_reached = packet is None or (time is not None and start is not None and time >= start)
        if is_key and (not is_reached or time == start):
            group.clear()
        group.append(packet)
        if is_reached:
            yield from group
            group.clear()


def _stamp(frame: Any) -> Stamped[Any]:
    return Stamped(frame, frame.pts if frame.pts is not None else frame.dts, frame.duration or 0)


def _time_of(item: Any, time_base: Fraction) -> Fraction | None:
    """Seconds of a packet or frame, by its decoding time where it has no other."""
    # The frames that a decoder gives up last have no time base.
    ticks = item.pts if item.pts is not None else item.dts
    return None if ticks is None else ticks * time_base


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
