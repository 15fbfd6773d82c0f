"""How fast a training goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["Stopwatch", "flushed_denormals"]

_DENORMAL = 1e-40  # in float32


class Stopwatch:
    """Runs from the moment it is made, except while it is paused.

    Attributes:
        seconds: as of the last `stop` or pause.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since: float | None = time.perf_counter()

    def read(self) -> float:
        """Seconds so far."""
        return self.seconds + (time.perf_counter() - self._since if self._since is not None else 0.0)

    def stop(self) -> float:
        """Stop for good; seconds in all."""
        self.seconds, self._since = self.read(), None
        return self.seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done inside does not count."""
        self.stop()
        try:
            yield
        finally:
            self._since = time.perf_counter()


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Inside, the processor takes numbers below 1e-38 for zero.

    Vanishing moments of Adam would cost a CPU a hundred times as much as zeros do. Afterwards all is as before: other
    code of this process may rely on such numbers.
    """
    before = not torch.tensor([_DENORMAL]).mul(1.0).item()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
