"""Single pictures out of a film, spread over its length, for whoever wants samples and not the film."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from itertools import islice
from typing import Any

from vsr.errors import SourceError
from vsr.video.probe import VideoInfo
from vsr.video.reader import Picture, Reader, Window

__all__ = ["picture_at", "sample_pictures"]


def sample_pictures(info: VideoInfo, count: int) -> Iterator[Picture]:
    """Yield at most `count` different pictures of the film, in the order of time, from the middle of equal parts.

    A film that does not say how long it is gets read to its end.

    Raises:
        SourceError: the film cannot be opened, or not one picture could be decoded.
    """
    if not info.duration or count < 1:
        yield from _sample_to_end(info, count)
        return
    last: Fraction | None = None
    for number in range(count):
        moment = info.start + info.duration * (2 * number + 1) / (2 * count)
        picture = _first_from(info, moment) if last is None or moment > last else None
        if picture is None:
            continue
        if last is None or picture.time > last:
            last = picture.time
            yield picture
    if last is None:
        # The length that was stated is wrong.
        yield from _sample_to_end(info, count)


def picture_at(info: VideoInfo, time: Fraction) -> Picture | None:
    """The first picture at or after `time` (seconds of the film's own clock); None behind the end."""
    return _first_from(info, time)


def _first_from(info: VideoInfo, moment: Fraction) -> Picture | None:
    with _reading(info, Window(start=moment)) as pictures:
        try:
            return next(pictures, None)
        except SourceError:
            return None


@contextmanager
def _reading(info: VideoInfo, window: Window | None = None) -> Iterator[Iterator[Picture]]:
    """The pictures of a film; its decoder is closed however early one leaves."""
    pictures: Any = Reader(info, window).pictures()
    with closing(pictures):
        yield pictures


def _sample_to_end(info: VideoInfo, count: int) -> Iterator[Picture]:
    kept: list[Picture] = []
    step = 1
    with _reading(info) as pictures:
        for index, picture in enumerate(pictures):
            if index % step:
                continue
            kept.append(picture)
            if len(kept) >= 2 * max(1, count):
                del kept[1::2]
                step *= 2
    stride = -(-len(kept) // max(1, count))
    yield from islice(kept[::stride], count)
