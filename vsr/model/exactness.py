"""Whether a network gives for a window of a frame what it gives for the whole frame, to the last bit: tried, not hoped.

Within the receptive field's reach of the window's edge it cannot; inside, every value is a sum of the same products.
But libraries choose the order of such sums by the size of their input. Seen with torch 2.13 and oneDNN on a Xeon with
AMX, `realtime` and `fast`, one thread and two: in fp32 no window differed, of any size at any place; in bf16 many of
those narrower than 48 pixels did, in 1 to 50 % of their values, because another kernel takes over there, and none of 64
pixels or more. The same with oneDNN told to do without AMX, and without AVX-512. Another processor or library may draw
the line elsewhere, so each size of window is compared once on noise, where hardly two orders give the same, before the
first is used.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor

from vsr.model.tiling import Span, Tile
from vsr.model.upscaler import Upscaler
from vsr.planar import PlaneCodes

__all__ = ["WindowCheck"]

# Values of a whole frame are kept for the next size of window; larger ones are made anew.
MAX_KEPT_BYTES = 64 << 20


class WindowCheck:
    """Remembers what it found, for all threads of a run. The first question costs a whole frame and a window, each
    further size of window only that.

    Args:
        codes: of the planes that the film is made of; None where it is made by way of RGB pictures.

    Attributes:
        inexact: sizes (height, width) of windows that did not pass.
    """

    def __init__(self, codes: PlaneCodes | None) -> None:
        self._codes = codes
        self._checking = threading.Lock()
        self._verdicts: dict[tuple[Any, ...], bool] = {}
        self._whole: tuple[tuple[int, int], Tensor, Tensor] | None = None  # frame size, noise, values
        self.inexact: set[tuple[int, int]] = set()

    def is_exact(self, window: Tile, height: int, width: int, upscaler: Upscaler) -> bool:
        """True where windows of that size can stand for a part of a frame of `height` x `width` pixels.

        Args:
            upscaler: the caller's own; all callers' are siblings.

        Raises:
            Interrupted, ProcessingError: as the upscaler.
        """
        frame, size = (height, width), (_length(window.rows), _length(window.cols))
        key = (frame, size, upscaler.tile, torch.get_num_threads())
        with self._checking:
            if key not in self._verdicts:
                self._verdicts[key] = self._compare(window, frame, upscaler)
                if not self._verdicts[key]:
                    self.inexact.add(size)
            return self._verdicts[key]

    def _compare(self, window: Tile, frame: tuple[int, int], upscaler: Upscaler) -> bool:
        halo = upscaler.network.halo
        if halo is None:
            return False
        if self._whole is None or self._whole[0] != frame:
            noise_BCHW = torch.rand((1, 3, *frame), generator=torch.Generator().manual_seed(0))
            self._whole = (frame, noise_BCHW, upscaler.values(noise_BCHW, self._codes))
        _, noise_BCHW, whole_BCHW = self._whole
        rows, cols = window.rows, window.cols
        part_BCHW = upscaler.values(noise_BCHW[..., rows.start : rows.stop, cols.start : cols.stop], self._codes)
        scale = whole_BCHW.shape[-1] // frame[1]
        (row, row_stop), (col, col_stop) = _inside(rows, frame[0], halo), _inside(cols, frame[1], halo)
        wanted = whole_BCHW[..., row * scale : row_stop * scale, col * scale : col_stop * scale]
        top, left = row - rows.start, col - cols.start
        found = part_BCHW[
            ..., top * scale : (row_stop - rows.start) * scale, left * scale : (col_stop - cols.start) * scale
        ]
        if whole_BCHW.nbytes > MAX_KEPT_BYTES:
            self._whole = None
        return torch.equal(wanted, found)


def _length(span: Span) -> int:
    return span.stop - span.start


def _inside(span: Span, length: int, halo: int) -> tuple[int, int]:
    """The part of a window that nothing outside of it has an influence on, in the frame's pixels."""
    start = span.start + halo if span.start > 0 else 0
    stop = span.stop - halo if span.stop < length else length
    return start, stop
