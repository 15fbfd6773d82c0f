"""Which stream of a finished file is which: containers move streams, and leave some out, when they are written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import av

__all__ = ["WrittenStream", "match_streams"]


@dataclass(frozen=True, slots=True)
class WrittenStream:
    """A stream as it was handed to the muxer."""

    index: int
    is_cover: bool = False
    is_empty: bool = False


def match_streams(container: Any, written: Iterable[WrittenStream]) -> dict[int, int]:
    """The index in the finished file for every stream that was written, by its index at the muxer.

    MP4 leaves out tracks without a packet and moves covers to the end; Matroska moves attachments there. The
    order among the rest stays, and what muxers add of their own (chapters, time codes) comes after it.
    """
    is_mp4 = container.format.name.startswith("mov")
    kept = [stream for stream in sorted(written, key=lambda s: s.index) if not (is_mp4 and stream.is_empty)]
    matched: dict[int, int] = {}
    for is_cover in (False, True):
        found = [s.index for s in container.streams if s.type != "attachment" and _is_cover(s) == is_cover]
        ours = [stream.index for stream in kept if stream.is_cover == is_cover]
        matched |= dict(zip(ours, found, strict=False))
    return matched


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)
