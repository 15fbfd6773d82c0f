"""Timestamps as a film really has them, made fit for an encoder without moving a single good one.

Three faults are met in real files: frames that come out of the decoder in the wrong order, frames without
a timestamp, and frames whose timestamp does not lie after the one before. Frames are put in the order of
their timestamps within a short window; only what then is still missing or not increasing is repaired,
by the smallest change, and counted.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Generic, TypeVar

__all__ = ["Stamped", "TimestampRepair", "rescale", "sort_by_time"]

T = TypeVar("T")

# Decoders that mistake a stream's reordering depth are wrong by one or two frames.
REORDER_WINDOW = 4


@dataclass(frozen=True, slots=True)
class Stamped(Generic[T]):
    """A payload with its presentation time `pts` (ticks; None: unknown) and `duration` (ticks; 0: unknown).

    `is_interlaced` tells what the payload was before it was deinterlaced.
    """

    payload: T
    pts: int | None
    duration: int
    is_interlaced: bool = False


def rescale(ticks: int, source: Fraction, target: Fraction) -> int:
    """`ticks` of `source` seconds in ticks of `target` seconds, to the nearest, halves away from zero (as FFmpeg)."""
    exact = ticks * source / target
    return int(exact + Fraction(1, 2)) if exact >= 0 else -int(-exact + Fraction(1, 2))


def sort_by_time(
    items: Iterable[Stamped[T]], *, trust_order: bool = False, window: int = REORDER_WINDOW
) -> Iterator[Stamped[T]]:
    """Yield `items` with timestamps that ascend, looking at most `window` items ahead.

    Items without a timestamp keep their place: what came before them leaves first.

    Args:
        trust_order: True where the order of the items is right and their timestamps were guessed: then only the
            timestamps are put in order. False where the timestamps are right: then the items move.
    """
    heap: list[tuple[int, int, Stamped[T]]] = []
    payloads: deque[T] = deque()

    def pop() -> Stamped[T]:
        stamped = heapq.heappop(heap)[2]
        return replace(stamped, payload=payloads.popleft()) if trust_order else stamped

    for serial, item in enumerate(items):
        if item.pts is None:
            while heap:
                yield pop()
            yield item
            continue
        heapq.heappush(heap, (item.pts, serial, item))
        if trust_order:
            payloads.append(item.payload)
        if len(heap) > window:
            yield pop()
    while heap:
        yield pop()


@dataclass(slots=True)
class TimestampRepair:
    """Gives every frame a timestamp after its predecessor's; good timestamps pass unchanged.

    Args:
        time_base: seconds per tick.
        frame_duration: seconds per frame where the frames themselves do not say; None: one tick.
        minimal_step: ticks that two frames must lie apart (a coarser output container needs more than one).
    """

    time_base: Fraction
    frame_duration: Fraction | None = None
    minimal_step: int = 1
    num_missing: int = 0
    num_not_increasing: int = 0
    _last: int | None = field(default=None, repr=False)
    _last_duration: int = field(default=0, repr=False)

    def repair(self, pts: int | None, duration: int) -> int:
        """The timestamp (ticks) for a frame that states `pts` and `duration` (ticks, 0: unknown)."""
        if pts is None:
            self.num_missing += 1
            pts = 0 if self._last is None else self._last + (self._last_duration or self._default_duration())
        if self._last is not None and pts < self._last + self.minimal_step:
            self.num_not_increasing += 1
            pts = self._last + self.minimal_step
        self._last, self._last_duration = pts, duration
        return pts

    def _default_duration(self) -> int:
        if self.frame_duration is None:
            return 1
        return max(1, round(self.frame_duration / self.time_base))
