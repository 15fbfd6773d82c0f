"""A frame of old and new samples: each in its place, the old frame untouched."""

from __future__ import annotations

import av
import numpy as np
import pytest

from vsr.video.mosaic import Piece, compose
from vsr.video.planes import view_samples


def make_frame(name: str, width: int, height: int, seed: int) -> av.VideoFrame:
    frame = av.VideoFrame(width, height, name)
    random = np.random.default_rng(seed)
    samples = view_samples(frame)
    for component in samples.components:
        component[...] = random.integers(0, 1 << samples.bits[0], component.shape)
    return frame


@pytest.mark.parametrize(
    "name", ["yuv420p", "yuv420p10le", "yuv422p10le", "yuv444p", "yuv410p", "gray", "gbrp", "bgr0"]
)
def test_pieces_lie_in_their_places_and_the_rest_is_as_before(name: str) -> None:
    before, piece = make_frame(name, 85, 61, 0), make_frame(name, 41, 37, 1)
    before.color_range, before.colorspace, before.color_primaries, before.color_trc = 2, 1, 9, 16
    old = [component.copy() for component in view_samples(before).components]
    # It ends at the right and the bottom border, in the midst of a chroma sample.
    frame = compose(before, [Piece(piece, 24, 44, slice(32, 61), slice(52, 85))])
    down, across = view_samples(frame).pixel_format.subsampling
    for index, component in enumerate(view_samples(frame).components):
        y, x = (down, across) if index else (1, 1)
        expected = old[index].copy()
        expected[32 // y :, 52 // x :] = view_samples(piece).components[index][8 // y :, 8 // x :]
        assert np.array_equal(component, expected)
        assert np.array_equal(view_samples(before).components[index], old[index])
    assert (frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc) == (2, 1, 9, 16)


def test_later_pieces_lie_on_top() -> None:
    before, one, other = (make_frame("gray", 16, 16, seed) for seed in range(3))
    parts = slice(0, 16), slice(4, 16)
    frame = compose(before, [Piece(one, 0, 0, *parts), Piece(other, 0, 0, *parts)])
    assert np.array_equal(view_samples(frame).components[0][:, 4:], view_samples(other).components[0][:, 4:])
