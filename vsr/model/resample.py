"""The last step to a scale that is not the network's own."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional as F


def scale_side(side: int, scale: float) -> int:
    """`side` x `scale` rounded half up, at least 1.

    The scale is taken as the decimal number it prints as, so that 1.1 x 5 is 5.5 and becomes 6 whatever the
    binary float makes of it.
    """
    return max(1, int(Fraction(repr(float(scale))) * side + Fraction(1, 2)))


def resample(frames_BCHW: Tensor, height: int, width: int) -> Tensor:
    """Antialiased bicubic (Keys, a = -0.5, widened when shrinking: Pillow's BICUBIC) to an exact size.

    Args:
        frames_BCHW: float tensor, any strides, any device.

    Returns:
        float32 B,C,height,width; may overshoot the input's range at edges. The input itself where the size is right.
    """
    if frames_BCHW.shape[-2:] == (height, width):
        return frames_BCHW
    frames_BCHW = frames_BCHW.to(torch.float32)
    return F.interpolate(frames_BCHW, size=(height, width), mode="bicubic", align_corners=False, antialias=True)
