"""The stopwatch, and what is left as it was."""

from __future__ import annotations

import time

import pytest
import torch

from vsr.training.speed import Stopwatch, flushed_denormals


def test_a_stopwatch_leaves_pauses_out(monkeypatch: pytest.MonkeyPatch):
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    watch = Stopwatch()
    now += 2
    assert watch.read() == 2
    with watch.paused():
        now += 50
        assert watch.read() == 2
    now += 1
    assert watch.read() == 3
    assert watch.stop() == 3
    now += 9
    assert watch.read() == 3


@pytest.mark.parametrize("outside", [False, True])
def test_small_numbers_are_zeros_inside_and_as_before_outside(outside: bool):
    def small() -> float:
        return torch.tensor([1e-40]).mul(1.0).item()

    torch.set_flush_denormal(outside)
    try:
        with flushed_denormals():
            assert small() == 0
        assert (small() == 0) == outside
        with pytest.raises(ZeroDivisionError), flushed_denormals():
            raise ZeroDivisionError
        assert (small() == 0) == outside
    finally:
        torch.set_flush_denormal(False)
