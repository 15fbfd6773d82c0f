"""The last stage: pictures composed and coded, segment by segment, and what is known of each when it is finished."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import Protocol

from vsr.errors import Interrupted, ProcessingError
from vsr.model.upscaler import Upscaler
from vsr.pipeline.clock import StageClock
from vsr.pipeline.compute import Tally
from vsr.pipeline.journal import Entry, Facts
from vsr.pipeline.plan import FilmPlan
from vsr.pipeline.reuse import Composition, Outcome
from vsr.progress import Progress
from vsr.video.landmarks import Landmarks
from vsr.video.reader import Picture
from vsr.video.segment_encoder import SegmentEncoder
from vsr.video.segments import SegmentGrid

__all__ = ["Composer", "Orders", "Preview", "check_chain", "finish_segment"]


class Preview(Protocol):
    """Somebody who looks at the film while it is made."""

    @property
    def is_wanted(self) -> bool:
        """Whether a pair of pictures should be offered now; asked for every picture."""

    def offer(self, before: Picture, after: Picture) -> None:
        """A picture of the source, and what became of it. Called by the encoding thread, which waits meanwhile."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What a run hears from outside, and whom it tells.

    Attributes:
        cancel: stop now.
        pause: stop when the group of pictures at hand is finished.
    """

    cancel: threading.Event
    pause: threading.Event
    progress: Progress
    preview: Preview | None = None


class Composer:
    """Composes the pictures that are to be coded and counts, for each cell of the grid, what they are made of.

    Attributes:
        facts: of the cells that are complete.
    """

    def __init__(self, grid: SegmentGrid, plan: FilmPlan, upscaler: Upscaler, tally: Tally, orders: Orders) -> None:
        self._grid, self._tally, self._orders = grid, tally, orders
        self._composition = Composition(upscaler, plan, tally)
        self._num_interlaced = 0
        self.facts: dict[int, Facts] = {}

    def pictures(self, outcomes: Iterable[Outcome], clock: StageClock) -> Iterator[Picture]:
        """The pictures, until the film ends, or a cell does and `pause` is set.

        The time until the next one is asked for counts as encoding.

        Raises:
            Interrupted: `cancel` was set.
        """
        orders = self._orders
        current: int | None = None
        before = self._count()
        for outcome in outcomes:
            index = self._grid.index_of(outcome.task.picture.time)
            if index != current:
                if current is not None:
                    before = self._note_facts(current, before)
                    if orders.pause.is_set():
                        return
                current = index
            if orders.cancel.is_set():
                raise Interrupted
            with clock.working("encode"):
                yield self._compose(outcome)
            orders.progress.advance(1, f"{clock.bottleneck} is the slowest stage")
        if current is not None:
            self._note_facts(current, before)

    def _compose(self, outcome: Outcome) -> Picture:
        source, preview = outcome.task.picture, self._orders.preview
        picture = self._composition.add(outcome)
        self._num_interlaced += source.was_interlaced
        if preview is not None and source.frame is not None and preview.is_wanted:
            preview.offer(source, picture)
        return picture

    def _count(self) -> Facts:
        tally = self._tally
        return Facts(self._num_interlaced, tally.num_reused, tally.pixels_seen, tally.pixels_computed)

    def _note_facts(self, index: int, before: Facts) -> Facts:
        now = self._count()
        self.facts[index] = Facts(*(new - old for new, old in zip(astuple(now), astuple(before), strict=True)))
        return now


def finish_segment(encoder: SegmentEncoder, landmarks: Landmarks, composer: Composer, clock: StageClock) -> Entry:
    """Drain an encoder, complete its file, and tell what there is to know of it. Threads may do so side by side.

    Raises:
        OutputError: the disk is full, or the encoder fails.
    """
    with clock.working("encode"):
        file = encoder.finish()
    return Entry(encoder.index, file, landmarks.take(encoder.index), composer.facts.pop(encoder.index))


def check_chain(entries: Sequence[Entry], place: str) -> None:
    """Make sure that the segments are a whole film: each begins with the very picture that the one before ends at.

    Raises:
        ProcessingError: a stretch is missing or there twice.
    """
    is_whole = bool(entries) and entries[0].span.begins_film and entries[-1].span.after is None
    if not is_whole or any(one.span.after != next_one.span.first for one, next_one in pairwise(entries)):
        raise ProcessingError(f"the segments in {place!r} do not make a whole film", hint="begin anew with --fresh")
