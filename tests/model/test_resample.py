"""Resampling: sizes, the shapes of the filters, and that they are Pillow's and MATLAB's to the last weight."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vsr.model.resample import enlarge, resample, scale_side, shrink


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


# --- making small, as papers do ---


def keys(x: float) -> float:
    """The cubic of Keys 1981 with a = -0.5, from its table of coefficients."""
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def slow_imresize(row: list[float], num_out: int, curve: object = keys, reach: float = 2) -> list[float]:
    """MATLAB's imresize of one row, as its documentation and source describe it: a kernel stretched when shrinking,
    weights that add up to one, and an index that runs 1..n, n..1 over and over."""
    scale = num_out / len(row)
    stretch = min(scale, 1.0)
    mirror = [*range(len(row)), *reversed(range(len(row)))]
    result = []
    for place in range(1, num_out + 1):
        centre = place / scale + 0.5 * (1 - 1 / scale)
        left = math.floor(centre - reach / stretch)
        places = range(left, left + math.ceil(2 * reach / stretch) + 2)
        weights = [stretch * curve(stretch * (centre - p)) for p in places]  # type: ignore[operator]
        total = sum(weights)
        pairs = zip(places, weights, strict=True)
        result.append(sum(row[mirror[(p - 1) % len(mirror)]] * w / total for p, w in pairs))
    return result


def as_row(frames: torch.Tensor) -> list[float]:
    return [float(value) for value in frames.flatten()]


@pytest.mark.parametrize(("side", "factor"), [(8, 2), (12, 3), (32, 4), (4, 4), (6, 2), (2, 2), (30, 5)])
def test_shrinking_is_imresize(side: int, factor: int) -> None:
    row = torch.rand(side, generator=torch.Generator().manual_seed(side))
    expected = slow_imresize(as_row(row), side // factor)
    # A picture whose rows are alike: the other axis only has to keep what is constant.
    across = shrink(row.expand(1, 3, factor, side), factor)
    down = shrink(row[:, None].expand(1, 3, side, factor), factor)
    for channel in range(3):
        assert as_row(across[0, channel]) == pytest.approx(expected, abs=1e-6)
        assert as_row(down[0, channel]) == pytest.approx(expected, abs=1e-6)


def test_weights_of_an_impulse() -> None:
    """Factor 2: taps at odd quarters, k(1/4), k(3/4), k(5/4), k(7/4) = 111, 29, -9, -3 of 128; both sides add up to 1.

    Pixel 11 lies 2.5, 0.5, -1.5, -3.5 pixels behind the centres of outputs 4 to 7, which are at 2 i + 0.5.
    """
    row = torch.zeros(24)
    row[11] = 1
    got = [256 * value for value in as_row(shrink(row.expand(1, 1, 2, 24), 2))]
    assert got == pytest.approx([0, 0, 0, 0, -9, 111, 29, -3, 0, 0, 0, 0], abs=1e-4)


def test_shrinking_a_ramp_gives_the_ramp_of_the_centres() -> None:
    """Away from the mirrored borders a cubic reproduces what is linear: output i is the ramp at 4 i + 1.5."""
    ramp = torch.arange(64.0).expand(1, 1, 8, 64)
    inside = as_row(shrink(ramp, 4)[0, 0, 0])[2:-2]
    assert inside == pytest.approx([4 * i + 1.5 for i in range(2, 14)], abs=1e-4)
    # At the left edge the mirrored ramp 1 0 | 0 1 2 ... lifts the value.
    assert as_row(shrink(ramp, 4)[0, 0, 0])[0] == pytest.approx(slow_imresize([float(i) for i in range(64)], 16)[0])


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_the_other_kernel_is_the_bicubic_of_pillow(factor: int) -> None:
    plane = torch.rand(6 * factor, 5 * factor, generator=torch.Generator().manual_seed(factor))
    expected = np.asarray(Image.fromarray(plane.numpy()).resize((5, 6), Image.Resampling.BICUBIC))
    result = shrink(plane.expand(1, 3, -1, -1), factor, "pillow")
    torch.testing.assert_close(result[0, 1], torch.from_numpy(expected.copy()), rtol=0, atol=1e-6)
    samples = (plane * 255).round()
    expected = np.asarray(Image.fromarray(samples.byte().numpy()).resize((5, 6), Image.Resampling.BICUBIC))
    rounded = (shrink(samples[None, None] / 255, factor, "pillow") * 255).clamp(0, 255).round()[0, 0]
    assert float((rounded - torch.from_numpy(expected.copy()).float()).abs().max()) <= 1  # Pillow rounds twice


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_both_kernels_agree_but_for_the_border(factor: int) -> None:
    picture = torch.rand(2, 3, 12 * factor, 10 * factor, generator=torch.Generator().manual_seed(0))
    matlab, pillow = shrink(picture, factor), shrink(picture, factor, "pillow")
    torch.testing.assert_close(matlab[..., 2:-2, 2:-2], pillow[..., 2:-2, 2:-2], rtol=0, atol=1e-6)
    assert float((matlab - pillow).abs().max()) > 1e-3


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 5), st.sampled_from(["matlab", "pillow"]))
def test_constant_colours_stay_when_shrunk(height: int, width: int, factor: int, kernel: str) -> None:
    colours = torch.tensor([0.2, 0.5, 1.0]).view(1, 3, 1, 1)
    result = shrink(colours.expand(1, 3, height * factor, width * factor), factor, kernel)
    torch.testing.assert_close(result, colours.expand(1, 3, height, width), rtol=0, atol=1e-6)


def test_shrinking_takes_any_strides_and_leaves_its_input() -> None:
    frames = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    before = frames.clone()
    result = shrink(frames, 4)
    torch.testing.assert_close(shrink(frames.contiguous(memory_format=torch.channels_last), 4), result)
    torch.testing.assert_close(shrink(frames.mT.contiguous().mT, 4), result)
    assert torch.equal(frames, before)
    assert torch.equal(shrink(frames, 1), frames)
    assert shrink(frames.double(), 2).dtype == torch.float32


def test_what_cannot_be_shrunk_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples"):
        shrink(torch.zeros(1, 3, 8, 9), 4)
    with pytest.raises(ValueError, match="'cubic'"):
        shrink(torch.zeros(1, 3, 8, 8), 4, "cubic")
    with pytest.raises(ValueError, match="by 0"):
        shrink(torch.zeros(1, 3, 8, 8), 0)


# --- making large without a network ---


def triangle(x: float) -> float:
    return max(0.0, 1 - abs(x))


def lanczos(x: float) -> float:
    return float(np.sinc(x) * np.sinc(x / 3)) if abs(x) < 3 else 0.0


@pytest.mark.parametrize(
    ("kind", "curve", "reach"), [("bicubic", keys, 2), ("bilinear", triangle, 1), ("lanczos", lanczos, 3)]
)
@pytest.mark.parametrize(("side", "factor"), [(9, 2), (7, 3), (11, 4), (1, 4), (2, 4)])
def test_enlarging_is_imresize(side: int, factor: int, kind: str, curve: object, reach: float) -> None:
    row = torch.rand(side, generator=torch.Generator().manual_seed(side))
    expected = slow_imresize(as_row(row), side * factor, curve, reach)
    across = enlarge(row.expand(1, 3, 1, side), factor, kind)
    down = enlarge(row[:, None].expand(1, 3, side, 1), factor, kind)
    for line in range(factor):
        assert as_row(across[0, 0, line]) == pytest.approx(expected, abs=1e-6)
        assert as_row(down[0, 2, :, line]) == pytest.approx(expected, abs=1e-6)


def test_enlarging_agrees_with_pillow_inside() -> None:
    plane = torch.rand(10, 12, generator=torch.Generator().manual_seed(0))
    for kind, filter in (("bicubic", Image.Resampling.BICUBIC), ("lanczos", Image.Resampling.LANCZOS)):
        expected = torch.from_numpy(np.asarray(Image.fromarray(plane.numpy()).resize((48, 40), filter)).copy())
        result = enlarge(plane[None, None], 4, kind)[0, 0]
        torch.testing.assert_close(result[12:-12, 12:-12], expected[12:-12, 12:-12], rtol=0, atol=1e-5)


def test_nearest_repeats() -> None:
    assert as_row(enlarge(torch.tensor([[[[1.0, 2.0]]]]), 2, "nearest")) == [1, 1, 2, 2, 1, 1, 2, 2]


def test_what_cannot_be_enlarged_is_refused() -> None:
    with pytest.raises(ValueError, match="'box'"):
        enlarge(torch.zeros(1, 3, 8, 8), 4, "box")
    with pytest.raises(ValueError, match="factor 0"):
        enlarge(torch.zeros(1, 3, 8, 8), 0)
