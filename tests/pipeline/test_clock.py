from __future__ import annotations

import time

import pytest

from vsr.pipeline.clock import StageClock


def test_only_working_time_counts() -> None:
    clock = StageClock()
    for _ in clock.watch("decode", iter([1, 2])):
        time.sleep(0.02)
    with clock.working("compute"):
        time.sleep(0.02)
    assert clock.seconds["decode"] < 0.01
    assert clock.seconds["compute"] >= 0.02
    assert clock.bottleneck == "compute"


def test_two_threads_count_their_mean() -> None:
    clock = StageClock()
    for _ in range(2):
        with clock.working("compute", 2):
            time.sleep(0.02)
    assert 0.02 <= clock.seconds["compute"] < 0.035


def test_failed_work_counts_too() -> None:
    clock = StageClock()

    def fail() -> None:
        time.sleep(0.01)
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"), clock.working("encode"):
        fail()
    assert clock.seconds["encode"] >= 0.01
