"""Frames that hold NaN or Inf, which half precision makes of sums that are too large for it."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["find_broken", "mark_broken"]


def find_broken(frames_BCHW: Tensor) -> list[int]:
    """The frames of a batch that hold NaN or Inf. On a GPU this waits until they have been made."""
    # One pass, of all at once: NaN and Inf survive a sum, and one over some dimensions of bf16 would copy it on a CPU.
    if bool(frames_BCHW.sum().isfinite()):
        return []
    # A sum of finite values may overflow.
    return [index for index, frame in enumerate(frames_BCHW) if not bool(frame.isfinite().all())]


def mark_broken(frames_BCHW: Tensor, broken_B: Tensor) -> None:
    """Write to `broken_B` (bool, on the frames' device) which frames may hold NaN or Inf, without waiting for anything.

    Where a sum of finite values overflows, a frame is marked for nothing.
    """
    torch.logical_not(frames_BCHW.sum(dim=(1, 2, 3), dtype=torch.float32).isfinite(), out=broken_B)
