"""The stopwatch, the machine's rate, and what is left as it was."""

from __future__ import annotations

import time

import pytest
import torch

from vsr.training import speed
from vsr.training.speed import Stopwatch, flushed_denormals, measure_matrix_rate


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


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_rate_is_arithmetic_over_time_and_draws_no_numbers(monkeypatch: pytest.MonkeyPatch, precision: str):
    ticks = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(speed, "_SIDE_CPU", 8)
    before = torch.get_rng_state()
    assert measure_matrix_rate(torch.device("cpu"), precision) == 2 * 8**3
    assert torch.equal(torch.get_rng_state(), before)


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
