"""What a frame costs on this machine: measured on a small picture, scaled to the real size."""

from __future__ import annotations

import math
import time

import torch

from vsr.model.speed import synchronize
from vsr.model.upscaler import Upscaler

__all__ = ["measure_seconds_per_frame"]

# Large enough to keep every core busy, small enough to answer in about a second with the largest network.
SAMPLE_SIDE = 128
NUM_RUNS = 3


def measure_seconds_per_frame(upscaler: Upscaler, height: int, width: int) -> float:
    """Seconds that `upscaler` needs for a frame of `height` x `width` source pixels, to within tens of per cent."""
    sample = torch.rand(1, 3, min(height, SAMPLE_SIDE), min(width, SAMPLE_SIDE))
    upscaler(sample)  # the first call chooses kernels
    best = math.inf
    for _ in range(NUM_RUNS):
        start = time.perf_counter()
        upscaler(sample)
        synchronize(upscaler.device)
        best = min(best, time.perf_counter() - start)
    return best * (height * width) / (sample.shape[-2] * sample.shape[-1])
