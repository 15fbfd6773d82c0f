"""PSNR, SSIM and flicker against values worked out by hand, slow loops and published figures."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vsr.metrics import TemporalDifference, luma_bt601, psnr, psnr_y, ssim, ssim_y


def test_a_constant_difference() -> None:
    a = torch.full((3, 8, 8), 0.5)
    assert psnr(a, a + 0.1) == pytest.approx(20.0, abs=1e-5)
    assert psnr(a * 255, (a + 0.1) * 255, data_range=255) == pytest.approx(20.0, abs=1e-5)


def test_equal_pictures_are_infinitely_alike() -> None:
    assert psnr(torch.ones(1, 2, 2), torch.ones(1, 2, 2)) == math.inf


def test_a_nan_is_not_hidden() -> None:
    assert math.isnan(psnr(torch.tensor([[math.nan, 0.0]]), torch.zeros(1, 2)))


def test_eight_bit_pictures_do_not_wrap_around() -> None:
    dark, bright = torch.zeros(3, 4, 4, dtype=torch.uint8), torch.full((3, 4, 4), 255, dtype=torch.uint8)
    assert psnr(dark, bright, data_range=255) == 0.0


def test_the_border_is_cut_on_all_four_sides() -> None:
    a = torch.zeros(3, 10, 12)
    b = torch.ones(3, 10, 12)
    b[:, 2:-2, 2:-2] = 0
    assert psnr(a, b, border=2) == math.inf
    assert psnr(a, b, border=1) < 10


def test_luma_of_black_white_and_green() -> None:
    colours = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 0.0]]).view(3, 1, 3)
    expected = torch.tensor([16.0, 235.0, 16 + 128.553], dtype=torch.float64).view(1, 1, 3)
    torch.testing.assert_close(luma_bt601(colours) * 255, expected)


def test_psnr_y_of_a_grey_step() -> None:
    a = torch.full((1, 3, 6, 6), 0.25)
    expected = 20 * math.log10(255 / (219 * 0.1))  # a grey step of 0.1 moves luma by 219/255 of it
    assert psnr_y(a, a + 0.1, border=1) == pytest.approx(expected, abs=1e-4)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        psnr(torch.zeros(3, 4, 4), torch.zeros(3, 4, 5))
    with pytest.raises(ValueError, match="border"):
        psnr(torch.zeros(3, 4, 4), torch.zeros(3, 4, 4), border=2)
    with pytest.raises(ValueError, match="RGB"):
        psnr_y(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4))


# --- SSIM ---


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def slow_ssim(a: Tensor, b: Tensor, data_range: float) -> float:
    """Wang et al. 2004, equations 13 to 16, window by window and pixel by pixel."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    weights = [[math.exp(-((y - 5) ** 2 + (x - 5) ** 2) / (2 * 1.5**2)) for x in range(11)] for y in range(11)]
    total = sum(map(sum, weights))
    figures = []
    for top in range(a.shape[0] - 10):
        for left in range(a.shape[1] - 10):
            window = [
                (weights[y][x] / total, float(a[top + y, left + x]), float(b[top + y, left + x]))
                for y in range(11)
                for x in range(11)
            ]
            mean_a, mean_b = sum(w * p for w, p, _ in window), sum(w * q for w, _, q in window)
            var_a = sum(w * (p - mean_a) ** 2 for w, p, _ in window)
            var_b = sum(w * (q - mean_b) ** 2 for w, _, q in window)
            cov = sum(w * (p - mean_a) * (q - mean_b) for w, p, q in window)
            figures.append(
                (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
            )
    return math.fsum(figures) / len(figures)


def test_ssim_is_the_formula_of_the_paper() -> None:
    a, b = noise(15, 19).double() * 255, noise(15, 19, seed=1).double() * 255
    b = 0.6 * a + 0.4 * b
    assert ssim(a, b, data_range=255) == pytest.approx(slow_ssim(a, b, 255), abs=1e-12)
    assert ssim(a / 255, b / 255) == pytest.approx(slow_ssim(a, b, 255), abs=1e-12)


@given(st.floats(0, 1), st.floats(0, 1))
def test_ssim_of_flat_pictures_compares_their_means(a: float, b: float) -> None:
    flat = torch.ones(12, 13, dtype=torch.float64)
    expected = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    assert ssim(a * flat, b * flat) == pytest.approx(expected, abs=1e-9)


def test_ssim_of_equal_and_of_opposite_pictures() -> None:
    a = noise(3, 20, 20)
    assert ssim(a, a) == pytest.approx(1.0, abs=1e-12)
    # A zero-mean pattern and its negative: structure is -1, but for the constant that keeps 0/0 away.
    pattern = torch.where(torch.arange(24) % 2 == 0, 1.0, -1.0).expand(24, 24)
    assert ssim(pattern, -pattern) < -0.95


def test_ssim_of_colours_is_the_mean_of_the_channels() -> None:
    a, b = noise(2, 3, 16, 18), noise(2, 3, 16, 18, seed=1)
    parts = [ssim(a[i, c], b[i, c]) for i in range(2) for c in range(3)]
    assert ssim(a, b) == pytest.approx(math.fsum(parts) / 6, abs=1e-12)
    assert ssim_y(a, b) == pytest.approx(ssim(luma_bt601(a), luma_bt601(b)), abs=1e-12)


def test_ssim_in_bands_is_ssim_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = noise(61, 40), noise(61, 40, seed=1)
    whole = ssim(a, b)
    monkeypatch.setattr("vsr.metrics._SSIM_BAND", 1)
    assert ssim(a, b) == pytest.approx(whole, abs=1e-12)


def test_the_border_is_no_part_of_ssim() -> None:
    a, b = noise(3, 30, 30), noise(3, 30, 30, seed=1)
    assert ssim(a, b, border=4) == pytest.approx(ssim(a[:, 4:-4, 4:-4], b[:, 4:-4, 4:-4]), abs=1e-12)


def test_ssim_needs_a_window() -> None:
    assert ssim(torch.zeros(11, 11), torch.zeros(11, 11)) == 1.0
    with pytest.raises(ValueError, match="11x11"):
        ssim(torch.zeros(3, 18, 30), torch.zeros(3, 18, 30), border=4)
    with pytest.raises(ValueError, match="different shapes"):
        ssim(torch.zeros(12, 12), torch.zeros(12, 13))
    assert math.isnan(ssim(torch.full((12, 12), math.nan), torch.zeros(12, 12)))


# --- flicker ---


def test_flicker_of_a_film_that_blinks() -> None:
    """A constant error is none; one grey step of 10/255 forth and back is 219/255 of it in luma, at every pair."""
    reference = noise(5, 3, 14, 16)
    steady, blinking = TemporalDifference(border=2), TemporalDifference()
    for number, frame in enumerate(reference):
        steady.add(frame + 0.1, frame)
        blinking.add(frame + (number % 2) * 10 / 255, frame)
    assert steady.mean == pytest.approx(0.0, abs=1e-4)
    assert blinking.mean == pytest.approx(10 * 219 / 255, abs=1e-4)
    assert blinking.num_pairs == 4


def test_flicker_is_the_difference_of_differences() -> None:
    output, reference = noise(4, 3, 9, 11), noise(4, 3, 9, 11, seed=1)
    difference = TemporalDifference(border=1)
    for pair in zip(output, reference, strict=True):
        difference.add(*pair)
    moves = [luma_bt601(film)[..., 1:-1, 1:-1].diff(dim=0) for film in (output, reference)]
    assert difference.mean == pytest.approx(float((moves[0] - moves[1]).abs().mean()) * 255, abs=1e-9)


def test_one_frame_does_not_flicker_and_sizes_stay() -> None:
    difference = TemporalDifference()
    assert difference.mean is None
    difference.add(noise(3, 8, 8), noise(3, 8, 8))
    assert difference.mean is None
    with pytest.raises(ValueError, match="another size"):
        difference.add(noise(3, 8, 9), noise(3, 8, 9))
    with pytest.raises(ValueError, match="different shapes"):
        difference.add(noise(3, 8, 8), noise(3, 8, 9))
