"""Reading what is still to be done of a film: the whole of it, or stretches that no finished segment covers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from vsr.errors import ProcessingError, SourceError
from vsr.pipeline.plan import FilmPlan
from vsr.pipeline.work_folder import Gap
from vsr.video.landmarks import Landmark, Landmarks
from vsr.video.reader import Picture, Reader, Window
from vsr.video.writer import minimal_step

__all__ = ["GapReader"]


class GapReader:
    """Decodes stretches of a film, one after the other.

    Args:
        landmarks: take note of every segment's first picture.

    Attributes:
        num_read: pictures so far.
        readers: one for each stretch so far.
    """

    def __init__(self, plan: FilmPlan, landmarks: Landmarks) -> None:
        self._plan, self._landmarks = plan, landmarks
        self.num_read = 0
        self.readers: list[Reader] = []

    def pictures(self, gaps: Sequence[Gap]) -> Iterator[Picture]:
        """Every picture of the gaps, in order.

        Raises:
            SourceError: the film cannot be opened, or has no picture in the part wanted.
            ProcessingError: the film is not what it was when the segments beside a gap were made.
        """
        for gap in gaps:
            reader, pictures = self._enter(gap)
            self.readers.append(reader)
            watched = self._landmarks.watch(
                pictures, reader, begins_film=gap.start is None, start=gap.start, stop=gap.stop
            )
            for picture in watched:
                self.num_read += 1
                yield picture

    def _enter(self, gap: Gap) -> tuple[Reader, Iterator[Picture]]:
        if gap.start is None:
            reader = self._open(gap)
            return reader, reader.pictures()
        # Some films give other pictures, or other times, when they are entered in their midst: then from the beginning.
        for enter in (True, False):
            reader = self._open(gap, enter=enter)
            pictures: Any = reader.pictures()
            try:
                first = next(pictures)
            except SourceError:
                if not enter:
                    raise
                continue
            here = Landmark.of(first)
            # From the beginning the time alone must be right: what FFmpeg's threads make of a damaged picture depends
            # on which of them is faster.
            if here == gap.start or (not enter and here.pts == gap.start.pts):
                return reader, chain([first], pictures)
            pictures.close()
        raise ProcessingError(
            f"{str(self._plan.info.path)!r} no longer has a picture at "
            f"{float(gap.start.pts * self._plan.info.time_base):.3f} s",
            hint="begin anew with --fresh",
        )

    def _open(self, gap: Gap, *, enter: bool = True) -> Reader:
        info, output = self._plan.info, self._plan.output
        start = output.window.start if gap.start is None else gap.start.pts * info.time_base
        stop = output.window.end if gap.stop is None else gap.stop.pts * info.time_base
        step = minimal_step(output.path, info.time_base)
        return Reader(info, Window(start, stop), step, self._plan.decoder.make(info), enter=enter)
