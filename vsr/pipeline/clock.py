"""How long each stage of the river was at work, as opposed to waiting for its neighbours."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

__all__ = ["STAGES", "StageClock"]

T = TypeVar("T")
STAGES = ("decode", "compute", "encode")


class StageClock:
    """Seconds of wall-clock time that each stage spent working; a stage of several threads counts their mean."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._adding = threading.Lock()

    @contextmanager
    def working(self, stage: str, num_threads: int = 1) -> Iterator[None]:
        """Count the time of the block for `stage`, on which `num_threads` threads work."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._adding:
                self.seconds[stage] += (time.perf_counter() - start) / num_threads

    def timed(
        self, stage: str, function: Callable[..., T], num_threads: Callable[[], int] = lambda: 1
    ) -> Callable[..., T]:
        """`function`, its time counted for `stage`; `num_threads` says how many work on that at the time."""

        def timed_function(*arguments: Any) -> T:
            with self.working(stage, num_threads()):
                return function(*arguments)

        return timed_function

    def watch(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """Yield `items`, counting for `stage` the time that each takes to come: for stages that wait for nobody."""
        iterator = iter(items)
        try:
            while True:
                with self.working(stage):
                    try:
                        item = next(iterator)
                    except StopIteration:
                        return
                yield item
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    @property
    def bottleneck(self) -> str:
        """The stage that worked longest."""
        return max(STAGES, key=lambda stage: self.seconds[stage])
