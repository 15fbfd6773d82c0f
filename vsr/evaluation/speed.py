"""Milliseconds that a network takes for a frame."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch

from vsr.model.network import Network
from vsr.model.upscaler import Upscaler

__all__ = ["Speed", "measure_speed"]

FRAME_HEIGHT, FRAME_WIDTH = 270, 480
NUM_WARM_UP = 3
NUM_RUNS = 15


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


def measure_speed(
    network: Network,
    *,
    name: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    num_runs: int = NUM_RUNS,
    height: int = FRAME_HEIGHT,
    width: int = FRAME_WIDTH,
) -> Speed:
    """Time the network through `Upscaler`, as `vsr upscale` calls it, alone on the machine, with its own scale.

    What counts is one call: picture tensor in, finished picture tensor out (0..1, checked for NaN), both on the device;
    neither decoding nor colour conversion nor encoding.

    Args:
        precision: as `Upscaler` takes it; "auto" is what a run would use.

    Raises:
        DeviceError: no such device or precision here.
    """
    upscaler = Upscaler(network, device=device, precision=precision)
    frame = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)).to(upscaler.device)
    times = []
    for _ in range(NUM_WARM_UP + num_runs):
        start = time.perf_counter()
        upscaler(frame)
        _wait(upscaler.device)
        times.append((time.perf_counter() - start) * 1e3)
    times = times[NUM_WARM_UP:]
    return Speed(
        model=name or network.name,
        milliseconds=statistics.median(times),
        fastest=min(times),
        slowest=max(times),
        num_runs=num_runs,
        frame=f"{width}x{height}",
        scale=upscaler.scale,
        device=str(upscaler.device),
        precision=upscaler.precision,
        threads=torch.get_num_threads() if upscaler.device.type == "cpu" else None,
    )


def _wait(device: torch.device) -> None:
    """A GPU takes its work and answers at once: wait until it has done it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
