"""How the cores of a machine are shared out among frames.

Measured on two cores with the compact 64x16 network and x264 beside it: two frames at a time with one thread each took
225 ms a frame, one frame with two threads 258. Threads that share a frame wait for each other after every layer, and
wait longer whenever the encoder takes a core away from one of them; frames wait for nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from vsr.model.upscaler import Upscaler

__all__ = ["keep_thread_setting", "limit_threads", "share_cores"]

T = TypeVar("T")

# More frames at once than this cost memory (each has its own activations) and bring little.
MAX_WORKERS = 4


def share_cores(upscaler: Upscaler, num_groups: int | None) -> tuple[int, int]:
    """(frames or batches at a time, torch threads for each).

    Args:
        num_groups: how many there will be, None where unknown: a handful is better done one after the other.
    """
    if upscaler.device.type != "cpu":
        return 1, torch.get_num_threads()
    num_cores = torch.get_num_threads()
    num_workers = min(num_cores, MAX_WORKERS)
    if num_groups is not None and num_groups < 2 * num_workers:
        num_workers = 1
    return num_workers, max(1, num_cores // num_workers)


def limit_threads(function: Callable[[Any], T], num_threads: int) -> Callable[[Any], T]:
    """`function`, with that many torch threads for the thread that calls it (the setting is per thread)."""
    is_set = False

    def limited(item: Any) -> T:
        nonlocal is_set
        if not is_set:
            torch.set_num_threads(num_threads)
            is_set = True
        return function(item)

    return limited


@contextmanager
def keep_thread_setting() -> Iterator[None]:
    """Puts back what `limit_threads` leaves behind: the last setting of any thread is what new threads begin with."""
    num_threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)
