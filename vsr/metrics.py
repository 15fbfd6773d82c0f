"""How far two pictures are apart."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# ITU-R BT.601 luma of non-linear RGB in 0..1, limited range, as MATLAB's rgb2ycbcr and the papers compute it:
# Y = (16 + 65.481 R + 128.553 G + 24.966 B) / 255.
_LUMA_BT601 = (65.481 / 255, 128.553 / 255, 24.966 / 255)
_LUMA_OFFSET = 16 / 255


def psnr(a: Tensor, b: Tensor, *, border: int = 0, data_range: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(data_range² / mean squared difference), over all elements.

    Args:
        a, b: tensors of the same shape ...HW, of any dtype, compared in float64.
        border: pixels cut off at each of the four edges before comparing.
        data_range: the distance between the darkest and the brightest value possible.

    Returns:
        The ratio; infinity where the two are equal, NaN where either holds a NaN.

    Raises:
        ValueError: shapes differ, or nothing is left inside the border.
    """
    if a.shape != b.shape:
        raise ValueError(f"pictures of different shapes: {tuple(a.shape)} and {tuple(b.shape)}")
    a, b = _cut(a, border).double(), _cut(b, border).double()
    if a.numel() == 0:
        raise ValueError(f"nothing is left of {tuple(a.shape)} inside a border of {border} pixels")
    error = float(torch.mean((a - b) ** 2))
    return 10 * math.log10(data_range**2 / error) if error else math.inf


def psnr_y(a: Tensor, b: Tensor, *, border: int = 0) -> float:
    """PSNR in dB of the luma (BT.601, limited range: 219/255 of full scale) of two ...3HW RGB pictures in 0..1.

    This is the figure of super-resolution papers; they cut a border of as many pixels as the scale,
    and round both pictures to 8 bits before (left to the caller).
    """
    return psnr(luma_bt601(a), luma_bt601(b), border=border)


def luma_bt601(frames_3HW: Tensor) -> Tensor:
    """...3HW RGB in 0..1 to ...1HW luma in 16/255..235/255, float64."""
    if frames_3HW.shape[-3] != 3:
        raise ValueError(f"luma needs RGB, not a tensor of shape {tuple(frames_3HW.shape)}")
    weights = torch.tensor(_LUMA_BT601, dtype=torch.float64, device=frames_3HW.device).view(3, 1, 1)
    return (frames_3HW.double() * weights).sum(dim=-3, keepdim=True) + _LUMA_OFFSET


def _cut(picture: Tensor, border: int) -> Tensor:
    height, width = picture.shape[-2:]
    return picture[..., border : max(border, height - border), border : max(border, width - border)]
