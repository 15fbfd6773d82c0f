"""Pictures to another size: the last step to a scale that is not the network's own, and the filters of papers."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional as F

from vsr.errors import SettingsError
from vsr.settings import MAX_SCALE

SHRINK_KERNELS = ("matlab", "pillow")
ENLARGE_FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")


def check_scale(scale: float) -> float:
    """The scale as a float.

    Raises:
        SettingsError: not a finite number in 0..16, zero excluded.
    """
    if not (math.isfinite(scale) and 0 < scale <= MAX_SCALE):
        raise SettingsError(f"scale {scale!r} is out of range", hint=f"above 0, at most {MAX_SCALE:g}")
    return float(scale)


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


def shrink(frames_BCHW: Tensor, factor: int, kernel: str = "matlab") -> Tensor:
    """A picture's low-resolution twin: antialiased bicubic (Keys, a = -0.5, stretched by `factor`), as papers make it.

    Both kernels weigh the inside of a picture alike and differ in the outermost 2 x factor pixels: "matlab" (imresize
    of im2double pictures, the input of the published figures) mirrors the picture there, its edge pixel included;
    "pillow" (Image.BICUBIC) leaves out what is not there and lets the rest add up to one.

    Args:
        frames_BCHW: float tensor, any strides, any device; height and width multiples of `factor`.

    Returns:
        float32 B,C,H/factor,W/factor, not rounded; may overshoot the input's range beside edges.

    Raises:
        ValueError: an unknown kernel, a factor below 1, or a side that is no multiple of it.
    """
    if kernel not in SHRINK_KERNELS:
        raise ValueError(f"kernel {kernel!r} is not one of {', '.join(SHRINK_KERNELS)}")
    height, width = frames_BCHW.shape[-2:]
    if factor < 1 or height % factor or width % factor or not height * width:
        raise ValueError(f"{width}x{height} cannot be shrunk by {factor}: the sides must be multiples of it")
    frames_BCHW = frames_BCHW.to(torch.float32)
    if factor == 1:
        return frames_BCHW
    # Every output pixel lies alike between its inputs, so one row of weights does for all; rows first: they are
    # contiguous, and the columns are then left with 1/factor of the work.
    first, weights = _taps(_cubic, 2, Fraction(factor - 1, 2), factor)
    for axis in (-2, -1):
        frames_BCHW = _shrink_axis(frames_BCHW, axis, factor, first, weights, mirrored=kernel == "matlab")
    return frames_BCHW


def enlarge(frames_BCHW: Tensor, factor: int, kind: str = "bicubic") -> Tensor:
    """A picture without a network, `factor` times as large: what MATLAB's imresize makes of it, borders mirrored.

    Args:
        frames_BCHW: float tensor, any strides, any device.
        kind: "nearest" (box), "bilinear" (triangle), "bicubic" (Keys, a = -0.5) or "lanczos" (three lobes).

    Returns:
        float32 B,C,H*factor,W*factor, not rounded; bicubic and lanczos may overshoot the input's range.

    Raises:
        ValueError: an unknown filter, or a factor below 1.
    """
    if kind not in ENLARGE_FILTERS:
        raise ValueError(f"filter {kind!r} is not one of {', '.join(ENLARGE_FILTERS)}")
    if factor < 1:
        raise ValueError(f"factor {factor} is not at least 1")
    frames_BCHW = frames_BCHW.to(torch.float32)
    if kind == "nearest":
        return frames_BCHW.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)
    curve, reach = {"bilinear": (_triangle, 1), "bicubic": (_cubic, 2), "lanczos": (_lanczos, 3)}[kind]
    for axis in (-1, -2):
        padded = _mirror(frames_BCHW, axis, reach, reach)
        side = frames_BCHW.shape[axis]
        phases = []
        for phase in range(factor):
            first, weights = _taps(curve, reach, Fraction(2 * phase + 1, 2 * factor) - Fraction(1, 2), 1)
            phases.append(_weighted(padded, axis, reach + first, weights, side, 1))
        frames_BCHW = torch.stack(phases, dim=axis).flatten(-3, -2) if axis == -2 else _interleave_columns(phases)
    return frames_BCHW


def _interleave_columns(phases: list[Tensor]) -> Tensor:
    return torch.stack(phases, dim=-1).flatten(-2)


def _shrink_axis(frames: Tensor, axis: int, factor: int, first: int, weights: list[float], *, mirrored: bool) -> Tensor:
    """Every `factor`-th weighted sum along `axis`; `first` is where the taps of output 0 start."""
    side = frames.shape[axis]
    before, after = -first, max(0, first + side - factor + len(weights) - side)
    if mirrored:
        return _weighted(_mirror(frames, axis, before, after), axis, 0, weights, side // factor, factor)
    pad = (0, 0, before, after) if axis == -2 else (before, after)
    total = _weighted(F.pad(frames, pad), axis, 0, weights, side // factor, factor)
    present = F.pad(torch.ones(side, dtype=torch.float64, device="cpu"), (before, after))
    share = _weighted(present, 0, 0, weights, side // factor, factor).to(frames.device, torch.float32)
    return total / (share.unsqueeze(-1) if axis == -2 else share)


def _taps(curve: Callable[[float], float], reach: int, centre: Fraction, stretch: int) -> tuple[int, list[float]]:
    """The first input pixel and the weights (they add up to 1) of the filter round `centre`, in input pixels."""
    first = math.floor(centre - reach * stretch) + 1
    last = math.ceil(centre + reach * stretch) - 1
    weights = [curve(float((position - centre) / stretch)) for position in range(first, last + 1)]
    return first, [weight / math.fsum(weights) for weight in weights]


def _weighted(frames: Tensor, axis: int, first: int, weights: list[float], count: int, stride: int) -> Tensor:
    """Sums of `weights` x the pixels from `first` on along `axis`, `count` of them, `stride` pixels apart."""

    def tap(offset: int) -> Tensor:
        start = first + offset
        piece = frames.narrow(axis, start, (count - 1) * stride + 1)
        index = (slice(None, None, stride),) if axis in (-1, 0) else (slice(None, None, stride), slice(None))
        return piece[(..., *index)]

    total = tap(0) * weights[0]
    for offset, weight in enumerate(weights[1:], 1):
        total.add_(tap(offset), alpha=weight)
    return total


def _mirror(frames: Tensor, axis: int, before: int, after: int) -> Tensor:
    """The picture with `before` and `after` mirrored pixels along `axis`, the edge pixel twice (MATLAB's symmetric)."""
    side = frames.shape[axis]

    def strip(start: int, stop: int) -> Tensor:
        positions = torch.arange(start, stop, device=frames.device) % (2 * side)
        return frames.index_select(axis, torch.minimum(positions, 2 * side - 1 - positions))

    return torch.cat([strip(-before, 0), frames, strip(side, side + after)], dim=axis)


def _cubic(x: float) -> float:
    """Keys 1981, a = -0.5."""
    x = abs(x)
    if x <= 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


def _triangle(x: float) -> float:
    return max(0.0, 1 - abs(x))


def _lanczos(x: float) -> float:
    if x == 0:
        return 1.0
    return math.sin(math.pi * x) * math.sin(math.pi * x / 3) * 3 / (math.pi * x) ** 2 if abs(x) < 3 else 0.0
