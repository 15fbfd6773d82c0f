"""A film dealt out: runs of neighbouring cells of its grid, each of them read by itself, by whoever has the time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from vsr.errors import SourceError
from vsr.pipeline.journal import Entry
from vsr.pipeline.plan import FilmPlan
from vsr.pipeline.work_folder import Gap
from vsr.video.landmarks import Landmarks
from vsr.video.reader import Picture, Reader, Window
from vsr.video.segments import SegmentGrid
from vsr.video.writer import minimal_step

__all__ = ["Cells", "deal_out", "find_misfits", "read_cells"]


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells `start` <= N < `stop` of a film's grid.

    Attributes:
        start: None: from the film's first picture on.
        stop: None: to its last.
        enter: False: reached by decoding all that comes before, and not entered in the midst of the film.
    """

    start: int | None
    stop: int | None
    enter: bool = True


def deal_out(plan: FilmPlan, gaps: Sequence[Gap], num_cells: int) -> list[Cells]:
    """What is to be done of a film, in runs of about `num_cells` cells.

    A film that cannot be entered in its midst, or of unknown length, comes in one piece.
    """
    grid, window, info = SegmentGrid.of(plan.info, plan.output.window), plan.output.window, plan.info
    ends = [end for end in (window.end, info.end) if end is not None]
    last = grid.index_of(min(ends)) if ends and Reader(info).can_be_entered else None
    return [
        cells
        for gap in gaps
        for cells in _cut(
            None if gap.start is None else grid.index_of(gap.start.pts * info.time_base),
            None if gap.stop is None else grid.index_of(gap.stop.pts * info.time_base),
            last,
            num_cells,
        )
    ]


def _cut(start: int | None, stop: int | None, last: int | None, num_cells: int) -> list[Cells]:
    """Cells in runs; `last` is the last one of the film as far as known, None where it is not."""
    end = stop if last is None or stop is not None else last + 1
    middle = [] if end is None else range((start or 0) + num_cells, end, num_cells)
    return [Cells(*edges) for edges in pairwise([start, *middle, stop])]


def read_cells(plan: FilmPlan, cells: Cells, landmarks: Landmarks) -> Iterator[Picture]:
    """The pictures of a run of cells, in order; none where the film has none there.

    Args:
        landmarks: take note of every segment's first picture, and of the one behind the last.

    Raises:
        SourceError: the film cannot be read, or has no picture at all.
    """
    info, output = plan.info, plan.output
    grid = SegmentGrid.of(info, output.window)
    start = output.window.start if cells.start is None else grid.window_of(cells.start).start
    window = Window(start, output.window.end)
    step = minimal_step(output.path, info.time_base)
    reader = Reader(info, window, step, plan.decoder.make(info), enter=cells.enter)
    pictures = landmarks.watch(reader.pictures(), reader, begins_film=cells.start is None)
    try:
        for picture in pictures:
            if cells.stop is not None and grid.index_of(picture.time) >= cells.stop:
                return
            yield picture
    except SourceError as exc:
        if cells.start is None or exc.__cause__ is not None:
            raise
        # Else there was simply nothing there: the film is shorter than it says.


def find_misfits(done: Sequence[Cells], entries: Sequence[Entry]) -> list[Cells]:
    """Which of `done` to do once more, since a segment of theirs does not begin with the very picture that the one
    before it ends at: some films give other pictures, or other times, when they are entered in their midst.

    Args:
        entries: all segments of the film, in order.
    """
    breaks = [later.index for one, later in pairwise(entries) if one.span.after != later.span.first]
    misfits = []
    if entries and not entries[0].span.begins_film:  # there is nothing in the cells before it
        misfits = [Cells(None, cells.stop, enter=False) for cells in done if _holds(cells, entries[0].index)]
    return misfits + [replace(cells, enter=False) for cells in done if any(_holds(cells, index) for index in breaks)]


def _holds(cells: Cells, index: int) -> bool:
    return (cells.start or 0) <= index and (cells.stop is None or index < cells.stop)
