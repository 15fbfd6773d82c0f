"""Each network alone, and how much of the machine it makes use of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from vsr.bench.spread import Spread
from vsr.model.speed import measure_speeds
from vsr.model.upscaler import Upscaler

__all__ = ["CALLS_PER_RUN", "NetworkSpeed", "measure_networks"]

CALLS_PER_RUN = 5


@dataclass(frozen=True, slots=True)
class NetworkSpeed:
    """One network through `Upscaler`, as `vsr upscale` calls it.

    Attributes:
        milliseconds: per frame.
        flop_per_second: the network's arithmetic over that time; None where it is not known.
        share_of_ceiling: of the matrix rate in the same precision; None where either is not known. Arithmetic that an
            engine saves (Winograd, parts that are not computed again) counts as done, so it may exceed 1.
    """

    name: str
    scale: float
    precision: str
    milliseconds: Spread
    frames_per_second: float
    flop_per_second: float | None
    share_of_ceiling: float | None


def measure_networks(
    upscalers: Mapping[str, Upscaler], ceiling: Mapping[str, Spread], *, frame_BCHW: Tensor, num_runs: int
) -> list[NetworkSpeed]:
    """Time all networks on a frame; they take turns.

    Args:
        ceiling: FLOP per second by precision, as far as it was measured.
        frame_BCHW: 1,3,H,W float32 RGB in 0..1.

    Raises:
        ProcessingError: a network gives NaN or Inf, int8 is too far from fp32, or memory is too small.
    """
    speeds = measure_speeds(upscalers, num_runs=CALLS_PER_RUN * num_runs, frame_BCHW=frame_BCHW)
    height, width = frame_BCHW.shape[-2:]
    found = []
    for speed in speeds:
        flop = upscalers[speed.model].network.flops_per_pixel * height * width
        rate = flop / (speed.milliseconds / 1e3) or None
        most = ceiling.get(speed.precision)
        found.append(
            NetworkSpeed(
                name=speed.model,
                scale=speed.scale,
                precision=speed.precision,
                milliseconds=Spread(speed.milliseconds, speed.fastest, speed.slowest),
                frames_per_second=1e3 / speed.milliseconds,
                flop_per_second=rate,
                share_of_ceiling=rate / most.median if rate and most else None,
            )
        )
    return found
