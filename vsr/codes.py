"""Codes of R'G'B' pictures: matrix, range, rounding and chroma filter, on any device; no frames here.

Formulas: ITU-T H.273, section 8.3 (see `vsr.video.matrix`). Arithmetic is float32 throughout.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vsr.chroma import decimate
from vsr.video.color import RANGE_FULL, ColorTags
from vsr.video.matrix import encoding_matrix, quantise
from vsr.video.pixel_format import ChromaSiting, PixelFormat

__all__ = ["cut_bands", "cut_fractions", "make_codes"]

_RGB_WEIGHTS = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

# One less than torch's grain (at::internal::GRAIN_SIZE), from which on it forks.
_SERIAL_ELEMENTS = 32767


def make_codes(
    rgb_CHW: Tensor, pixel_format: PixelFormat, tags: ColorTags, siting: ChromaSiting, num_components: int
) -> Iterator[tuple[int, int, Tensor]]:
    """Component, first row, and codes of some rows as float32 whose fractions are to be cut off; from top to bottom."""
    color_range = RANGE_FULL if pixel_format.is_full_range else tags.range
    codes = quantise(pixel_format.bits, color_range, tags.matrix)
    weights = _RGB_WEIGHTS if pixel_format.is_rgb else encoding_matrix(tags.matrix)
    is_yuv = not pixel_format.is_rgb and num_components == 3
    (down, across), (is_down_cosited, is_across_cosited) = pixel_format.subsampling, siting.is_cosited
    halo = down if down > 1 and is_down_cosited else 0
    for top, bottom in cut_bands(rgb_CHW, down, planes=2 if is_yuv else 1):
        start = max(0, top - halo)
        planes = [_straighten(plane) for plane in rgb_CHW[:, start : bottom + halo]]
        whole = [plane[top - start : bottom - start] for plane in planes]
        for index in range(1 if is_yuv else num_components):
            values = _mix(whole, weights[index], codes.luma_scale)
            _round(values, codes.luma_offset, codes.peak)
            yield index, top, values
        if is_yuv:
            # Filtering and matrix commute; rows first, since those are cheap, then two planes instead of three.
            rows = [decimate(plane, -2, down, is_cosited=is_down_cosited) for plane in planes]
            rows = [plane[(top - start) // down :][: -(-(bottom - top) // down)] for plane in rows]
            chroma = torch.empty((2, *rows[0].shape), device=rows[0].device)
            for plane, parts in zip(chroma, weights[1:], strict=True):
                _mix(rows, parts, codes.chroma_scale, out=plane)
            chroma = decimate(chroma, -1, across, is_cosited=is_across_cosited)
            _round(chroma, codes.chroma_offset, codes.peak)
            for index in (1, 2):
                yield index, top // down, chroma[index - 1]


def cut_bands(rgb_CHW: Tensor, down: int = 1, planes: int = 1) -> Iterator[tuple[int, int]]:
    """Bands of rows (top, bottom) to work on at a time, for chroma of 1/`down` the rows in `planes` planes at once.

    On a CPU torch runs what is smaller than 32768 elements on the calling thread alone. Where decoder, network
    and encoder share the cores that is what one wants: a parallel region waits for its slowest thread, dozens of
    times per frame (0.2 ms became 110 ms beside two busy processes). It also keeps the work in the cache.
    """
    height, width = rgb_CHW.shape[1:]
    if rgb_CHW.device.type != "cpu":
        yield 0, height
        return
    rows = max(1, _SERIAL_ELEMENTS // (width * max(down, planes))) * down
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


def cut_fractions(values: Tensor, shift: int, dtype: torch.dtype) -> Tensor:
    return (values.to(torch.int32) << shift if shift else values).to(dtype)


def _straighten(plane_HW: Tensor) -> Tensor:
    plane_HW = plane_HW.to(torch.float32)
    return plane_HW if plane_HW.stride(-1) == 1 else plane_HW.contiguous()


def _mix(planes: Sequence[Tensor], weights: Sequence[float], scale: float, out: Tensor | None = None) -> Tensor:
    """The weighted sum of red, green and blue, in `out` or a new tensor."""
    parts = [(plane, weight * scale) for plane, weight in zip(planes, weights, strict=True) if weight]
    mixed = torch.mul(parts[0][0], parts[0][1], out=out)
    for plane, weight in parts[1:]:
        mixed.add_(plane, alpha=weight)
    return mixed


def _round(values: Tensor, offset: float, peak: float) -> None:
    """Make codes of `values` + `offset`, in place: what is left to do is to cut their fractions off."""
    # Converting to integers truncates, which for the positive is rounding to nearest once a half is added.
    values.add_(offset + 0.5).clamp_(0.0, peak)
