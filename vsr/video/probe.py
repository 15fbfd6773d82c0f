"""Frozen facts about a film file: what it holds, as far as its headers and first frames tell."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
from av.sidedata.sidedata import Type as SideDataType

from vsr.errors import SourceError
from vsr.video.color import ColorTags
from vsr.video.continuity import LATE_START, find_foreign, has_jumping_clock
from vsr.video.faults import reading
from vsr.video.hdr import HdrMetadata, read_hdr_metadata
from vsr.video.pixel_format import describe_format
from vsr.video.source import demux_known, open_film

__all__ = [
    "StreamInfo",
    "VideoInfo",
    "describe_stream",
    "probe",
    "stream_seconds",
]

# Interlacing and colour are signalled per frame; a handful tells them, a broken start may need more packets.
NUM_FRAMES_LOOKED_AT = 6
NUM_PACKETS_TRIED = 300
# Anything larger is a broken header, not a film.
MAX_PLAUSIBLE_RATE = 1000
# A film of fewer bits a second is none: its clock jumps, and the duration is the difference of two clocks.
MIN_PLAUSIBLE_BITRATE = 1000


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream of a container.

    Attributes:
        kind: "video", "audio", "subtitle", "data", "attachment" or "cover" (a picture, not a film).
        codec: FFmpeg's name of the coding, None where it is unknown.
        dispositions: FFmpeg's flags by name ("default", "forced", ...).
        start, duration: seconds, None where not stated.
        num_frames: as stated by the container, None where not.
        foreign_clock: True for a stream of another program, whose times say nothing about the main stream's.
        detail: a few words for people ("48000 Hz stereo").
    """

    index: int
    kind: str
    codec: str | None
    language: str | None
    title: str | None
    dispositions: tuple[str, ...]
    start: Fraction | None
    duration: Fraction | None
    num_frames: int | None
    detail: str
    metadata: dict[str, str]
    foreign_clock: bool = False


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a film file holds. Sizes in pixels, times in seconds.

    Attributes:
        container: FFmpeg's names of the format, e.g. "mov,mp4,m4a,3gp,3g2,mj2".
        start: when the first stream starts, after `clock_shift`.
        clock_shift: seconds that reader and copier add to all times of the file: 0, or for a broadcaster's clock
            that starts late, what brings its start to zero.
        main: index of the video stream that is upscaled.
        time_base: seconds per tick of that stream's timestamps.
        frame_rate: frames per second on average, None where unknown.
        num_frames: frames of the main stream as stated, or estimated from duration and rate; None if neither.
        frames_are_estimated: True where `num_frames` is such an estimate.
        colors: tags as signalled by the first frame (not resolved).
        pixel_aspect: sample aspect ratio, None where not signalled.
        display_matrix: the nine integers of the rotation/flip, None where there is none.
        rotation: the same as degrees counter-clockwise, for people.
        interlaced: True when any of the first frames is flagged so.
        alpha: True when one of the first frames is not opaque, or a second layer holds its transparency.
        captions: True when closed captions travel inside the pictures.
        dynamic_hdr: names of dynamic HDR metadata found ("Dolby Vision", "HDR10+").
    """

    path: Path
    container: str
    metadata: dict[str, str]
    start: Fraction
    clock_shift: Fraction
    duration: Fraction | None
    streams: tuple[StreamInfo, ...]
    chapters: tuple[dict[str, Any], ...]
    main: int
    codec: str
    width: int
    height: int
    pix_fmt: str
    time_base: Fraction
    frame_rate: Fraction | None
    num_frames: int | None
    frames_are_estimated: bool
    colors: ColorTags
    pixel_aspect: Fraction | None
    display_matrix: tuple[int, ...] | None
    rotation: int
    interlaced: bool
    alpha: bool
    captions: bool
    dynamic_hdr: tuple[str, ...]
    hdr: HdrMetadata | None

    @property
    def main_stream(self) -> StreamInfo:
        return self.streams[self.main]

    @property
    def end(self) -> Fraction | None:
        """When the film ends on its own clock, as the container states it, in seconds; None where it does not."""
        if self.duration is None:
            return None
        # The duration that Matroska and NUT state counts from zero, wherever the film starts.
        counts_from_zero = not {"matroska", "nut"}.isdisjoint(self.formats)
        return self.duration if counts_from_zero else self.start + self.duration

    @property
    def formats(self) -> frozenset[str]:
        """FFmpeg's names of the container's format, one by one: "mpegvideo" is not "mpeg"."""
        return frozenset(self.container.split(","))


def probe(path: Path) -> VideoInfo:
    """Read the facts of the film at `path`; decodes its first few frames.

    Raises:
        SourceError: no such file, not a film, no video stream in it, or none that can be decoded.
    """
    with open_film(path) as container, reading(path):
        shift = _clock_shift(container)
        streams = tuple(describe_stream(stream, shift) for stream in container.streams)
        main = _choose_main(path, container, streams)
        foreign = find_foreign(container, main)
        streams = tuple(replace(stream, foreign_clock=stream.index in foreign) for stream in streams)
        stream = container.streams[main]
        frames = list(islice(_first_frames(container, stream), NUM_FRAMES_LOOKED_AT))
        if not frames:
            raise SourceError(
                f"{str(path)!r}: no frame of video stream #{main} ({streams[main].codec}) can be decoded",
                hint="the stream is damaged or encrypted; a player that shows it could re-save it",
            )
        return _gather(path, container, streams, frames, main, shift)


def stream_seconds(ticks: int | None, time_base: Fraction | None) -> Fraction | None:
    """`ticks` in seconds, None where either is unknown."""
    return None if ticks is None or not time_base else ticks * time_base


def read_display_matrix(frame: Any) -> tuple[int, ...] | None:
    """The display matrix (nine integers, FFmpeg's layout) of a decoded frame, None where there is none."""
    data = read_side_data(frame, SideDataType.DISPLAYMATRIX)
    return None if data is None else struct.unpack("=9i", data[:36])


def read_side_data(frame: Any, kind: Any) -> bytes | None:
    """One kind of side data of a frame as bytes. Types that PyAV does not know yet must never end a run."""
    try:
        found = frame.side_data.get(kind)
    except ValueError:  # PyAV lists all types before it looks one up, and fails on the first it does not know
        return None
    return None if found is None else bytes(found)


def _first_frames(container: Any, stream: Any) -> Iterator[Any]:
    # One thread: an early leave with frame threads would leave the decoder half way.
    stream.thread_type = "NONE"
    for num_packets, packet in enumerate(demux_known(container, stream)):
        if num_packets > NUM_PACKETS_TRIED:
            return
        try:
            yield from packet.decode()
        except av.error.FFmpegError:
            continue


def _choose_main(path: Path, container: Any, streams: tuple[StreamInfo, ...]) -> int:
    films = [s for s in streams if s.kind == "video"]
    if not films:
        held = ", ".join(sorted({s.kind for s in streams})) or "nothing"
        raise SourceError(f"{str(path)!r} holds no video stream (only {held})")
    usable = [s for s in films if container.streams[s.index].codec_context is not None]
    usable = [s for s in usable if container.streams[s.index].codec_context.width > 0]
    if not usable:
        raise SourceError(
            f"{str(path)!r}: video stream #{films[0].index} is of a coding that this FFmpeg cannot decode",
            hint="convert it with a tool that knows it (Dolby Vision profile 10 files, for one)",
        )
    defaults = [s for s in usable if "default" in s.dispositions]
    return (defaults or usable)[0].index


def _clock_shift(container: Any) -> Fraction:
    # Not the container's own start, which is rounded to microseconds.
    foreign = find_foreign(container)
    own = [stream for stream in container.streams if stream.index not in foreign]
    starts = [stream_seconds(stream.start_time, stream.time_base) for stream in own]
    start = min((time for time in starts if time is not None), default=Fraction(0))
    return -start if has_jumping_clock(container) and start > LATE_START else Fraction(0)


def _count_frames(info: StreamInfo, seconds: Fraction | None, rate: Fraction | None) -> tuple[int | None, bool]:
    """Number of frames and whether it is an estimate."""
    if info.num_frames is not None:
        return info.num_frames, False
    if (tag := _frames_tag(info.metadata)) is not None:
        return tag, True
    if rate is None or not seconds:
        return None, False
    return max(1, math.floor(seconds * rate + Fraction(1, 2))), True


def _gather(
    path: Path, container: Any, streams: tuple[StreamInfo, ...], frames: list[Any], main: int, shift: Fraction
) -> VideoInfo:
    stream, first, info = container.streams[main], frames[0], streams[main]
    rate = _plausible_rate(stream)
    start = Fraction(0) if shift else _film_start(container, streams)
    duration = _plausible_duration(container)
    own_duration = info.duration if duration or not has_jumping_clock(container) else None
    dynamic = {SideDataType.DOVI_METADATA: "Dolby Vision", SideDataType.DYNAMIC_HDR_PLUS: "HDR10+"}
    found = VideoInfo(
        path=path,
        container=container.format.name,
        metadata=dict(container.metadata),
        start=start,
        clock_shift=shift,
        duration=duration,
        streams=streams,
        chapters=tuple(container.chapters()),
        main=stream.index,
        codec=info.codec or "unknown",
        width=first.width,
        height=first.height,
        pix_fmt=first.format.name,
        time_base=stream.time_base,
        frame_rate=rate,
        num_frames=None,
        frames_are_estimated=False,
        colors=ColorTags(
            int(first.colorspace), int(first.color_range), int(first.color_primaries), int(first.color_trc)
        ),
        pixel_aspect=stream.sample_aspect_ratio or None,
        display_matrix=read_display_matrix(first),
        rotation=first.rotation,
        interlaced=any(frame.interlaced_frame for frame in frames),
        alpha=_has_alpha(info, frames),
        captions=any(read_side_data(frame, SideDataType.A53_CC) for frame in frames),
        dynamic_hdr=tuple(name for kind, name in dynamic.items() if read_side_data(first, kind) is not None),
        hdr=read_hdr_metadata(
            read_side_data(first, SideDataType.MASTERING_DISPLAY_METADATA),
            read_side_data(first, SideDataType.CONTENT_LIGHT_LEVEL),
        ),
    )
    length = None if found.end is None else found.end - found.start
    num_frames, estimated = _count_frames(info, own_duration or length, rate)
    return replace(found, num_frames=num_frames, frames_are_estimated=estimated)


def _film_start(container: Any, streams: tuple[StreamInfo, ...]) -> Fraction:
    if any(stream.foreign_clock for stream in streams):
        return min(s.start for s in streams if s.start is not None and not s.foreign_clock)
    return Fraction(container.start_time or 0, av.time_base)


def _plausible_duration(container: Any) -> Fraction | None:
    if not container.duration:
        return None
    duration = Fraction(container.duration, av.time_base)
    if has_jumping_clock(container) and container.size * 8 < duration * MIN_PLAUSIBLE_BITRATE:
        return None
    return duration


def _has_alpha(info: StreamInfo, frames: list[Any]) -> bool:
    # VP8 and VP9 keep transparency as a second film beside the first, which their plain decoders do not see.
    if any(key.lower() == "alpha_mode" and value == "1" for key, value in info.metadata.items()):
        return True
    return any(describe_format(frame.format.name).has_alpha and not _is_opaque(frame) for frame in frames)


def _is_opaque(frame: Any) -> bool:
    shown = frame.reformat(format="rgba")
    plane = shown.planes[0]
    rows = bytes(plane)
    return all(
        rows[first + 3 : first + 4 * shown.width : 4] == b"\xff" * shown.width
        for first in range(0, plane.line_size * shown.height, plane.line_size)
    )


def _frames_tag(metadata: dict[str, str]) -> int | None:
    # mkvmerge's statistics; they may be out of date, so they only count as an estimate.
    for key, value in metadata.items():
        if key.upper().startswith("NUMBER_OF_FRAMES") and value.isdigit() and int(value) > 0:
            return int(value)
    return None


def _plausible_rate(stream: Any) -> Fraction | None:
    # Matroska files without a default duration state their tick rate (1000) as the average rate.
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and rate < MAX_PLAUSIBLE_RATE:
            return Fraction(rate)
    return None


def describe_stream(stream: Any, shift: Fraction = Fraction(0)) -> StreamInfo:
    """The facts of one PyAV stream; `shift` seconds are added to its start."""
    context = stream.codec_context
    start = stream_seconds(stream.start_time, stream.time_base)
    flags = stream.disposition
    names = tuple(flag.name for flag in type(flags) if flag & flags and flag.name)
    kind = "cover" if stream.type == "video" and "attached_pic" in names else stream.type
    metadata = _read_tags(stream)
    keys = {key.lower(): value for key, value in metadata.items()}
    return StreamInfo(
        index=stream.index,
        kind=kind if kind != "unknown" else "data",
        codec=_codec_name(context),
        language=keys.get("language"),
        title=keys.get("title"),
        dispositions=names,
        start=None if start is None else start + shift,
        duration=stream_seconds(stream.duration, stream.time_base),
        num_frames=stream.frames or None,
        detail=_detail(kind, stream, context),
        metadata=metadata,
    )


def _read_tags(stream: Any) -> dict[str, str]:
    tags = dict(stream.metadata)
    if "name" in tags and "title" not in tags:
        tags["title"] = tags.pop("name")  # MP4's demuxer calls a track's title so; muxers want "title"
    return tags


def _codec_name(context: Any) -> str | None:
    if context is None:
        return None
    try:
        # `canonical_name` is the coding ("av1"), `name` this decoder ("libdav1d").
        return str(context.codec.canonical_name)
    except (AttributeError, av.error.FFmpegError):
        return str(context.name)


def _detail(kind: str, stream: Any, context: Any) -> str:
    if kind == "attachment":
        return str(stream.metadata.get("filename", ""))
    if context is None:
        return ""
    if kind in ("video", "cover"):
        rate = _plausible_rate(stream)
        return f"{context.width}x{context.height} {context.pix_fmt}" + (f" {float(rate):.6g} frames/s" if rate else "")
    if kind == "audio":
        return f"{context.sample_rate} Hz {context.layout.name}"
    return ""
