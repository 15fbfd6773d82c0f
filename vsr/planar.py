"""Planes of Y'CbCr codes straight from the values of a network's last layer, without an RGB picture in between.

A network that ends in a pixel-shuffle gives scale² values per colour for every low-resolution pixel: its *cell*. The
matrix from RGB to Y'CbCr, the chroma filter and the scale of the codes are all linear, and so can be folded into the
weights of that last layer (`mixing_matrix`): for 4:2:0 at x4 it then gives 32 values for a cell instead of 48, and what
is left to do is to add the base picture, round, and put the samples in their places (`PlaneFiller`). For 1920x1080
that is 2 ms of one core instead of 20.

Chroma that is co-sited with luma columns is filtered across the border of its cell. The taps that reach into the cell
on the left are given by that cell as a value of its own (its *spill*), and at the left border of the picture, where the
nearest column stands for what is not there, by the cell itself (its *edge*).

Values of one cell, in this order: scale² of luma in raster order; then for Cb, and likewise for Cr: the samples of the
cell in raster order, one spill and one edge for every row of them (none where nothing reaches across).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["PlaneCodes", "PlaneFiller", "Planes", "fits_cells", "mixing_matrix"]

# Samples of one band of rows, so that a band's scratch stays in a core's cache.
_BAND_SAMPLES = 1 << 18

# One integer for a row of samples of a cell, by its bytes: copied as one.
_WORDS = {2: torch.int16, 4: torch.int32, 8: torch.int64}

Planes = tuple[Tensor, Tensor, Tensor]
"""Y', Cb and Cr as integer tensors of rows and columns, chroma at its own size; any strides, written in place."""


@dataclass(frozen=True)
class PlaneCodes:
    """How codes are made of non-linear R'G'B' (ITU-T H.273, section 8.3), and where chroma lies.

    Attributes:
        matrix: rows that make E'Y, E'PB, E'PR out of (E'R, E'G, E'B).
        luma_scale, luma_offset, chroma_scale, chroma_offset: code = scale x E' + offset.
        peak: the largest code.
        down, across: luma samples per chroma sample, vertically and horizontally.
        is_down_cosited, is_across_cosited: chroma coincides with luma samples on that axis, and takes a triangle of
            them; otherwise it lies between them and takes their mean (see `vsr.chroma.decimate`).
    """

    matrix: tuple[tuple[float, float, float], ...]
    luma_scale: float
    luma_offset: float
    chroma_scale: float
    chroma_offset: float
    peak: float
    down: int
    across: int
    is_down_cosited: bool
    is_across_cosited: bool

    @property
    def reach(self) -> int:
        """Luma columns that a chroma sample reaches to its left."""
        return self.across - 1 if self.is_across_cosited else 0

    @property
    def leak(self) -> float:
        """The weight of those columns."""
        return sum(self._column_taps(-distance) for distance in range(1, self.reach + 1))

    def _column_taps(self, distance: int) -> float:
        """Weight of the luma column at `distance` to the right of a chroma sample's first."""
        if self.is_across_cosited:
            return max(0, self.across - abs(distance)) / self.across**2
        return 1 / self.across if 0 <= distance < self.across else 0.0


def fits_cells(codes: PlaneCodes, scale: int) -> bool:
    """Whether every chroma sample can be told from its own cell and the one on the left."""
    is_cosited_down = codes.down > 1 and codes.is_down_cosited
    return scale % codes.down == 0 and scale % codes.across == 0 and not is_cosited_down


def mixing_matrix(codes: PlaneCodes, scale: int) -> Tensor:
    """What makes the values of a cell (see the module) out of its R'G'B' pixels, without the offsets.

    Returns:
        N,3*scale**2 float64; a column for each output of a layer before its pixel-shuffle (colour, row, column).
    """
    pixels = torch.eye(3 * scale**2, dtype=torch.float64).view(3, scale, scale, -1)
    weights = torch.tensor(codes.matrix, dtype=torch.float64)
    luma, *chroma = torch.einsum("pc,cijn->pijn", weights, pixels)
    values = [luma.flatten(0, 1) * codes.luma_scale]
    for plane in chroma:
        rows = plane.unflatten(0, (-1, codes.down)).mean(1) * codes.chroma_scale
        samples = [
            sum(
                codes._column_taps(column - first) * rows[:, column]
                for column in range(max(0, first - codes.reach), first + codes.across)
            )
            for first in range(0, scale, codes.across)
        ]
        values.append(torch.stack(samples, 1).flatten(0, 1))
        if codes.reach:
            values.append(
                sum(codes._column_taps(-distance) * rows[:, scale - distance] for distance in range(1, codes.reach + 1))
            )
            values.append(codes.leak * rows[:, 0])
    return torch.cat(values)


class _Scratch(dict[tuple[str, tuple[int, ...]], Tensor]):
    """Tensors by name and shape: fresh memory for every band would cost more than the work in it."""

    def take(self, name: str, *shape: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
        key = (f"{name} {device} {dtype}", shape)
        if key not in self:
            self[key] = torch.empty(shape, dtype=dtype, device=device)
        return self[key]


class PlaneFiller:
    """Makes codes of values. It keeps its scratch memory from frame to frame, so one thread at a time uses it.

    Args:
        scale: of the network; each side of a cell.
    """

    def __init__(self, codes: PlaneCodes, scale: int) -> None:
        self.codes, self.scale = codes, scale
        self._scratch = _Scratch()

    def fill(self, values_NHW: Tensor, base_CHW: Tensor, planes: Planes) -> None:
        """Make the codes of one picture and write them to `planes`.

        Args:
            values_NHW: of the network's last layer, mixed by `mixing_matrix`: N,H,W, any float dtype and strides
                (channels-last is quickest), finite.
            base_CHW: 3,H,W float32 R'G'B', the low-resolution picture that is repeated `scale` times and added.
            planes: uint8 or uint16 for the codes, luma H*scale,W*scale, on the same device.
        """
        for top, bottom in self._bands(values_NHW):
            values_HWN = values_NHW[:, top:bottom].permute(1, 2, 0)
            base = base_CHW[:, top:bottom]
            self._fill_luma(values_HWN, base, planes[0], top)
            for number in (1, 2):
                self._fill_chroma(values_HWN, base, planes[number], top, number)

    def _bands(self, values_NHW: Tensor) -> Iterator[tuple[int, int]]:
        num_values, height, width = values_NHW.shape
        rows = height if values_NHW.device.type != "cpu" else max(1, _BAND_SAMPLES // (num_values * width))
        for top in range(0, height, rows):
            yield top, min(top + rows, height)

    def _fill_luma(self, values_HWN: Tensor, base_CHW: Tensor, plane: Tensor, top: int) -> None:
        codes, side = self.codes, self.scale
        offset = codes.luma_offset + 0.5  # what is left of rounding is to cut off the fraction
        base = self._mix("base", base_CHW, codes.matrix[0], codes.luma_scale).add_(offset)
        samples = self._take("luma", *values_HWN.shape[:2], side * side, like=values_HWN)
        samples.copy_(values_HWN[..., : side * side]).add_(base.unsqueeze(-1))
        self._store(samples.view(*samples.shape[:2], side, side), plane, top)

    def _fill_chroma(self, values_HWN: Tensor, base_CHW: Tensor, plane: Tensor, top: int, number: int) -> None:
        codes = self.codes
        rows, columns = self.scale // codes.down, self.scale // codes.across
        num_spills = rows if codes.reach else 0
        first = self.scale**2 + (number - 1) * (rows * columns + 2 * num_spills)
        values = self._take("chroma", *values_HWN.shape[:2], rows * columns + 2 * num_spills, like=values_HWN)
        values.copy_(values_HWN[..., first : first + values.shape[-1]])
        height, width = values.shape[:2]
        samples = values[..., : rows * columns].view(height, width, rows, columns)
        base = self._mix("base", base_CHW, codes.matrix[number], codes.chroma_scale).add_(codes.chroma_offset + 0.5)
        if num_spills:
            spill, edge = values[..., rows * columns :].view(height, width, 2, rows).unbind(-2)
            samples[:, 1:, :, 0] += spill[:, :-1]
            samples[:, 0, :, 0] += edge[:, 0]
            # The base reaches across in the same way.
            across = self._take("across", *base.shape, like=base)
            across.copy_(base)
            across[:, 1:].lerp_(base[:, :-1], codes.leak)
            samples[..., 0] += across.unsqueeze(-1)
            samples[..., 1:] += base[..., None, None]
        else:
            samples += base[..., None, None]
        self._store(samples, plane, top)

    def _mix(self, name: str, colours_CHW: Tensor, weights: Sequence[float], scale: float) -> Tensor:
        mixed = self._take(name, *colours_CHW.shape[1:], like=colours_CHW)
        torch.mul(colours_CHW[0], weights[0] * scale, out=mixed)
        for colour, weight in zip(colours_CHW[1:], weights[1:], strict=True):
            mixed.add_(colour, alpha=weight * scale)
        return mixed

    def _store(self, samples_HWij: Tensor, plane: Tensor, top: int) -> None:
        """Clip, cut to integers, and put cells of i,j samples in their places."""
        height, width, rows, columns = samples_HWij.shape
        samples_HWij.clamp_(0.0, self.codes.peak)
        cells = self._take("codes", *samples_HWij.shape, like=samples_HWij, dtype=plane.dtype)
        if plane.device.type == "cpu":
            # numpy converts to integers of 8 bits three times as fast as torch does.
            cells.numpy()[...] = samples_HWij.numpy()
        else:
            cells.copy_(samples_HWij)
        target = plane[top * rows : (top + height) * rows].view(height, rows, width, columns)
        word = _WORDS.get(columns * plane.element_size())
        if word is not None and _is_aligned(target, columns):
            target, cells = target.view(word), cells.view(word)
        target.copy_(cells.transpose(1, 2))

    def _take(self, name: str, *shape: int, like: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        return self._scratch.take(name, *shape, device=like.device, dtype=dtype)


def _is_aligned(target: Tensor, columns: int) -> bool:
    """Whether the rows of cells can be written as whole words."""
    return target.stride(-1) == 1 and all(
        number % columns == 0 for number in (*target.stride()[:-1], target.storage_offset())
    )
