"""PSNR against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from vsr.metrics import luma_bt601, psnr, psnr_y


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
