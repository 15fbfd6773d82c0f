"""Films that stop before their own stated end: downloads that broke off, disks that were full, crashed recorders.

A decoder sees nothing wrong with them; only what the container promises tells.
"""

from __future__ import annotations

from fractions import Fraction

from vsr.video.completeness import riff_shortfall, segment_shortfall
from vsr.video.copier import Copier
from vsr.video.probe import VideoInfo

__all__ = ["find_truncation"]

# Stated durations are rounded and count sound that is trimmed when played; a cut film lacks more than that.
MIN_MISSING_SECONDS = Fraction(1)
# Formats whose header states how long the film is. FFmpeg guesses it for the others, from what is there.
FORMATS_WITH_DURATION = frozenset(("mov", "matroska", "flv"))


def find_truncation(info: VideoInfo, copier: Copier) -> str | None:
    """In words how the film at hand is cut off; None for a whole one.

    Args:
        info: what `probe` found.
        copier: one that has read the whole file (no window with an end; `Writer.finish` has returned).
    """
    if info.container == "avi":
        # It counts empty packets as pictures, but its first chunk states how many bytes it holds.
        return _describe_missing(riff_shortfall(info.path))
    if info.formats.isdisjoint(FORMATS_WITH_DURATION):
        return None
    missing = _missing_seconds(info, copier)
    num_missing = _missing_packets(info, copier)
    if missing > MIN_MISSING_SECONDS:
        return f"the file ends {float(missing):.1f} s early: it seems cut off"
    if num_missing:
        return f"the last {num_missing} of {info.main_stream.num_frames} pictures are missing: the file seems cut off"
    return _describe_missing(segment_shortfall(info.path)) if "matroska" in info.formats else None


def _missing_seconds(info: VideoInfo, copier: Copier) -> Fraction:
    if not info.end:
        return Fraction(0)
    return info.end - (copier.latest if copier.latest is not None else info.start)


def _missing_packets(info: VideoInfo, copier: Copier) -> int:
    """Pictures that the index of an MP4 promises and the file does not hold.

    An edit list may hide the last ones on purpose: then the film's end is reached without them.
    """
    stream = info.main_stream
    if "mov" not in info.formats or stream.num_frames is None or stream.duration is None:
        return 0
    end = (stream.start or Fraction(0)) + stream.duration
    tolerance = Fraction(1, 2) / (info.frame_rate or 25)
    if copier.ends.get(info.main, Fraction(0)) >= end - tolerance:
        return 0
    return max(0, stream.num_frames - copier.num_read.get(info.main, 0))


def _describe_missing(num_bytes: int) -> str | None:
    return f"the file ends {num_bytes} bytes early: it seems cut off" if num_bytes else None
