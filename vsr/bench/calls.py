"""A network called on the frames of the clip, on the clock.

Nothing of vsr.model is imported here: it changes how torch takes memory, and the plain loop goes without.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from vsr.bench.rgb import Array, read_rgb

__all__ = ["MAX_CALLS", "load_frames", "time_calls", "to_tensor"]

# Frames of the clip that a network is called on in one run: enough for a median, whatever the clip's length.
MAX_CALLS = 24


def load_frames(path: Path, device: torch.device | str, limit: int = MAX_CALLS) -> list[Tensor]:
    """The first frames of a clip: 1,3,H,W float32 RGB in 0..1 on the device."""
    return [to_tensor(picture).to(device) for picture in islice(read_rgb(path), limit)]


def to_tensor(picture_HW3: Array) -> Tensor:
    """1,3,H,W float32 in 0..1, as the usual scripts make it: planar strides, channel by channel."""
    return torch.from_numpy(picture_HW3.copy()).permute(2, 0, 1).unsqueeze(0).float().div_(255).contiguous()


def time_calls(enlarge: Callable[[Tensor], Tensor], frames: Sequence[Tensor]) -> float:
    """Median seconds of a call, after two to warm up; a GPU is waited for."""
    seconds = []
    for frame_BCHW in (frames[0], frames[-1], *frames):
        begin = time.perf_counter()
        result = enlarge(frame_BCHW)
        if result.device.type != "cpu":
            torch.accelerator.synchronize(result.device)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[2:])
