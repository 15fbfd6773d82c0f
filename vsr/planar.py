"""Planes of Y'CbCr codes straight from the values of a network's last layer, without an RGB picture in between.

A network that ends in a pixel-shuffle gives scale² values per colour for every low-resolution pixel: its *cell*. The
matrix from RGB to Y'CbCr, the chroma filter and the scale of the codes are all linear, and so can be folded into the
weights of that last layer (`mixing_matrix`): for 4:2:0 at x4 it then gives 32 values for a cell instead of 48, and what
is left to do is to add the base picture, round, and put the samples in their places (`PlaneFiller`). For 1920x1080
that is 7 ms of one core instead of 20.

Chroma that is co-sited with luma columns is filtered across the border of its cell. The taps that reach into the cell
on the left are given by that cell as a value of its own (its *spill*), and at the left border of the picture, where the
nearest column stands for what is not there, by the cell itself (its *edge*).

Values of one cell, in this order: scale² of luma in raster order; the samples of Cb in raster order, those of Cr; and
where anything reaches across, a spill for every row of Cb and of Cr, and an edge for every row of Cb and of Cr.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["PlaneCodes", "PlaneFiller", "Planes", "fits_cells", "mixing_matrix"]

# Values of one band of rows, so that a band's scratch stays in a core's cache.
_BAND_VALUES = 1 << 18
# Shapes of bands whose scratch is kept: 2 MB each. A frame has two, its windows may have any.
_MAX_BANDS = 8

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
        return sum(self.weigh_column(-distance) for distance in range(1, self.reach + 1))

    def weigh_column(self, distance: int) -> float:
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
    samples, spills, edges = [luma.flatten(0, 1) * codes.luma_scale], [], []
    for plane in chroma:
        rows = plane.unflatten(0, (-1, codes.down)).mean(1) * codes.chroma_scale
        columns = []
        for first in range(0, scale, codes.across):
            inside = range(max(0, first - codes.reach), first + codes.across)
            columns.append(torch.stack([codes.weigh_column(at - first) * rows[:, at] for at in inside]).sum(0))
        samples.append(torch.stack(columns, 1).flatten(0, 1))
        across = [codes.weigh_column(-distance) * rows[:, -distance] for distance in range(1, codes.reach + 1)]
        if across:
            spills.append(torch.stack(across).sum(0))
            edges.append(codes.leak * rows[:, 0])
    return torch.cat([*samples, *spills, *edges])


def base_matrix(codes: PlaneCodes, scale: int) -> Tensor:
    """What makes the same values of the base picture, and rounds them: of the R'G'B' of a cell's own pixel, of 1, and,
    where anything reaches across, of the R'G'B' of the pixel on its left.

    Spills and edges are left at zero: the pixel on the left is known here.

    Returns:
        4 or 7,N float32.
    """
    luma, *chroma = torch.tensor(codes.matrix, dtype=torch.float64)
    num_rows, num_columns = scale // codes.down, scale // codes.across
    own = [luma.expand(scale**2, 3) * codes.luma_scale]
    offsets = [torch.full((scale**2,), codes.luma_offset)]
    left = [torch.zeros(scale**2, 3)]
    for weights in chroma:
        share = torch.zeros(num_rows, num_columns, 1, dtype=torch.float64)
        share[:, 0] = codes.leak
        plane = (weights * codes.chroma_scale).expand(num_rows, num_columns, 3)
        own.append(((1 - share) * plane).flatten(0, 1))
        left.append((share * plane).flatten(0, 1))
        offsets.append(torch.full((num_rows * num_columns,), codes.chroma_offset))
    # What is left of rounding, once a half is added, is to cut off the fraction.
    rows = torch.cat([torch.cat(own).T, torch.cat(offsets)[None] + 0.5, torch.cat(left).T])
    if not codes.reach:
        return rows[:4].to(torch.float32)
    return torch.nn.functional.pad(rows, (0, 4 * num_rows)).to(torch.float32)


class PlaneFiller:
    """Makes codes of values. It keeps its scratch memory from frame to frame, so one thread at a time uses it.

    Args:
        scale: of the network; each side of a cell.
    """

    def __init__(self, codes: PlaneCodes, scale: int) -> None:
        self._codes, self._scale = codes, scale
        self._bands: OrderedDict[tuple[object, ...], _Band] = OrderedDict()

    def fill(self, values_NHW: Tensor, base_CHW: Tensor, planes: Planes) -> None:
        """Make the codes of one picture and write them to `planes`.

        Args:
            values_NHW: of the network's last layer, mixed by `mixing_matrix`: N,H,W, any float dtype and strides
                (channels-last is quickest), finite.
            base_CHW: 3,H,W float32 R'G'B', the low-resolution picture that is repeated `scale` times and added.
            planes: uint8 or uint16 for the codes, luma H*scale,W*scale, on the same device.
        """
        num_values, height, width = values_NHW.shape
        values_HWN, base_HWC = values_NHW.permute(1, 2, 0), base_CHW.permute(1, 2, 0)
        is_cpu = values_NHW.device.type == "cpu"
        num_rows = max(1, _BAND_VALUES // (num_values * width)) if is_cpu else height
        for top in range(0, height, num_rows):
            bottom = min(top + num_rows, height)
            key = (bottom - top, width, num_values, values_NHW.device, planes[0].dtype)
            band = self._bands.get(key)
            if band is None:
                band = self._bands[key] = _Band(self._codes, self._scale, *key)
                while len(self._bands) > _MAX_BANDS:
                    self._bands.popitem(last=False)
            self._bands.move_to_end(key)
            band.add_base(values_HWN[top:bottom], base_HWC[top:bottom])
            band.cut()
            band.store(planes, top)


class _Band:
    """The scratch memory of some rows of cells, and the views of it that every frame needs anew.

    Fresh memory for every band would cost more than the work in it, and so would finding the views again.
    """

    def __init__(
        self, codes: PlaneCodes, scale: int, height: int, width: int, num_values: int, device: Any, dtype: torch.dtype
    ) -> None:
        self._peak, self._height, self._width = codes.peak, height, width
        self._base_matrix = base_matrix(codes, scale).to(device)
        num_inputs = len(self._base_matrix)
        colours = torch.ones((height, width, num_inputs), device=device)
        self._own, self._left = colours[..., :3], colours[..., 4:]
        self._samples = torch.empty((height, width, num_values), device=device)
        self._values = torch.empty_like(self._samples)
        self._codes = torch.empty_like(self._samples, dtype=dtype)
        self._colours_rows, self._samples_rows = colours.view(-1, num_inputs), self._samples.view(-1, num_values)
        rows, columns = scale // codes.down, scale // codes.across
        luma, chroma = scale**2, 2 * rows * columns
        self._is_reaching = codes.reach > 0
        firsts = self._samples[..., luma : luma + chroma : columns]
        spills = self._values[..., luma + chroma :]
        self._firsts, self._spills = firsts[:, 1:], spills[:, :-1, : 2 * rows]
        self._edge_firsts, self._edges = firsts[:, 0], spills[:, 0, 2 * rows :]
        sizes = ((scale, scale), (rows, columns), (rows, columns))
        starts = (0, luma, luma + chroma // 2)
        self._cells = [
            (self._codes[..., start : start + rows * columns].unfold(-1, columns, columns), rows, columns)
            for start, (rows, columns) in zip(starts, sizes, strict=True)
        ]

    def add_base(self, values_HWN: Tensor, base_HWC: Tensor) -> None:
        """All samples of the band in float32, ready to be cut to integers; behind them what is of no more use."""
        self._own.copy_(base_HWC)
        if self._is_reaching:
            self._left[:, 0].copy_(base_HWC[:, 0])
            self._left[:, 1:].copy_(base_HWC[:, :-1])
        torch.mm(self._colours_rows, self._base_matrix, out=self._samples_rows)
        self._values.copy_(values_HWN)
        self._samples.add_(self._values)
        if self._is_reaching:
            self._firsts.add_(self._spills)
            self._edge_firsts.add_(self._edges)

    def cut(self) -> None:
        self._samples.clamp_(0.0, self._peak)
        if self._samples.device.type == "cpu":
            # numpy converts to integers of 8 bits three times as fast as torch does.
            np.copyto(self._codes.numpy(), self._samples.numpy(), casting="unsafe")
        else:
            self._codes.copy_(self._samples)

    def store(self, planes: Planes, top: int) -> None:
        """Put the samples in their places, the rows of a cell as one word where they are so long."""
        for plane, (cells, rows, columns) in zip(planes, self._cells, strict=True):
            target = plane[top * rows : (top + self._height) * rows].view(self._height, rows, self._width, columns)
            word = _WORDS.get(columns * plane.element_size())
            if word is not None and _is_aligned(target, columns) and _is_aligned(cells, columns):
                target, cells = target.view(word), cells.view(word)
            target.copy_(cells.transpose(1, 2))


def _is_aligned(target: Tensor, columns: int) -> bool:
    """Whether the rows of cells can be written as whole words."""
    return target.stride(-1) == 1 and all(
        number % columns == 0 for number in (*target.stride()[:-1], target.storage_offset())
    )
