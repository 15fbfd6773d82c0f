"""Films that stop before their own stated end: downloads that broke off, disks that were full, crashed recorders.

A decoder sees nothing wrong with them; only what the container promises tells.
"""

from __future__ import annotations

from fractions import Fraction

from vsr.video.copier import Copier
from vsr.video.probe import VideoInfo

__all__ = ["find_truncation"]

# Stated durations are rounded and count sound that is trimmed when played; a cut film lacks more than that.
MIN_MISSING_SECONDS = Fraction(1)
# Formats whose header states how long the film is. FFmpeg guesses it for the others, from what is there.
_SEGMENT_ID = bytes.fromhex("18538067")
FORMATS_WITH_DURATION = frozenset(("mov", "matroska", "flv"))


def find_truncation(info: VideoInfo, copier: Copier) -> str | None:
    """In words how the film at hand is cut off; None for a whole one.

    Args:
        info: what `probe` found.
        copier: one that has read the whole file (no window with an end; `Writer.finish` has returned).
    """
    if info.container == "avi":
        return _compare_riff_size(info)
    if info.formats.isdisjoint(FORMATS_WITH_DURATION):
        return None
    missing = _missing_seconds(info, copier)
    num_missing = _missing_packets(info, copier)
    if missing > MIN_MISSING_SECONDS:
        return f"the file ends {float(missing):.1f} s early: it seems cut off"
    if num_missing:
        return f"the last {num_missing} of {info.main_stream.num_frames} pictures are missing: the file seems cut off"
    return _compare_segment_size(info) if "matroska" in info.formats else None


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


def _compare_riff_size(info: VideoInfo) -> str | None:
    """AVI files count empty packets as pictures, but their first chunk states how many bytes it holds."""
    with open(info.path, "rb") as file:
        head = file.read(12)
    stated = int.from_bytes(head[4:8], "little") + 8
    missing = stated - info.path.stat().st_size
    if head[:4] != b"RIFF" or missing <= 1:  # one byte of padding is often left out
        return None
    return f"the file ends {missing} bytes early: it seems cut off"


def _compare_segment_size(info: VideoInfo) -> str | None:
    """Matroska's one large element states its size, unless it was written to a stream (RFC 8794, section 6)."""
    with open(info.path, "rb") as file:
        head = file.read(4096)
    segment = head.find(_SEGMENT_ID)
    if segment < 0 or segment + 12 > len(head):
        return None
    length = 9 - head[segment + 4].bit_length()
    stated = int.from_bytes(head[segment + 4 : segment + 4 + length], "big") - (1 << 7 * length)
    if not 1 <= length <= 8 or stated == (1 << 7 * length) - 1:
        return None  # unknown
    missing = segment + 4 + length + stated - info.path.stat().st_size
    return f"the file ends {missing} bytes early: it seems cut off" if missing > 0 else None
