"""How the cores of a CPU are shared out between frames: tried out on the film itself, while it runs.

A core may have a frame to itself, or several cores may share one; which is better depends on the network, the size of
the frame, the processor, and on what the encoder takes at the same time. Seen on two cores: 64 features and 16 layers
beside x264 took 225 ms a frame two at a time, 258 one after the other; elsewhere it is the other way round. So each way
gets some frames at the beginning, and the fastest keeps the rest. What comes out is the same either way.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from vsr.model.upscaler import Upscaler

__all__ = ["CoreShare", "Way", "keep_thread_setting", "list_ways"]

T = TypeVar("T")

# More frames at once than this cost memory (each has its own activations) and bring little.
MAX_WORKERS = 4
# A way is judged by so many frames, and by no less than so many seconds, once its first frames are through.
TRIAL_FRAMES = 8
TRIAL_SECONDS = 0.25
# What comes first is known to be good: another must be clearly faster to take its place.
MARGIN = 1.03


@dataclass(frozen=True, slots=True)
class Way:
    """So many frames (or batches) at a time, each by so many threads of torch."""

    num_frames: int
    num_threads: int


def list_ways(upscaler: Upscaler, num_groups: int | None) -> list[Way]:
    """The ways worth trying, the likeliest first.

    Args:
        num_groups: how many frames or batches there will be, None where unknown: of a handful none is to spare.
    """
    if upscaler.device.type != "cpu":
        # A thread for each: it does little but launch kernels.
        return [Way(upscaler.num_devices, torch.get_num_threads())]
    num_cores = torch.get_num_threads()
    num_workers = min(num_cores, MAX_WORKERS)
    if num_groups is not None and num_groups < 2 * num_workers:
        return [Way(1, num_cores)]
    split = Way(num_workers, max(1, num_cores // num_workers))
    ways = list(dict.fromkeys([split, Way(1, num_cores)]))
    num_tried = len(ways) * (TRIAL_FRAMES + 2 * num_workers)
    return ways if num_groups is None or num_groups > 4 * num_tried else ways[:1]


class CoreShare:
    """Lets as many frames through at a time as the way under trial says, and keeps the fastest way.

    Args:
        ways: at least one; the first is kept unless another is clearly faster.
        clock: seconds, for tests.

    Attributes:
        way: in force now.
        num_workers: threads to call it from: the most frames that any way has at a time.
    """

    def __init__(self, ways: Sequence[Way], clock: Callable[[], float] = time.perf_counter) -> None:
        self._untried = list(ways)
        self._clock = clock
        self._change = threading.Condition()
        self._num_running = 0
        self._rates: dict[Way, float] = {}
        self.num_workers = max(way.num_frames for way in ways)
        self._begin(self._untried.pop(0))

    def share(self, function: Callable[[Any], T]) -> Callable[[Any], T]:
        """`function`, run in its turn, with the threads of torch that it is to have (the setting is per thread)."""
        num_threads_set = 0

        def run_in_turn(item: Any) -> T:
            nonlocal num_threads_set
            way = self._enter()
            try:
                if num_threads_set != way.num_threads:
                    torch.set_num_threads(way.num_threads)
                    num_threads_set = way.num_threads
                return function(item)
            finally:
                self._leave()

        return run_in_turn

    def _enter(self) -> Way:
        with self._change:
            # Whoever runs leaves, well or not: nobody waits here for ever.
            self._change.wait_for(lambda: self._num_running < self.way.num_frames)
            self._num_running += 1
            return self.way

    def _leave(self) -> None:
        with self._change:
            self._num_running -= 1
            if self._is_trying:
                self._count()
            self._change.notify_all()

    def _begin(self, way: Way) -> None:
        self.way = way
        self._num_done = 0
        self._since = 0.0
        self._is_trying = bool(self._untried or self._rates)

    def _count(self) -> None:
        self._num_done += 1
        num_first = 2 * self.num_workers  # those under way when this way began, and the first of its own
        if self._num_done == num_first:
            self._since = self._clock()
        seconds = self._clock() - self._since
        if self._num_done < num_first + TRIAL_FRAMES or seconds < TRIAL_SECONDS:
            return
        self._rates[self.way] = (self._num_done - num_first) / seconds
        if self._untried:
            self._begin(self._untried.pop(0))
            return
        first, *others = self._rates
        best = max(others, key=self._rates.__getitem__)
        self._begin(best if self._rates[best] > MARGIN * self._rates[first] else first)
        self._is_trying = False


@contextmanager
def keep_thread_setting() -> Iterator[None]:
    """Puts back what `CoreShare` leaves behind: the last setting of any thread is what new threads begin with."""
    num_threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)
