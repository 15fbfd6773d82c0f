from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vsr.chroma import decimate, interpolate, restore

FACTORS = st.sampled_from((1, 2, 4))
SIZES = st.integers(1, 41)
COSITED = st.booleans()


def offset_of(factor: int, is_cosited: bool) -> float:
    return 0.0 if is_cosited else (factor - 1) / 2


@given(size=SIZES, factor=FACTORS, is_cosited=COSITED, seed=st.integers(0, 2**16))
def test_interpolate_is_linear_interpolation_at_the_sited_positions(
    size: int, factor: int, is_cosited: bool, seed: int
) -> None:
    count = -(-size // factor)
    samples = np.random.default_rng(seed).random((3, count))
    positions = factor * np.arange(count) + offset_of(factor, is_cosited)
    expected = np.stack([np.interp(np.arange(size), positions, row) for row in samples])
    across = interpolate(torch.from_numpy(samples), -1, size, factor, is_cosited=is_cosited)
    down = interpolate(torch.from_numpy(samples.T.copy()), -2, size, factor, is_cosited=is_cosited)
    np.testing.assert_allclose(across.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(down.numpy(), expected.T, atol=1e-12)


@given(size=SIZES, factor=FACTORS, is_cosited=COSITED, seed=st.integers(0, 2**16))
def test_decimate_is_a_weighted_mean_around_the_sited_positions(
    size: int, factor: int, is_cosited: bool, seed: int
) -> None:
    samples = np.random.default_rng(seed).random((3, size))
    expected = np.zeros((3, -(-size // factor)))
    for index in range(expected.shape[1]):
        centre = factor * index + offset_of(factor, is_cosited)
        positions = np.arange(factor * (index - 1), factor * (index + 2))
        distances = np.abs(positions - centre)
        weights = np.clip(1 - distances / factor, 0, None) if is_cosited else (distances < factor / 2).astype(float)
        nearest = np.clip(positions, 0, size - 1)
        expected[:, index] = samples[:, nearest] @ weights / weights.sum()
    across = decimate(torch.from_numpy(samples), -1, factor, is_cosited=is_cosited)
    down = decimate(torch.from_numpy(samples.T.copy()), -2, factor, is_cosited=is_cosited)
    np.testing.assert_allclose(across.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(down.numpy(), expected.T, atol=1e-12)


@pytest.mark.parametrize("is_cosited", [True, False])
@pytest.mark.parametrize("factor", [2, 4])
def test_a_ramp_comes_back_exactly_in_the_interior(factor: int, is_cosited: bool) -> None:
    ramp = torch.arange(64, dtype=torch.float64)[None]
    small = decimate(ramp, -1, factor, is_cosited=is_cosited)
    positions = factor * torch.arange(64 // factor) + offset_of(factor, is_cosited)
    assert torch.equal(small[:, 1:-1], positions[None, 1:-1].double())
    again = interpolate(small, -1, 64, factor, is_cosited=is_cosited)
    assert torch.equal(again[:, 2 * factor : -2 * factor], ramp[:, 2 * factor : -2 * factor])


@given(size=SIZES, factor=FACTORS, is_cosited=COSITED, level=st.floats(-1000, 1000, width=32, allow_subnormal=False))
def test_constant_stays_constant(size: int, factor: int, is_cosited: bool, level: float) -> None:
    constant = torch.full((2, size), level)
    small = decimate(constant, -1, factor, is_cosited=is_cosited)
    torch.testing.assert_close(small, torch.full((2, -(-size // factor)), level), rtol=5e-7, atol=1e-37)
    exact = torch.full_like(small, level)
    assert torch.equal(interpolate(exact, -1, size, factor, is_cosited=is_cosited), constant)


@given(height=st.integers(1, 20), width=st.integers(1, 20), seed=st.integers(0, 2**16))
def test_restore_undoes_centred_interpolation(height: int, width: int, seed: int) -> None:
    codes = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.float64))
    across = interpolate(codes, -1, 2 * width, 2, is_cosited=False)
    whole = interpolate(across, -2, 2 * height, 2, is_cosited=False)
    torch.testing.assert_close(restore(restore(whole, -1), -2), codes, rtol=0, atol=1e-9)
    # Each sample was rounded by a half at most, and the taps' magnitudes add up to 2 in either direction.
    assert (restore(restore(whole.round(), -1), -2) - codes).abs().max() <= 2.0
