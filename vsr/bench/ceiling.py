"""What the machine can do: the rate of large matrix products, which no convolution exceeds by much."""

from __future__ import annotations

import torch

from vsr.bench.spread import Spread
from vsr.model.precision import DTYPES, has_native_bf16
from vsr.model.speed import measure_matrix_rate

__all__ = ["choose_precisions", "measure_ceiling"]


def measure_ceiling(device: torch.device, precision: str, num_runs: int) -> dict[str, Spread]:
    """FLOP per second by precision, with torch's threads; the precisions take turns, each run is the best of five.

    Args:
        precision: what the networks run in; measured besides the usual ones.
    """
    rates: dict[str, list[float]] = {name: [] for name in choose_precisions(device, precision)}
    for _ in range(num_runs):
        for name, measured in rates.items():
            measured.append(measure_matrix_rate(device, name))
    return {name: Spread.of(measured) for name, measured in rates.items()}


def choose_precisions(device: torch.device, precision: str) -> tuple[str, ...]:
    """fp32, the half precision that the device multiplies itself (bf16 on such CPUs, fp16 on GPUs), and `precision`."""
    has_half = device.type != "cpu" or has_native_bf16()
    half = "bf16" if device.type == "cpu" else "fp16"
    wanted = dict.fromkeys(["fp32", *([half] if has_half else []), precision])
    return tuple(name for name in wanted if name in DTYPES)  # int8 has no product of torch's to compare with
