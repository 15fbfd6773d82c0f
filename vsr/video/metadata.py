"""Titles, tags and chapters of a film in the form that the output container keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from vsr.video.containers import StreamPlan
from vsr.video.probe import StreamInfo, VideoInfo
from vsr.video.reader import Window

__all__ = ["container_metadata", "container_options", "cut_chapters", "part_metadata", "stream_metadata"]

# Facts about the old file, which would be lies about the new one.
_OF_THE_FILE = {"major_brand", "minor_version", "compatible_brands", "encoder"}
_STATISTICS = ("bps", "duration", "number_of_frames", "number_of_bytes", "_statistics")
_OF_THE_CODING = (*_STATISTICS, "encoder", "vendor_id", "alpha_mode")
# What MP4 keeps in its classic list (iTunes' `ilst`); other keys need the newer key table (`mdta`).
_CLASSIC_KEYS = {
    "title", "artist", "album_artist", "album", "composer", "date", "comment", "genre", "copyright", "grouping",
    "lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords", "creation_time", "timecode",
    "track", "disc", "language", "compilation", "media_type", "hd_video", "gapless_playback", "season_number",
    "episode_sort", "sort_name", "sort_artist", "sort_album", "location",
}  # fmt: skip
MAX_MOVIE_TIMESCALE = 2**31 - 1


def container_metadata(info: VideoInfo) -> dict[str, str]:
    """The source's tags without those that describe the old file itself."""
    return {key: value for key, value in info.metadata.items() if key.lower() not in _OF_THE_FILE}


def stream_metadata(stream: StreamInfo) -> dict[str, str]:
    """The tags of the upscaled stream without those that describe the old coding."""
    return {key: value for key, value in stream.metadata.items() if not key.lower().startswith(_OF_THE_CODING)}


def part_metadata(stream: StreamInfo) -> dict[str, str]:
    """The tags of a copied stream of which not all packets, or not the same, are in the output: no statistics."""
    return {key: value for key, value in stream.metadata.items() if not key.lower().startswith(_STATISTICS)}


def container_options(
    info: VideoInfo, format_name: str, metadata: dict[str, str], plans: Sequence[StreamPlan]
) -> dict[str, str]:
    """Muxer options with which times and tags come through unchanged."""
    if format_name == "matroska":
        # The muxer would move every stream so that a first negative time (sound priming) becomes zero.
        return {"avoid_negative_ts": "disabled"}
    options = {"movie_timescale": str(_movie_timescale(info))}
    has_cover = any(plan.stream.kind == "cover" for plan in plans)
    if not has_cover and not {key.lower() for key in metadata} <= _CLASSIC_KEYS:
        options["movflags"] = "use_metadata_tags"
    return options


def _movie_timescale(info: VideoInfo) -> int:
    """A scale in which the delays of all streams are whole numbers: MP4 counts edit lists in it, by default in
    milliseconds."""
    scale = info.time_base.denominator
    for stream in info.streams:
        if stream.kind in ("audio", "subtitle") and stream.start:
            both = math.lcm(scale, stream.start.denominator)
            scale = both if both <= MAX_MOVIE_TIMESCALE else scale
    if scale > MAX_MOVIE_TIMESCALE:
        return 90_000
    return scale * math.ceil(1000 / scale)


def cut_chapters(info: VideoInfo, window: Window) -> list[Any]:
    """The chapters that lie in `window`, clipped to it and counted from its start."""
    if window.start is None and window.end is None:
        return list(info.chapters)
    origin = window.start if window.start is not None else Fraction(0)
    kept = []
    for chapter in info.chapters:
        base = chapter["time_base"]
        start, end = chapter["start"] * base, chapter["end"] * base
        if (window.end is not None and start >= window.end) or end <= origin:
            continue
        start = max(start, origin) - origin
        end = (end if window.end is None else min(end, window.end)) - origin
        kept.append(chapter | {"start": round(start / base), "end": round(end / base)})
    return kept
