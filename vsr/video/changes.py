"""Which blocks of a frame differ from the frame before it, sample by sample.

Codecs leave what does not move as it was: in screen recordings, slides, drawn animation and from fixed cameras whole
areas come out of the decoder bit for bit as they were. Only what lies under the picture counts: padding at the ends
of lines, unused bits and opacity are nothing that a network sees.
"""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import numpy.typing as npt

from vsr.video.device_frame import DeviceFrame
from vsr.video.planes import Samples, view_samples

__all__ = ["BLOCK", "FrameComparison"]

Array = npt.NDArray[Any]
Blocks = npt.NDArray[np.bool_]

# Side of a block in luma pixels: a multiple of every chroma subsampling (1, 2 and 4).
BLOCK = 16

# A first look at one row of pixels out of this many. Where it finds more than that share of its blocks changed, the
# frame counts as changed everywhere: in what is left there would be little to save, and a film where nothing repeats
# must not pay for the search.
SPARSE_ROWS = 64
SPARSE_SHARE = 0.75


class FrameComparison:
    """Compares each frame of a film with the one before it, which it keeps (the frame's memory is not copied).

    Not thread-safe: frames come one after the other.
    """

    def __init__(self) -> None:
        self._before: tuple[tuple[Any, ...], Samples] | None = None

    def find_changes(self, frame: av.VideoFrame | DeviceFrame) -> Blocks | None:
        """Where `frame` differs from the frame of the call before.

        Returns:
            One truth value for each block of `BLOCK` x `BLOCK` luma pixels, in rows and columns; blocks at the right
            and the bottom may be cut off. None: everything counts as changed, because there was no frame before, or
            one of another size, format or colour, or a frame of a GPU's decoder (comparing would mean to download
            it), or because at a first look hardly anything is the same.

        Raises:
            SourceError: a pixel format that cannot be read.
        """
        if isinstance(frame, DeviceFrame) or frame.sw_format is not None:
            self._before = None
            return None
        layout = _layout(frame)
        samples = view_samples(frame)
        before, self._before = self._before, (layout, samples)
        if before is None or before[0] != layout:
            return None
        return _compare(before[1], samples, frame.height, frame.width)


def _layout(frame: av.VideoFrame) -> tuple[Any, ...]:
    """What besides the samples decides how a frame looks."""
    colours = (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
    return frame.width, frame.height, frame.format.name, *map(int, colours)


def _compare(before: Samples, after: Samples, height: int, width: int) -> Blocks | None:
    down, across = after.pixel_format.subsampling
    changed = np.zeros((-(-height // BLOCK), -(-width // BLOCK)), np.bool_)
    for index, pair in enumerate(zip(before.components, after.components, strict=True)):
        one, other = map(_view_bits, pair)
        rows, columns = (BLOCK // down, BLOCK // across) if index and one.shape != (height, width) else (BLOCK, BLOCK)
        if index == 0 and _is_changed_all_over(one, other):
            return None
        changed |= _find_blocks(one, other, rows, columns)
    return changed


def _view_bits(component: Array) -> Array:
    """Samples as unsigned integers: floats are compared bit by bit, where NaN equals itself and 0 differs from -0."""
    return component.view(f"u{component.itemsize}")


def _is_changed_all_over(one: Array, other: Array) -> bool:
    start = min(SPARSE_ROWS, len(one)) // 2
    rows = _find_blocks(one[start::SPARSE_ROWS], other[start::SPARSE_ROWS], 1, BLOCK)
    return int(np.count_nonzero(rows)) > SPARSE_SHARE * rows.size


def _find_blocks(one: Array, other: Array, rows: int, columns: int) -> Blocks:
    """Truth values of the blocks of `rows` x `columns` samples (columns: a multiple of 4) that are not equal."""
    height, width = one.shape
    num_down, num_across = -(-height // rows), -(-width // columns)
    unequal = np.zeros((num_down * rows, num_across * columns), np.bool_)
    np.not_equal(one, other, out=unequal[:height, :width])
    # Four truth values at a time: numpy's reductions over single bytes are many times slower.
    words = unequal.view(np.uint32).reshape(num_down, rows, -1)
    words = np.bitwise_or.reduce(words, axis=1)
    blocks: Blocks = np.bitwise_or.reduce(words.reshape(num_down, num_across, -1), axis=2) != 0
    return blocks
