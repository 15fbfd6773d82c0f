"""What an 8-bit form of a network must hold, read off some pictures, and how far it then is from float32."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from vsr.model.compact import Compact

__all__ = ["compare_speed", "measure_distance", "measure_ranges"]

# Other pictures of the same film may go a little further than those looked at.
HEADROOM = 1.05
NUM_TRIALS = 3


def measure_ranges(network: Compact, samples: Sequence[Tensor]) -> tuple[float, ...]:
    """The largest magnitude that enters each convolution but the first, over all samples, and a little more.

    Args:
        network: in float32.
        samples: B,3,H,W float32 RGB 0..1 each.
    """
    convolutions = [layer for layer in network.body if isinstance(layer, nn.Conv2d)][1:]
    largest = [0.0] * len(convolutions)
    with torch.inference_mode():
        for sample in samples:
            values, number = sample, -1
            for layer in network.body:
                if isinstance(layer, nn.Conv2d):
                    if number >= 0:
                        largest[number] = max(largest[number], float(values.abs().max()))
                    number += 1
                values = layer(values)
    return tuple(HEADROOM * value for value in largest)


def measure_distance(
    first: Callable[[Tensor], Tensor], second: Callable[[Tensor], Tensor], samples: Sequence[Tensor]
) -> float:
    """PSNR in dB, peak 1, between what two forms of a network make of all samples, clipped to 0..1; inf if equal."""
    total, count = 0.0, 0
    with torch.inference_mode():
        for sample in samples:
            difference = first(sample).clamp(0, 1) - second(sample).clamp(0, 1)
            total += float(difference.to(torch.float64).square().sum())
            count += difference.numel()
    return math.inf if total == 0 else 10 * math.log10(count / total)


def compare_speed(first: Callable[[Tensor], Tensor], second: Callable[[Tensor], Tensor], sample: Tensor) -> float:
    """How many times as fast as `second` `first` is on one picture: to within tens of per cent."""
    ratios = []
    with torch.inference_mode():
        for number in range(NUM_TRIALS + 1):
            begin = time.perf_counter()
            first(sample)
            between = time.perf_counter()
            second(sample)
            if number:  # the first call makes graphs and packs weights
                ratios.append((time.perf_counter() - between) / (between - begin))
    return statistics.median(ratios)
