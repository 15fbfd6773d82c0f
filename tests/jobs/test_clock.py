"""The bell that ends a wait."""

from __future__ import annotations

import signal
import threading
import time

from vsr.jobs.clock import Bell, SystemClock


def test_ring_before_the_wait_counts_once():
    bell = Bell()
    bell.ring()
    bell.ring()
    assert bell.wait(10)
    assert not bell.wait(0)


def test_ring_of_another_thread_ends_the_wait():
    bell, began = Bell(), time.monotonic()
    threading.Timer(0.05, bell.ring).start()
    SystemClock().wait(bell, float("inf"))
    assert time.monotonic() - began < 10


def test_ring_of_a_signal_handler_ends_the_wait_of_the_thread_that_it_interrupts():
    bell = Bell()
    before = signal.signal(signal.SIGALRM, lambda number, frame: bell.ring())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert bell.wait(10)
    finally:
        signal.signal(signal.SIGALRM, before)
