"""A ring of buffers that take turns: bounded memory between two that work at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from torch import Tensor

__all__ = ["Ring", "Slot", "Waitable"]

# How often one that waits for a buffer looks whether it is to stop.
PATIENCE_SECONDS = 0.1


class Waitable(Protocol):
    """What a device will have done at some time, such as a CUDA event."""

    def synchronize(self) -> None:
        """Return when it is done."""


class Slot:
    """One buffer, lent out.

    Attributes:
        memory: flat uint8, at least as long as asked for.
    """

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self.memory: Tensor | None = None
        self.is_lent = False
        self.last_use: Waitable | None = None

    def release(self, after: Waitable | None = None) -> None:
        """Give the buffer back. It is used again once `after` has passed."""
        self._ring.put_back(self, after)


class Ring:
    """`num_slots` buffers that are lent out in turn: always the one that has been back for longest.

    Buffers are made when they are first wanted, and anew when a larger one is wanted. Any thread may take, any may
    release.

    Args:
        allocate: makes a flat uint8 tensor of so many bytes.
        check_stop: raises when whoever waits for a buffer is to stop waiting.
    """

    def __init__(self, num_slots: int, allocate: Callable[[int], Tensor], check_stop: Callable[[], None]) -> None:
        self._allocate, self._check_stop = allocate, check_stop
        self._slots = [Slot(self) for _ in range(num_slots)]
        self._turn = 0
        self._change = threading.Condition()

    def take(self, num_bytes: int) -> Slot:
        """The next buffer in turn, with room for `num_bytes`; waits until it is back and its last use is over."""
        with self._change:
            slot = self._slots[self._turn]
            while slot.is_lent:
                self._check_stop()
                self._change.wait(PATIENCE_SECONDS)
                slot = self._slots[self._turn]
            slot.is_lent = True
            self._turn = (self._turn + 1) % len(self._slots)
        if slot.last_use is not None:
            slot.last_use.synchronize()
            slot.last_use = None
        if slot.memory is None or len(slot.memory) < num_bytes:
            slot.memory = None  # the old one goes before the new one comes
            slot.memory = self._allocate(num_bytes)
        return slot

    def put_back(self, slot: Slot, after: Waitable | None) -> None:
        """See `Slot.release`."""
        with self._change:
            assert slot.is_lent, "a buffer is released once"
            slot.last_use, slot.is_lent = after, False
            self._change.notify_all()
