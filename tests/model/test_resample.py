"""The last step to another scale: sizes, shape of the filter, colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vsr.model.resample import resample, scale_side


@pytest.mark.parametrize(
    ("side", "scale", "expected"),
    [(1, 0.1, 1), (5, 1.1, 6), (5, 0.5, 3), (3, 0.5, 2), (1, 1.5, 2), (270, 4, 1080), (1080, 1 / 3, 360), (7, 2.0, 14)],
)
def test_sides_round_half_up(side: int, scale: float, expected: int) -> None:
    assert scale_side(side, scale) == expected


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 40), st.integers(1, 40))
def test_any_size_and_constant_colours_stay(height: int, width: int, out_height: int, out_width: int) -> None:
    colours = torch.tensor([0.2, 0.5, 1.0]).view(1, 3, 1, 1)
    result = resample(colours.expand(1, 3, height, width), out_height, out_width)
    assert result.shape == (1, 3, out_height, out_width)
    torch.testing.assert_close(result, colours.expand_as(result), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(23, 31), (80, 57)])
def test_it_is_the_bicubic_of_pillow(size: tuple[int, int]) -> None:
    plane = torch.rand(47, 40, generator=torch.Generator().manual_seed(0))
    expected = np.asarray(Image.fromarray(plane.numpy()).resize(size[::-1], Image.Resampling.BICUBIC))
    result = resample(plane.expand(1, 3, 47, 40), *size)
    torch.testing.assert_close(result[0, 1], torch.from_numpy(expected.copy()), rtol=0, atol=1e-5)


def test_half_precision_and_any_strides_come_out_as_float32() -> None:
    frames = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    frames_half = frames.bfloat16().contiguous(memory_format=torch.channels_last)
    result = resample(frames_half, 5, 5)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, resample(frames_half.float().contiguous(), 5, 5))


def test_the_right_size_is_left_alone() -> None:
    frames = torch.rand(1, 3, 4, 4)
    assert resample(frames, 4, 4) is frames
