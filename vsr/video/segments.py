"""A film's time cut into cells, each coded by itself: pure arithmetic, the same however often a run is broken off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from vsr.video.probe import VideoInfo
from vsr.video.reader import Window

__all__ = ["SegmentGrid"]

# What a run that dies has to do again, at most; and what a key frame and a new encoder must not come more often than.
LENGTH = Fraction(4)
# Films of a few pictures a second would have nothing but key frames.
MIN_FRAMES = 60


@dataclass(frozen=True, slots=True)
class SegmentGrid:
    """Cell number N holds the pictures from `origin` + N * `length` on, for `length` seconds of the film's clock.

    The pictures of a cell are a segment: coded by an encoder of their own, hence closed groups of pictures. Where a
    film has no pictures for a while, cells have no segment.
    """

    origin: Fraction
    length: Fraction

    @classmethod
    def of(cls, info: VideoInfo, window: Window) -> SegmentGrid:
        """The grid of a film, or of the part of it that is to be done."""
        origin = window.start if window.start is not None else info.start
        length = max(LENGTH, MIN_FRAMES / info.frame_rate) if info.frame_rate else LENGTH
        return cls(origin, length)

    def index_of(self, time: Fraction) -> int:
        """The cell that a picture shown at `time` belongs to; negative before the origin."""
        return math.floor((time - self.origin) / self.length)

    def window_of(self, index: int) -> Window:
        """The time of a cell."""
        start = self.origin + index * self.length
        return Window(start, start + self.length)
