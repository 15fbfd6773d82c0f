"""The ring: bounded, in turn, and no buffer used again before it is back and its last use is over."""

from __future__ import annotations

import threading
from collections import deque

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vsr.errors import Interrupted
from vsr.pipeline import ring as ring_module
from vsr.pipeline.ring import Ring, Slot


class Event:
    """A use that is over once somebody has waited for it."""

    def __init__(self) -> None:
        self.has_passed = False

    def synchronize(self) -> None:
        self.has_passed = True


class Allocator:
    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, num_bytes: int) -> Tensor:
        self.sizes.append(num_bytes)
        return torch.empty(num_bytes, dtype=torch.uint8)


def make_ring(num_slots: int, allocate: Allocator | None = None) -> Ring:
    return Ring(num_slots, allocate or Allocator(), lambda: None)


def test_buffers_are_made_once_and_grow() -> None:
    allocate = Allocator()
    ring = make_ring(2, allocate)
    for num_bytes in (10, 10, 8, 20, 20, 5):
        slot = ring.take(num_bytes)
        assert slot.memory is not None
        assert len(slot.memory) >= num_bytes
        slot.release()
    assert allocate.sizes == [10, 10, 20, 20]


@given(st.integers(1, 4), st.lists(st.booleans(), max_size=60))
def test_taken_in_turn_and_never_before_the_last_use_is_over(num_slots: int, wishes: list[bool]) -> None:
    """True takes, where one is free; False releases the oldest with an event of its own."""
    ring, lent, order = make_ring(num_slots), deque[Slot](), list[int]()
    events: dict[int, Event] = {}
    for is_take in wishes:
        if is_take and len(lent) < num_slots:
            slot = ring.take(1)
            assert all(slot is not other for other in lent)
            assert id(slot) not in events or events.pop(id(slot)).has_passed
            order.append(id(slot))
            lent.append(slot)
        elif not is_take and lent:
            slot = lent.popleft()
            events[id(slot)] = Event()
            slot.release(after=events[id(slot)])
            assert not events[id(slot)].has_passed, "who releases does not wait"
    assert order == [order[number % num_slots] for number in range(len(order))]
    assert len(set(order)) <= num_slots


def test_who_takes_waits_for_the_oldest() -> None:
    ring = make_ring(2)
    oldest, newer = ring.take(1), ring.take(1)
    taken: list[Slot] = []
    thread = threading.Thread(target=lambda: taken.append(ring.take(1)))
    thread.start()
    newer.release()
    thread.join(0.2)
    assert not taken, "its turn comes after the oldest"
    oldest.release()
    thread.join()
    assert taken == [oldest]


def test_waiting_ends_when_it_is_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_module, "PATIENCE_SECONDS", 0.01)
    stop = threading.Event()

    def check_stop() -> None:
        if stop.is_set():
            raise Interrupted

    ring = Ring(1, Allocator(), check_stop)
    ring.take(1)
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(Interrupted):
        ring.take(1)


def test_a_buffer_is_released_once() -> None:
    slot = make_ring(1).take(1)
    slot.release()
    with pytest.raises(AssertionError):
        slot.release()
