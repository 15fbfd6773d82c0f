"""How far two pictures are apart, and how differently two films move."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# ITU-R BT.601 luma of non-linear RGB in 0..1, limited range, as MATLAB's rgb2ycbcr and the papers compute it:
# Y = (16 + 65.481 R + 128.553 G + 24.966 B) / 255.
LUMA_BT601 = (65.481 / 255, 128.553 / 255, 24.966 / 255)
_LUMA_OFFSET = 16 / 255

_SSIM_WINDOW = 11
_SSIM_SIGMA = 1.5
_SSIM_C1 = 0.01**2  # for a data range of 1
_SSIM_C2 = 0.03**2
_SSIM_BAND = 65536  # windows


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
    and round both pictures to 8 bits before (left to the caller). Y is not rounded; MATLAB's rgb2ycbcr of 8-bit
    pictures rounds it, which lowers the figures by 0.01 dB and 0.001 of SSIM (bicubic x4 on Set5: 28.43 / 0.8113,
    rounded 28.42 / 0.8102).
    """
    return psnr(luma_bt601(a), luma_bt601(b), border=border)


def ssim(a: Tensor, b: Tensor, *, border: int = 0, data_range: float = 1.0) -> float:
    """Structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004), the mean over windows, channels and pictures.

    As the authors' ssim_index.m with its defaults, which super-resolution papers use on luma: windows of 11x11
    weighted by a Gaussian of sigma 1.5, only those wholly inside the picture, K1 = 0.01, K2 = 0.03, population
    variances, no down-sampling before. Of RGB it is the mean of the three channels' figures.

    Args:
        a, b: tensors of the same shape ...HW, of any dtype, compared in float64.
        border: pixels cut off at each of the four edges before comparing.
        data_range: the distance between the darkest and the brightest value possible.

    Returns:
        -1..1, 1 where the two are equal; NaN where either holds a NaN.

    Raises:
        ValueError: shapes differ, or less than 11x11 pixels are left inside the border.
    """
    if a.shape != b.shape:
        raise ValueError(f"pictures of different shapes: {tuple(a.shape)} and {tuple(b.shape)}")
    shape = tuple(a.shape)
    a, b = _cut(a, border).double(), _cut(b, border).double()
    if min(a.shape[-2:]) < _SSIM_WINDOW or a.numel() == 0:
        raise ValueError(f"{shape} leaves less than a window of 11x11 pixels inside a border of {border}")
    a, b = a / data_range, b / data_range
    num_rows, num_columns = (side - _SSIM_WINDOW + 1 for side in a.shape[-2:])
    # In bands of rows that stay in the cache: a third of the time for a frame of 1080p.
    step = max(_SSIM_WINDOW, _SSIM_BAND // num_columns)
    total = torch.zeros((), dtype=torch.float64, device=a.device)
    for top in range(0, num_rows, step):
        rows = slice(top, top + step + _SSIM_WINDOW - 1)
        total += _likeness(a[..., rows, :], b[..., rows, :]).sum()
    return float(total) / (math.prod(a.shape[:-2]) * num_rows * num_columns)


def ssim_y(a: Tensor, b: Tensor, *, border: int = 0) -> float:
    """SSIM of the luma of two ...3HW RGB pictures in 0..1: the figure of super-resolution papers (see `psnr_y`)."""
    return ssim(luma_bt601(a), luma_bt601(b), border=border)


class TemporalDifference:
    """How differently two films move, in 8-bit levels of luma: the flicker that upscaling adds.

    The mean over all pixels and all pairs of neighbouring frames of |(out_t - out_t-1) - (ref_t - ref_t-1)|, Y as
    `luma_bt601` has it (16..235). 0 where the output changes from frame to frame exactly as the reference does,
    however wrong each of its frames may be; a constant error is no flicker.

    Args:
        border: pixels cut off at each of the four edges before comparing.
    """

    def __init__(self, border: int = 0) -> None:
        self._border = border
        self._error_before: Tensor | None = None
        self._total = 0.0
        self.num_pairs = 0

    def add(self, frame_3HW: Tensor, reference_3HW: Tensor) -> None:
        """The next frame and its reference, ...3HW RGB in 0..1, of the size of those before.

        Raises:
            ValueError: the sizes differ, from one another or from the frames before; nothing is left in the border.
        """
        if frame_3HW.shape != reference_3HW.shape:
            raise ValueError(f"frames of different shapes: {tuple(frame_3HW.shape)}, {tuple(reference_3HW.shape)}")
        # The difference of differences is the difference of the errors: one plane to remember instead of two.
        error = _cut(luma_bt601(frame_3HW) - luma_bt601(reference_3HW), self._border)
        if error.numel() == 0:
            raise ValueError(f"nothing is left of {tuple(frame_3HW.shape)} inside a border of {self._border} pixels")
        if self._error_before is not None:
            if error.shape != self._error_before.shape:
                raise ValueError(f"frames of {tuple(frame_3HW.shape)} follow frames of another size")
            self._total += float((error - self._error_before).abs().mean()) * 255
            self.num_pairs += 1
        self._error_before = error

    @property
    def mean(self) -> float | None:
        """The figure over all frames so far; None before the second."""
        return self._total / self.num_pairs if self.num_pairs else None


def luma_bt601(frames_3HW: Tensor) -> Tensor:
    """...3HW RGB in 0..1 to ...1HW luma in 16/255..235/255, float64."""
    if frames_3HW.shape[-3] != 3:
        raise ValueError(f"luma needs RGB, not a tensor of shape {tuple(frames_3HW.shape)}")
    weights = torch.tensor(LUMA_BT601, dtype=torch.float64, device=frames_3HW.device).view(3, 1, 1)
    return (frames_3HW.double() * weights).sum(dim=-3, keepdim=True) + _LUMA_OFFSET


def _cut(picture: Tensor, border: int) -> Tensor:
    height, width = picture.shape[-2:]
    return picture[..., border : max(border, height - border), border : max(border, width - border)]


def _likeness(a: Tensor, b: Tensor) -> Tensor:
    """SSIM of every window, for a data range of 1: equation 13 of the paper."""
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    variance_a = _window_mean(a * a) - mean_a * mean_a
    variance_b = _window_mean(b * b) - mean_b * mean_b
    covariance = _window_mean(a * b) - mean_a * mean_b
    likeness = (2 * mean_a * mean_b + _SSIM_C1) * (2 * covariance + _SSIM_C2)
    return likeness / ((mean_a * mean_a + mean_b * mean_b + _SSIM_C1) * (variance_a + variance_b + _SSIM_C2))


def _window_mean(picture: Tensor) -> Tensor:
    """...HW to ...(H-10)(W-10): Gaussian means of all windows of 11x11 inside the picture."""
    steps = torch.arange(_SSIM_WINDOW, dtype=torch.float64) - _SSIM_WINDOW // 2
    weights = torch.exp(-(steps**2) / (2 * _SSIM_SIGMA**2))
    shares: list[float] = (weights / weights.sum()).tolist()
    for axis in (-2, -1):
        count = picture.shape[axis] - _SSIM_WINDOW + 1
        total = picture.narrow(axis, 0, count) * shares[0]
        for offset, share in enumerate(shares[1:], 1):
            total.add_(picture.narrow(axis, offset, count), alpha=share)
        picture = total
    return picture
