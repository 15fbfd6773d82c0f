"""A frame made of the one before it and of pieces that are new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import av

from vsr.video.planes import view_samples

__all__ = ["Piece", "compose"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a frame, in luma pixels.

    Attributes:
        frame: in the format of the whole, with new samples.
        top, left: where it lies in the whole.
        rows, columns: what to take of it, in the whole's own pixels. Their ends, and the piece's, are multiples of the
            chroma subsampling, or lie at the border of the whole.
    """

    frame: av.VideoFrame
    top: int
    left: int
    rows: slice
    columns: slice


def compose(before: av.VideoFrame, pieces: Sequence[Piece]) -> av.VideoFrame:
    """A fresh frame with the samples and colour tags of `before`, which stays as it is, and with `pieces` upon them.

    Args:
        before: in system memory, in a format that frames are written in (see `vsr.pixels.tensor_to_frames`).
    """
    frame = av.VideoFrame(before.width, before.height, before.format.name)
    frame.color_range, frame.colorspace = before.color_range, before.colorspace
    frame.color_primaries, frame.color_trc = before.color_primaries, before.color_trc
    for plane, other in zip(frame.planes, before.planes, strict=True):
        plane.update(cast(Any, other))  # PyAV's stubs do not mention the buffer protocol
    samples = view_samples(frame)
    assert samples.is_view, f"frames are not written in {frame.format.name}"
    for piece in pieces:
        new = view_samples(piece.frame)
        for index, (target, source) in enumerate(zip(samples.components, new.components, strict=True)):
            down, across = samples.pixel_format.subsampling if index else (1, 1)
            rows, columns = _shrink(piece.rows, down), _shrink(piece.columns, across)
            top, left = piece.top // down, piece.left // across
            part = source[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
            target[rows, columns] = part
    return frame


def _shrink(part: slice, factor: int) -> slice:
    """The chroma samples of a part of luma."""
    return slice(part.start // factor, -(-part.stop // factor))
