"""Learning rates against torch's own schedulers, which count steps where ours know."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vsr.training.recipe import OptimizerSettings
from vsr.training.schedule import rate_factor


def rates_of(scheduler: type[torch.optim.lr_scheduler.LRScheduler], steps: int, **options: object) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = scheduler(optimizer, **options)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_multistep_is_torchs():
    settings = OptimizerSettings(schedule="multistep", milestones=(3, 5, 9), gamma=0.5)
    expected = rates_of(torch.optim.lr_scheduler.MultiStepLR, 12, milestones=[3, 5, 9], gamma=0.5)
    assert [rate_factor(step, settings, 12) for step in range(12)] == expected


def test_cosine_is_torchs():
    settings = OptimizerSettings(schedule="cosine", final_rate=0.1)
    expected = rates_of(torch.optim.lr_scheduler.CosineAnnealingLR, 20, T_max=20, eta_min=0.1)
    assert [rate_factor(step, settings, 20) for step in range(20)] == pytest.approx(expected)


def test_warm_up_is_a_straight_line_to_the_full_rate():
    settings = OptimizerSettings(schedule="constant", warmup=4)
    assert [rate_factor(step, settings, 10) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]


@given(st.integers(0, 50), st.integers(1, 200), st.floats(0, 1))
def test_cosine_rises_once_then_falls_to_its_end(warmup: int, steps: int, final: float):
    settings = OptimizerSettings(schedule="cosine", warmup=warmup, final_rate=final)
    factors = [rate_factor(step, settings, steps) for step in range(max(steps, warmup) + 2)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert factors[:warmup] == sorted(factors[:warmup])
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)
    assert factors[-1] == pytest.approx(final)
