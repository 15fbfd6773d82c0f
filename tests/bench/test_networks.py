"""Networks alone, against a known ceiling."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vsr.bench import networks
from vsr.bench.ceiling import choose_precisions, measure_ceiling
from vsr.bench.networks import measure_networks
from vsr.bench.spread import Spread
from vsr.model.loading import load_model
from vsr.model.precision import has_native_bf16
from vsr.model.speed import Speed
from vsr.model.upscaler import Upscaler


@pytest.fixture
def upscaler(tiny_weights: Path) -> Upscaler:
    return Upscaler(load_model(tiny_weights), device="cpu", precision="fp32")


def test_rates_and_shares_are_arithmetic(upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 ms for a frame of 100 pixels, under a ceiling of a thousand such frames a second."""
    flop = upscaler.network.flops_per_pixel * 100
    speed = Speed("mine", 20.0, 10.0, 40.0, 5, "10x10", 4.0, "cpu", "fp32", 1)
    monkeypatch.setattr(networks, "measure_speeds", lambda upscalers, **others: [speed])
    ceiling = {"fp32": Spread.of([flop * 1000])}
    frame_BCHW = torch.rand(1, 3, 10, 10)
    (found,) = measure_networks({"mine": upscaler}, ceiling, frame_BCHW=frame_BCHW, num_runs=1)
    assert found.milliseconds == Spread(20.0, 10.0, 40.0)
    assert found.frames_per_second == 50
    assert found.flop_per_second == pytest.approx(50 * flop)
    assert found.share_of_ceiling == pytest.approx(0.05)
    (found,) = measure_networks({"mine": upscaler}, {"bf16": Spread.of([1.0])}, frame_BCHW=frame_BCHW, num_runs=1)
    assert found.share_of_ceiling is None


def test_calls_are_counted_by_the_run(upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    call = Upscaler.__call__

    def count(self: Upscaler, frames_BCHW: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        assert frames_BCHW.shape == (1, 3, 8, 12)
        return call(self, frames_BCHW)

    monkeypatch.setattr(Upscaler, "__call__", count)
    measure_networks({"mine": upscaler}, {}, frame_BCHW=torch.rand(1, 3, 8, 12), num_runs=2)
    assert calls == 3 + 2 * networks.CALLS_PER_RUN


def test_the_ceiling_has_the_precisions_of_the_device() -> None:
    half = ("bf16",) if has_native_bf16() else ()
    assert choose_precisions(torch.device("cpu"), "fp32") == ("fp32", *half)
    assert choose_precisions(torch.device("cuda", 0), "bf16") == ("fp32", "fp16", "bf16")
    assert choose_precisions(torch.device("cpu"), "int8") == ("fp32", *half)
    rates = measure_ceiling(torch.device("cpu"), "fp32", 2)
    assert tuple(rates) == ("fp32", *half)
    assert all(0 < rate.least <= rate.greatest for rate in rates.values())
