"""What becomes of every stream in the output: copied, converted, attached, left out, or a refusal before any work.

Whether a container can hold a stream is not looked up in a table but tried: a header with just that stream
is written into memory.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from vsr.errors import UnsupportedStreamError
from vsr.video.encoding import CODERS
from vsr.video.faults import FFMPEG_ERRORS
from vsr.video.probe import StreamInfo, VideoInfo
from vsr.video.source import open_film
from vsr.video.subtitles import CONVERTIBLE

__all__ = ["FORMATS", "StreamPlan", "choose_container", "default_suffix", "plan_streams"]

# Output containers by file suffix: FFmpeg's muxer name.
FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
TEXT_CODING = {"mp4": "mov_text", "mov": "mov_text", "matroska": "subrip"}
# Codings that have a container of their own, whatever the source was in.
HOME_OF_CODING = {"prores": ".mov", "ffv1": ".mkv"}
COVER_SUFFIX = {"mjpeg": ("jpg", "image/jpeg"), "png": ("png", "image/png"), "bmp": ("bmp", "image/bmp")}


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What happens to one stream of the source.

    Attributes:
        action: "upscale", "copy", "convert" (text subtitles), "attach" (a cover as attachment),
            "rebuild" (a timecode or chapter track that the muxer writes anew) or "drop".
        target: the coding in the output for "convert".
        reason: why, for "drop" and "convert".
    """

    stream: StreamInfo
    action: str
    target: str | None = None
    reason: str | None = None

    def describe(self) -> dict[str, Any]:
        """For the report: index, kind, codec, action and reason."""
        stream = self.stream
        found = {"index": stream.index, "kind": stream.kind, "codec": stream.codec, "action": self.action}
        if self.stream.language:
            found["language"] = self.stream.language
        if self.target:
            found["target"] = self.target
        if self.reason:
            found["reason"] = self.reason
        return found


def choose_container(info: VideoInfo, codec: str, drop: Iterable[str] = ()) -> str:
    """The suffix of an output whose container nobody named: the source's own kind where it holds all, else another.

    Args:
        codec: FFmpeg's name of the output video coding ("h264", "prores", ...).
    """
    first = HOME_OF_CODING.get(codec) or default_suffix(info)
    able = [s for s in dict.fromkeys((first, ".mp4", ".mov", ".mkv")) if holds_codec(FORMATS[s], codec)]
    num_lost: dict[str, tuple[int, int]] = {}
    for suffix in able:
        plans = _plan(info, FORMATS[suffix], frozenset(drop))
        lost = [plan for plan in plans if not _is_kept(plan) and not _asked_for(plan, drop)]
        if not lost:
            return suffix
        num_lost[suffix] = (sum(isinstance(plan, _Refusal) for plan in lost), len(lost))
    return min(able, key=num_lost.__getitem__)  # `plan_streams` refuses what it cannot hold, and says so


def default_suffix(info: VideoInfo) -> str:
    """The output suffix nearest to the source's container."""
    if info.container.startswith("matroska"):
        return ".mkv"  # WebM too: it may not hold H.264, Matroska holds all that WebM does
    if info.container.startswith("mov") and info.metadata.get("major_brand", "").strip() == "qt":
        return ".mov"
    return ".mp4"


@functools.cache
def holds_codec(format_name: str, codec: str) -> bool:
    """True if the container may hold a video stream of that coding (FFmpeg's name of it)."""
    try:
        with av.open(io.BytesIO(), "w", format=format_name) as trial:
            coder = next(coder for coder in CODERS.values() if coder.coding == codec)
            options = {"x265-params": "log-level=none"} if coder.encoder == "libx265" else {}
            stream: Any = trial.add_stream(coder.encoder, rate=25, options=options)
            depth = "" if 8 in coder.depths else "10le"
            stream.width, stream.height, stream.pix_fmt = 64, 64, f"yuv{coder.chromas[0]}p{depth}"
            trial.start_encoding()
    except FFMPEG_ERRORS:
        return False
    return True


def plan_streams(
    info: VideoInfo, suffix: str, drop: Iterable[str] = (), coding: str | None = None
) -> tuple[StreamPlan, ...]:
    """One plan per stream of the source, in their order, for an output with that suffix.

    Args:
        coding: of the upscaled stream (`Encoding.coding`), to be checked against the container; None: not checked.

    Raises:
        UnsupportedStreamError: the container cannot hold the upscaled stream, or one that another container, or
            `drop`, would save.
    """
    if coding is not None and not holds_codec(FORMATS[suffix], coding):
        others = [other for other, name in FORMATS.items() if holds_codec(name, coding)]
        raise UnsupportedStreamError(
            f"{suffix} cannot hold video coded as {coding}", hint=f"-o NAME{others[0]} holds it, or another --codec"
        )
    plans = _plan(info, FORMATS[suffix], frozenset(drop))
    refusals = [plan for plan in plans if isinstance(plan, _Refusal)]
    if refusals:
        raise UnsupportedStreamError(
            f"{info.path.name!r}: {suffix} cannot hold {', '.join(refusal.describe() for refusal in refusals)}",
            hint=_way_out(refusals, coding),
        )
    return tuple(plan for plan in plans if isinstance(plan, StreamPlan))


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A stream that has no place: `others` are the suffixes that hold it, `reason` is why none does, if known."""

    stream: StreamInfo
    others: tuple[str, ...] = ()
    reason: str | None = None

    def describe(self) -> str:
        stream = self.stream
        words = f"{stream.kind} stream #{stream.index} ({stream.codec or 'unknown coding'})"
        return f"{words}: {self.reason}" if self.reason else words


def _way_out(refusals: list[_Refusal], coding: str | None) -> str:
    """One way that works for all of them at once."""
    drops = " ".join(f"--drop {refusal.stream.index}" for refusal in refusals)
    for suffix, name in FORMATS.items():
        is_able = coding is None or holds_codec(name, coding)
        if is_able and all(suffix in refusal.others for refusal in refusals):
            them = "it" if len(refusals) == 1 else "them"
            return f"-o NAME{suffix} holds {them}; or leave {them} out with {drops}"
    if len(refusals) == 1:
        return f"no output container can hold it; leave it out with {drops}"
    return f"no output container holds all of them; leave them out with {drops}"


def _is_kept(plan: StreamPlan | _Refusal) -> bool:
    return isinstance(plan, StreamPlan) and plan.action != "drop"


def _asked_for(plan: StreamPlan | _Refusal, drop: Iterable[str]) -> bool:
    return str(plan.stream.index) in drop or plan.stream.kind in drop


def _plan(info: VideoInfo, format_name: str, drop: frozenset[str]) -> list[StreamPlan | _Refusal]:
    with open_film(info.path) as container:
        return [_plan_stream(info, container, stream, format_name, drop) for stream in info.streams]


def _plan_stream(
    info: VideoInfo, container: Any, stream: StreamInfo, format_name: str, drop: frozenset[str]
) -> StreamPlan | _Refusal:
    if stream.index == info.main:
        return StreamPlan(stream, "upscale")
    if str(stream.index) in drop or stream.kind in drop:
        return StreamPlan(stream, "drop", reason="asked for")
    if stream.foreign_clock:
        return StreamPlan(stream, "drop", reason="belongs to another program, with a clock of its own")
    source = container.streams[stream.index]
    if _is_chapter_track(info, stream, source):
        return StreamPlan(stream, "rebuild", reason="the muxer writes the chapters anew")
    if stream.kind == "cover" and format_name == "matroska" and stream.codec in COVER_SUFFIX:
        return StreamPlan(stream, "attach", reason="Matroska keeps covers as attachments")
    if _holds(format_name, source, stream.kind):
        return StreamPlan(stream, "copy")
    if stream.kind == "data" and "timecode" in stream.metadata and format_name in ("mov", "mp4"):
        return StreamPlan(stream, "rebuild", reason="the muxer writes the timecode track from its start value")
    if stream.kind == "subtitle" and stream.codec in CONVERTIBLE:
        target = TEXT_CODING[format_name]
        return StreamPlan(stream, "convert", target=target, reason=f"{format_name} keeps text subtitles as {target}")
    others = [suffix for suffix, name in FORMATS.items() if name != format_name and _holds(name, source, stream.kind)]
    if others:
        return _Refusal(stream, tuple(others))
    if stream.kind == "data":
        return StreamPlan(stream, "drop", reason="no output container can hold this kind of data")
    return _Refusal(stream, reason=_missing_parameters(container, stream, source))


def _missing_parameters(container: Any, stream: StreamInfo, source: Any) -> str | None:
    if stream.kind != "audio" or source.codec_context is None or source.codec_context.sample_rate:
        return None
    num_bytes = int(container.container_options.get("probesize", 5_000_000))
    return f"its parameters are not in the first {num_bytes // 1_000_000} MB"


def _is_chapter_track(info: VideoInfo, stream: StreamInfo, source: Any) -> bool:
    # MP4 keeps chapters as a text track; its demuxer reads them, and then hides the track's packets.
    is_text = stream.kind == "data" and source.name == "bin_data"
    return info.container.startswith("mov") and is_text and stream.num_frames == len(info.chapters) > 0


def _holds(format_name: str, stream: Any, kind: str) -> bool:
    if kind == "cover" and format_name != "mp4":
        return False  # QuickTime's muxer takes a cover and loses it; Matroska keeps it as an attachment
    try:
        with av.open(io.BytesIO(), "w", format=format_name) as trial:
            trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
    except FFMPEG_ERRORS:
        return False
    return True


def suffix_of(output: Path) -> str:
    """The suffix of an output file name, checked.

    Raises:
        UnsupportedStreamError: no container of ours has that suffix.
    """
    suffix = output.suffix.lower()
    if suffix not in FORMATS:
        raise UnsupportedStreamError(
            f"{output.name!r}: films are written as {', '.join(FORMATS)}",
            hint="give -o a name with one of these suffixes",
        )
    return suffix
