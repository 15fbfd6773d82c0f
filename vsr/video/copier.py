"""The streams that are not upscaled: read a second time from the source and handed on packet by packet.

The copier reads the source in file order, beside the decoder, and keeps pace with the pictures that are
written: so the output is interleaved as the source was, and nothing piles up in memory. It does not know
where the pictures come from, which is what lets them be computed elsewhere or earlier.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from fractions import Fraction
from typing import Any

import av

from vsr.errors import SourceError
from vsr.video.containers import COVER_SUFFIX, StreamPlan
from vsr.video.continuity import Continuity
from vsr.video.copied_stream import CopiedStream
from vsr.video.faults import reading
from vsr.video.metadata import part_metadata
from vsr.video.probe import VideoInfo
from vsr.video.reader import Window
from vsr.video.source import demux_known, open_film, seek
from vsr.video.subtitles import MOV_TEXT_HEADER, Cue, Flattener, convert_text, pack_timed_text
from vsr.video.timing import rescale

__all__ = ["Copier"]

# Sound may lie some seconds before its picture in the file; a cut starts reading that much earlier.
INTERLEAVE_MARGIN = Fraction(5)


class Copier:
    """Hands the packets of the copied streams to a muxer.

    Args:
        info: what `probe` found.
        window: the part of the film wanted.

    Attributes:
        num_read: packets read so far, by stream of the source (all streams, copied or not).
        ends: when the last packet read ends, by stream of the source, in seconds of the film's clock.
        read_error: why reading stopped early, None for a sound file.
    """

    def __init__(self, info: VideoInfo, window: Window | None = None) -> None:
        self._info = info
        self._window = window or Window()
        self._container = open_film(info.path)
        self._streams: dict[int, CopiedStream] = {}
        self._pending: Any = None
        self.num_read: dict[int, int] = {}
        self.ends: dict[int, Fraction] = {}
        self.read_error: str | None = None
        self._decoding_times: dict[int, Fraction] = {}  # of the last packet read, by stream of the source
        self._packets = self._demux()

    @property
    def streams(self) -> tuple[CopiedStream, ...]:
        return tuple(self._streams.values())

    @property
    def latest(self) -> Fraction | None:
        """When the last packet read of any stream ends, in seconds; None before the first."""
        return max(self.ends.values(), default=None)

    def notes(self) -> list[str]:
        """What of the copied streams is not in the output, or not at its time, in words; complete once all packets
        are handed on."""
        left_out = [
            f"video stream #{stream.plan.stream.index}: {stream.num_waited} packets left out at the start of the part, "
            "which cannot be shown without the key frame before it"
            for stream in self.streams
            if stream.num_waited
        ]
        moved = [
            f"{stream.plan.stream.kind} stream #{stream.plan.stream.index}: the times of {stream.num_moved} packets "
            "were out of order and had to be moved"
            for stream in self.streams
            if stream.num_moved
        ]
        return left_out + moved

    def close(self) -> None:
        self._packets.close()
        self._container.close()

    def disposition(self, plan: StreamPlan) -> Any:
        """FFmpeg's disposition flags of a source stream."""
        return self._container.streams[plan.stream.index].disposition

    def add_stream(self, container: Any, plan: StreamPlan) -> None:
        """Add the output's counterpart of one source stream to an output container (before its header is written)."""
        source = self._container.streams[plan.stream.index]
        if plan.action == "attach":
            self._attach_cover(container, plan, source)
            return
        if plan.action == "convert" and plan.target == "mov_text":
            output = container.add_stream("mov_text")
            output.codec_context.subtitle_header = MOV_TEXT_HEADER
            output.time_base = Fraction(1, 1000)
        elif plan.action == "convert":
            output = container.add_mux_stream(plan.target, time_base=Fraction(1, 1000))
        else:
            output = container.add_stream_from_template(source, opaque=True)
        is_whole = self._window == Window() and plan.action == "copy"
        output.metadata.update(plan.stream.metadata if is_whole else part_metadata(plan.stream))
        output.disposition = source.disposition
        if plan.stream.kind != "attachment":
            exact = plan.action == "copy" and not _is_reframed(source, container.format.name)
            increasing = plan.stream.kind != "subtitle" and not _takes_equal_times(container.format)
            flattener = Flattener() if plan.target == "mov_text" else None
            self._streams[source.index] = CopiedStream(plan, output, output.index, exact, increasing, flattener)

    def packets_until(self, time: Fraction | None, shift: Fraction) -> Iterator[Any]:
        """Yield packets ready for the muxer, up to `time` seconds of the source's clock (None: all that is left).

        Args:
            shift: seconds added to every time (a part of a film starts at zero).
        """
        while True:
            if self._pending is None:
                self._pending = next(self._packets, None)
            if self._pending is None:
                for copied in self.streams:
                    yield from self._settle(copied, None)
                return
            stream, packet, decoding_time = self._pending
            if time is not None and decoding_time is not None and decoding_time > time:
                return
            self._pending = None
            if stream is not None:
                yield from self._prepare(stream, packet, shift)
            if decoding_time is not None:
                for copied in self.streams:
                    yield from self._settle(copied, decoding_time + shift - INTERLEAVE_MARGIN)

    def _demux(self) -> Generator[tuple[CopiedStream | None, Any, Fraction | None], None, None]:
        """All packets in file order with their decoding time; those of streams not copied only tell the time."""
        continuity = Continuity.of(self._container, self._info.clock_shift, self._info.main)
        if self._window.start is not None and self._window.start > self._info.start:
            seek(self._container, self._container.streams[self._info.main], self._window.start, INTERLEAVE_MARGIN)
        try:
            with reading(self._info.path):
                for packet in demux_known(self._container):
                    if not packet.size:
                        continue
                    continuity.shift(packet, continuity.offset(packet))
                    self._note_end(packet)
                    ticks = packet.dts if packet.dts is not None else packet.pts
                    time = None if ticks is None else ticks * packet.time_base
                    if time is not None:
                        self._decoding_times[packet.stream_index] = time
                        if self._is_past_window():
                            return
                    yield self._streams.get(packet.stream_index), packet, time
        except SourceError as exc:
            self.read_error = exc.message  # what could be read was handed on; the run reports the rest

    def _is_past_window(self) -> bool:
        """True once every stream has gone past the end of the part: the rest of a long file need not be read."""
        end = self._window.end
        if end is None:
            return False
        waited_for = [stream.index for stream in self._info.streams if stream.kind in ("video", "audio")]
        return all(index in self._decoding_times and self._decoding_times[index] >= end for index in waited_for)

    def _note_end(self, packet: Any) -> None:
        index = packet.stream_index
        self.num_read[index] = self.num_read.get(index, 0) + 1
        ticks = packet.pts if packet.pts is not None else packet.dts
        if ticks is not None:
            end = (ticks + (packet.duration or 0)) * packet.time_base
            self.ends[index] = max(self.ends.get(index, end), end)

    def _prepare(self, stream: CopiedStream, packet: Any, shift: Fraction) -> Iterator[Any]:
        if not self._is_wanted(stream, packet):
            return
        if stream.plan.action == "convert":
            packet = _convert(packet, stream.plan)
            if packet is None:
                return
        Continuity.shift(packet, shift)
        if stream.plan.stream.kind == "subtitle" and self._window.start is not None and not _clip_at_zero(packet):
            return
        if stream.flattener is None or packet.pts is None:
            yield _address(stream, packet)
            return
        cue = _read_cue(packet, stream.time_base)
        yield from _write_cues(stream, stream.flattener.add(cue))

    def _settle(self, stream: CopiedStream, time: Fraction | None) -> Iterator[Any]:
        """The texts of `stream` that no cue can change any more, now that all was read up to `time` (None: to the
        end). Without it a text would be written as late as the next one, however far off that is."""
        flattener = stream.flattener
        if flattener is None:
            return
        ticks = None if time is None else int(time / stream.time_base)
        if ticks is None or flattener.is_over(ticks):
            yield from _write_cues(stream, flattener.settle(ticks))

    def _is_wanted(self, stream: CopiedStream, packet: Any) -> bool:
        kind = stream.plan.stream.kind
        if kind == "cover" or packet.pts is None:
            return True
        start = packet.pts * packet.time_base
        if kind == "subtitle":
            return self._clip_start(packet, start) and (self._window.end is None or start < self._window.end)
        if kind == "video":
            return self._is_wanted_video(stream, packet, start)
        return self._window.holds(start)

    def _is_wanted_video(self, stream: CopiedStream, packet: Any, start: Fraction) -> bool:
        """A copied film cannot be cut between key frames, and it ends by decoding order: its last pictures need it."""
        decoding = packet.dts * packet.time_base if packet.dts is not None else start
        if self._window.end is not None and decoding >= self._window.end:
            return False
        if self._window.start is None:
            return True
        if start < self._window.start:
            return False
        if not stream.num_muxed and not packet.is_keyframe:
            stream.num_waited += 1
            return False
        return True

    def _clip_start(self, packet: Any, start: Fraction) -> bool:
        """A line that is on screen at the cut belongs to the part, from the cut on; False for one that is over."""
        if self._window.start is None or start >= self._window.start:
            return True
        end = start + (packet.duration or 0) * packet.time_base
        if end <= self._window.start:
            return False
        cut = round(self._window.start / packet.time_base)
        packet.duration = packet.pts + (packet.duration or 0) - cut
        packet.pts = packet.dts = cut
        return True

    def _attach_cover(self, container: Any, plan: StreamPlan, source: Any) -> None:
        suffix, mime = COVER_SUFFIX[plan.stream.codec or ""]
        with open_film(self._info.path) as film:
            packet = next(film.demux(film.streams[source.index]))
            output = container.add_attachment(f"cover.{suffix}", mime, bytes(packet))
        if plan.stream.title:
            output.metadata["title"] = plan.stream.title


def _convert(packet: Any, plan: StreamPlan) -> Any | None:
    assert plan.stream.codec is not None
    assert plan.target is not None
    payload = convert_text(bytes(packet), plan.stream.codec, plan.target)
    if not payload.strip(b"\0 \r\n\t"):
        return None
    converted = av.Packet(payload)
    converted.time_base = packet.time_base
    converted.pts = converted.dts = packet.pts
    converted.duration = packet.duration
    return converted


def _clip_at_zero(packet: Any) -> bool:
    """Let a line start no earlier than the first picture, which no container allows; False for one that is over."""
    if packet.pts is not None and packet.pts < 0:
        if packet.duration:
            if packet.pts + packet.duration <= 0:
                return False
            packet.duration += packet.pts
        packet.pts = packet.dts = 0
    return True


def _read_cue(packet: Any, time_base: Fraction) -> Cue:
    """A converted packet (3GPP Timed Text) as a cue in ticks of `time_base`."""
    start = rescale(packet.pts, packet.time_base, time_base)
    end = rescale(packet.pts + packet.duration, packet.time_base, time_base) if packet.duration else None
    return Cue(start, end, bytes(packet)[2:].decode())


def _write_cues(stream: CopiedStream, cues: Iterable[Cue]) -> Iterator[Any]:
    for cue in cues:
        packet = av.Packet(pack_timed_text(cue.text))
        packet.time_base = stream.time_base
        packet.pts = packet.dts = cue.start
        packet.duration = 0 if cue.end is None else cue.end - cue.start
        yield _address(stream, packet)


def _address(stream: CopiedStream, packet: Any) -> Any:
    """`packet` made ready for the muxer, and counted."""
    packet.stream = stream.output
    stream.order(packet)
    stream.count(packet)
    return packet


def _takes_equal_times(output_format: Any) -> bool:
    return bool(output_format.flags & av.format.Flags.ts_nonstrict.value)


def _is_reframed(source: Any, format_name: str) -> bool:
    """True where the muxer has to change the packets: AAC with ADTS headers, H.264/HEVC with start codes."""
    context = source.codec_context
    if context is None or format_name not in ("mp4", "mov", "matroska"):
        return False
    name, header = context.codec.canonical_name, bytes(context.extradata or b"")
    if name == "aac":
        return not header
    return name in ("h264", "hevc", "vvc") and header[:1] != b"\x01"
