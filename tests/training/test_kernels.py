from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr.training.kernels import KERNEL_SIZES, convolve, draw_blur_kernel, draw_sinc_kernel, gaussian, plateau, sinc

seeds = st.integers(0, 2**32 - 1)
sizes = st.sampled_from(KERNEL_SIZES)


def convolve_directly(picture, kernel):
    """The definition: the sum over all taps, in double precision."""
    radius = kernel.shape[0] // 2
    padded = np.pad(picture.astype(np.float64), ((radius, radius), (radius, radius), (0, 0)), mode="reflect")
    height, width, _ = picture.shape
    return sum(
        padded[y : y + height, x : x + width] * kernel[y, x]
        for y in range(kernel.shape[0])
        for x in range(kernel.shape[1])
    )


def response(kernel, frequency):
    """Gain for a wave along a row, `frequency` in radians per pixel."""
    x = np.arange(kernel.shape[1]) - kernel.shape[1] // 2
    return float((kernel.sum(axis=0) * np.cos(frequency * x)).sum())


@given(seeds, st.floats(0.0, 1.0))
def test_kernels_sum_to_one_and_turn_into_themselves(seed, sinc_share):
    rng = np.random.default_rng(seed)
    for kernel in (draw_blur_kernel(rng, (0.2, 3.0), sinc_share), draw_sinc_kernel(rng)):
        assert kernel.shape[0] == kernel.shape[1]
        assert kernel.shape[0] in KERNEL_SIZES
        assert kernel.sum() == pytest.approx(1.0, abs=1e-12)
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)  # half a turn: no shift


@pytest.mark.parametrize("make", [gaussian, plateau])
def test_anisotropic_kernels_are_long_along_their_angle(make):
    flat = make(21, 3.0, 1.0, 0.0)
    upright = make(21, 3.0, 1.0, math.pi / 2)
    np.testing.assert_allclose(flat, upright.T, atol=1e-12)
    x = np.arange(21) - 10
    assert (flat.sum(axis=0) * x**2).sum() > 2 * (flat.sum(axis=1) * x**2).sum()


def test_gaussian_has_the_variance_asked_for():
    kernel = gaussian(21, 1.5)
    x = np.arange(21) - 10
    assert (kernel.sum(axis=0) * x**2).sum() == pytest.approx(1.5**2, rel=1e-3)
    assert (kernel.sum(axis=1) * x**2).sum() == pytest.approx(1.5**2, rel=1e-3)


def test_shape_flattens_the_top():
    """Above 1 the middle is flat and the flanks are steep, below 1 the other way round."""
    flat, pointed = gaussian(21, 3.0, shape=4.0), gaussian(21, 3.0, shape=0.5)
    assert flat[10, 11] / flat[10, 10] > 0.99
    assert pointed[10, 11] / pointed[10, 10] < 0.9
    assert plateau(21, 3.0, shape=2.0)[10, 11] / plateau(21, 3.0, shape=2.0)[10, 10] > 0.98


def test_sinc_has_the_values_of_bessel():
    """J1(1), J1(2), J1(10) of Abramowitz and Stegun, table 9.1, through the kernel's ratio to its centre."""
    table = {1: 0.4400505857, 2: 0.5767248078, 10: 0.0434727462}
    kernel = sinc(21, 1.0)
    centre = 1.0 / (4.0 * math.pi)
    for distance, value in table.items():
        expected = value / (2.0 * math.pi * distance) / centre
        assert kernel[10, 10 + distance] / kernel[10, 10] == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("cutoff", [math.pi / 3, math.pi / 2, 2 * math.pi / 3])
def test_sinc_passes_below_its_cutoff_and_stops_above(cutoff):
    kernel = sinc(21, cutoff)
    assert response(kernel, 0.0) == pytest.approx(1.0)
    assert response(kernel, 0.6 * cutoff) == pytest.approx(1.0, abs=0.15)
    assert 0.3 < response(kernel, cutoff) < 0.7
    assert abs(response(kernel, min(math.pi, 1.45 * cutoff))) < 0.12
    assert kernel.min() < 0  # it rings


@given(seeds, st.integers(1, 24), st.integers(1, 24), st.integers(1, 4), sizes)
def test_convolution_is_the_sum_over_taps(seed, height, width, channels, size):
    """Both ways to compute agree with the definition; weights may move by what trimming takes."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    for kernel in (gaussian(size, 1.2), gaussian(size, 2.5, 0.7, 0.6), sinc(size, 2.0)):
        expected = np.clip(convolve_directly(picture, kernel), 0, 255)
        got = convolve(picture, kernel)
        assert got.shape == picture.shape
        assert got.dtype == np.uint8
        assert np.abs(got - expected).max() <= 0.56


def test_a_kernel_of_one_pixel_changes_nothing():
    picture = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(convolve(picture, gaussian(7, 0.1)), picture)
    assert convolve(picture, gaussian(7, 0.1)) is not picture


def test_small_sigmas_cost_nothing_in_exactness():
    """Rings that are trimmed weigh less than a tenth of a per mille."""
    impulse = np.zeros((31, 31, 1), np.uint8)
    impulse[15, 15] = 255
    kernel = gaussian(21, 0.8)
    np.testing.assert_allclose(convolve(impulse, kernel)[5:26, 5:26, 0], 255 * kernel, atol=0.51)
