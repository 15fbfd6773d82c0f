"""How fast networks go, and how fast the machine could go."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from vsr.model.upscaler import Upscaler

__all__ = ["Speed", "measure_matrix_rate", "measure_speeds", "synchronize"]

FRAME_HEIGHT, FRAME_WIDTH = 270, 480
NUM_WARM_UP = 3
NUM_RUNS = 15

# Large enough that the product itself takes the time: AMX does bf16 at 1024 at 60 % of its rate at 2048.
_SIDE_CPU, _SIDE_GPU = 2048, 8192
_NUM_PRODUCTS = 5


@dataclass(frozen=True, slots=True)
class Speed:
    """Wall-clock milliseconds per frame: the median, the fastest and the slowest of `num_runs` after a warm-up.

    Attributes:
        frame: of the input, "480x270".
        threads: of torch on a CPU; None elsewhere.
    """

    model: str
    milliseconds: float
    fastest: float
    slowest: float
    num_runs: int
    frame: str
    scale: float
    device: str
    precision: str
    threads: int | None

    def to_json(self) -> dict[str, Any]:
        return {key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(self).items()}


def measure_speeds(
    upscalers: Mapping[str, Upscaler], *, num_runs: int = NUM_RUNS, frame_BCHW: Tensor | None = None
) -> list[Speed]:
    """Time upscalers as `vsr upscale` calls them, alone on the machine; they take turns: a slow minute hits all.

    What counts is one call: picture tensor in, finished picture tensor out (0..1, checked for NaN), both on the device;
    neither decoding nor colour conversion nor encoding.

    Args:
        upscalers: by the names that they go by.
        frame_BCHW: the input, 1,3,H,W float32 RGB in 0..1; None for noise of 480x270. int8 is fitted to it.

    Raises:
        ProcessingError: a network gives NaN or Inf, int8 is too far from fp32, or memory is too small.
    """
    if frame_BCHW is None:
        frame_BCHW = torch.rand(1, 3, FRAME_HEIGHT, FRAME_WIDTH, generator=torch.Generator().manual_seed(0))
    height, width = frame_BCHW.shape[-2:]
    frames = {name: frame_BCHW.to(upscaler.device) for name, upscaler in upscalers.items()}
    times: dict[str, list[float]] = {name: [] for name in upscalers}
    for _ in range(NUM_WARM_UP + num_runs):
        for name, upscaler in upscalers.items():
            start = time.perf_counter()
            upscaler(frames[name])
            synchronize(upscaler.device)
            times[name].append((time.perf_counter() - start) * 1e3)
    return [
        Speed(
            model=name,
            milliseconds=statistics.median(times[name][NUM_WARM_UP:]),
            fastest=min(times[name][NUM_WARM_UP:]),
            slowest=max(times[name][NUM_WARM_UP:]),
            num_runs=num_runs,
            frame=f"{width}x{height}",
            scale=upscaler.scale,
            device=str(upscaler.device),
            precision=upscaler.precision,
            threads=torch.get_num_threads() if upscaler.device.type == "cpu" else None,
        )
        for name, upscaler in upscalers.items()
    ]


def measure_matrix_rate(device: torch.device, precision: str) -> float:
    """Floating point operations per second of a large matrix product, the best of five: what there is to be had.

    Args:
        precision: "fp32", "bf16" or "fp16". fp32 is measured as torch is set to do it (TF32 or not).
    """
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    side = _SIDE_GPU if device.type == "cuda" else _SIDE_CPU
    # Numbers of its own: what a training draws must not depend on whether speed is measured.
    generator = torch.Generator(device).manual_seed(0)
    matrix = torch.rand(side, side, device=device, generator=generator).to(dtype)
    seconds = []
    for _ in range(_NUM_PRODUCTS + 1):
        synchronize(device)
        started = time.perf_counter()
        torch.mm(matrix, matrix)
        synchronize(device)
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / min(seconds[1:])


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all its work: a GPU takes it and answers at once."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
