"""How fast networks go, and the machine's own rate."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

import networks
from vsr.model import speed
from vsr.model.loading import load_model
from vsr.model.speed import measure_matrix_rate, measure_speeds
from vsr.model.upscaler import Upscaler


def test_speed_says_how_it_was_measured(tiny_weights: Path) -> None:
    upscaler = Upscaler(load_model(tiny_weights), device="cpu")
    (found,) = measure_speeds({"mine": upscaler}, num_runs=3, frame_BCHW=torch.rand(1, 3, 20, 24))
    assert 0 < found.fastest <= found.milliseconds <= found.slowest
    assert (found.frame, found.num_runs, found.device, found.scale) == ("24x20", 3, "cpu", 4)
    assert found.threads == torch.get_num_threads()
    assert found.precision in ("bf16", "fp32")
    assert found.to_json()["model"] == "mine"


def test_networks_take_turns(tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = networks.write_compact(tmp_path / "other.safetensors", scale=2)
    upscalers = {path.stem: Upscaler(load_model(path), device="cpu") for path in (tiny_weights, other)}
    calls: list[str] = []
    call = Upscaler.__call__

    def record(self: Upscaler, frames_BCHW: torch.Tensor) -> torch.Tensor:
        calls.append(self.network.name)
        return call(self, frames_BCHW)

    monkeypatch.setattr(Upscaler, "__call__", record)
    monkeypatch.setattr(speed, "NUM_WARM_UP", 1)
    found = measure_speeds(upscalers, num_runs=2, frame_BCHW=torch.rand(1, 3, 8, 8))
    assert calls == ["tiny-x4", "other"] * 3
    assert [(one.model, one.scale) for one in found] == [("tiny-x4", 4), ("other", 2)]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_rate_is_arithmetic_over_time_and_draws_no_numbers(monkeypatch: pytest.MonkeyPatch, precision: str):
    ticks = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(speed, "_SIDE_CPU", 8)
    before = torch.get_rng_state()
    assert measure_matrix_rate(torch.device("cpu"), precision) == 2 * 8**3
    assert torch.equal(torch.get_rng_state(), before)
