"""Where segments begin: the pictures by which a film is known again when it is entered in its midst.

Films lie about their key frames and their times. So the first picture of each segment is remembered, and whoever goes
on there later must find the very same one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import av
import numpy as np

from vsr.errors import SourceError
from vsr.video.damage import Damage
from vsr.video.planes import view_samples
from vsr.video.reader import Picture, Reader
from vsr.video.segments import SegmentGrid

__all__ = ["Landmark", "Landmarks", "Span"]


@dataclass(frozen=True, slots=True)
class Landmark:
    """A picture of the source: its time in ticks of the film's clock, and the CRC-32 of its samples.

    `checksum` is None for pictures that are not in system memory.
    """

    pts: int
    checksum: int | None

    @classmethod
    def of(cls, picture: Picture) -> Landmark:
        return cls(picture.pts, _sum_samples(picture.frame))


@dataclass(frozen=True, slots=True)
class Span:
    """What lies in one cell of the grid.

    Attributes:
        first: the first picture in it.
        after: the first picture behind it, wherever that lies; None where the film ends.
        begins_film: there is none before it.
        damage: what was wrong with the source in between.
    """

    first: Landmark
    after: Landmark | None
    begins_film: bool
    damage: Damage


class Landmarks:
    """Notes where segments begin while a film is read. One thread reads, another asks."""

    def __init__(self, grid: SegmentGrid) -> None:
        self._grid = grid
        self._spans: dict[int, Span] = {}

    def watch(
        self,
        pictures: Iterable[Picture],
        reader: Reader,
        *,
        begins_film: bool = True,
        start: Landmark | None = None,
        stop: Landmark | None = None,
    ) -> Iterator[Picture]:
        """Pass on the pictures of a film, or of a stretch of it.

        Args:
            reader: where they come from.
            begins_film: the first one is the film's.
            start: the first one, as it was noted when the one before was read; None: that was not.
            stop: the picture that comes after the last one, where that is known; None: the film ends there.
        """
        index, first, seen = None, None, Damage()
        for picture in pictures:
            if (here := self._grid.index_of(picture.time)) != index:
                landmark, damage = start or Landmark.of(picture), reader.damage.copy()
                start = None
                if index is not None and first is not None:
                    self._spans[index] = Span(first, landmark, begins_film, damage.since(seen))
                    seen, begins_film = damage, False
                index, first = here, landmark
            yield picture
        if index is not None and first is not None:
            self._spans[index] = Span(first, stop, begins_film, reader.damage.since(seen))

    def take(self, index: int) -> Span:
        """What lies in a cell that has been read to its end; once."""
        return self._spans.pop(index)


def _sum_samples(frame: Any) -> int | None:
    if not isinstance(frame, av.VideoFrame) or frame.sw_format is not None:
        return None
    try:
        samples = view_samples(frame)
    except SourceError:  # of a kind that cannot be upscaled either: that will be told elsewhere
        return None
    checksum = 0
    for array in samples.components:
        checksum = zlib.crc32(np.ascontiguousarray(array).tobytes(), checksum)
    return checksum
