"""Signals that are answered while a command works."""

from __future__ import annotations

import os
import signal
import threading

from vsr.cli.signals import heeding


def test_signals_are_answered_while_the_block_runs():
    heard: list[str] = []
    before = signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGUSR2)
    with heeding({signal.SIGUSR1: lambda: heard.append("one"), signal.SIGUSR2: lambda: heard.append("two")}):
        for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(os.getpid(), number)
    assert heard == ["two", "one", "two"]
    assert (signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGUSR2)) == before


def test_another_thread_hears_of_none():
    done = threading.Event()

    def run() -> None:
        with heeding({signal.SIGUSR1: lambda: None}):  # Python would raise ValueError
            done.set()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert done.is_set()
