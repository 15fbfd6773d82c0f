"""What commands do about signals while they work."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

__all__ = ["heeding"]


@contextmanager
def heeding(answers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """Answer these signals while the block runs, in the main thread (others hear of none)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda number, _: answers[signal.Signals(number)]()) for number in answers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
