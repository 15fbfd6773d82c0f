"""Pixel losses: exact values, what they ignore, and what half precision must not change."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vsr.errors import SettingsError
from vsr.metrics import luma_bt601, psnr_y
from vsr.training.losses import CHARBONNIER_EPSILON, PIXEL_LOSSES, ColorConsistencyLoss, PixelLoss

kinds = pytest.mark.parametrize("kind", PIXEL_LOSSES)


def pictures(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator), torch.rand(shape, generator=generator)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("l1", (0.5 + 0 + 0.25 + 0.25) / 4),
        ("mse", (0.25 + 0 + 0.0625 + 0.0625) / 4),
        ("charbonnier", (math.hypot(0.5, 1e-3) + 1e-3 + 2 * math.hypot(0.25, 1e-3)) / 4),
    ],
)
def test_values_by_hand(kind: str, expected: float) -> None:
    output = torch.tensor([0.5, 1.0, 0.25, 0.0]).view(1, 1, 2, 2)
    target = torch.tensor([0.0, 1.0, 0.5, 0.25]).view(1, 1, 2, 2)
    assert PixelLoss(kind)(output, target).item() == pytest.approx(expected, rel=1e-6)


@kinds
def test_luma_alone_is_the_loss_of_the_metrics_luma(kind: str) -> None:
    output, target = pictures(2, 3, 9, 7)
    expected = PixelLoss(kind)(luma_bt601(output), luma_bt601(target))
    assert PixelLoss(kind, luma_weight=1.0)(output, target).item() == pytest.approx(expected.item(), rel=1e-6)


def test_mse_of_luma_is_what_psnr_y_measures() -> None:
    output, target = pictures(1, 3, 16, 16)
    loss = PixelLoss("mse", luma_weight=1.0)(output, target).item()
    assert -10 * math.log10(loss) == pytest.approx(psnr_y(output, target), abs=1e-4)


@kinds
@given(weight=st.floats(0, 1))
def test_luma_weight_mixes_linearly(kind: str, weight: float) -> None:
    output, target = pictures(1, 3, 4, 5)
    rgb, luma = PixelLoss(kind, 0.0)(output, target).item(), PixelLoss(kind, 1.0)(output, target).item()
    mixed = PixelLoss(kind, weight)(output, target).item()
    assert mixed == pytest.approx((1 - weight) * rgb + weight * luma, rel=1e-5)


@kinds
@given(seed=st.integers(0, 1000), weight=st.sampled_from([0.0, 0.3, 1.0]))
def test_symmetric_and_least_where_equal(kind: str, seed: int, weight: float) -> None:
    output, target = pictures(1, 3, 3, 4, seed=seed)
    loss = PixelLoss(kind, weight)
    assert loss(output, target).item() == pytest.approx(loss(target, output).item(), rel=1e-6)
    least = CHARBONNIER_EPSILON if kind == "charbonnier" else 0.0
    assert loss(target, target).item() == pytest.approx(least, rel=1e-5)
    assert loss(output, target).item() > least


@kinds
def test_gradient_is_right_and_finite_where_pictures_are_equal(kind: str) -> None:
    output, target = (picture.double() for picture in pictures(1, 3, 3, 3))
    loss = PixelLoss(kind, 0.4)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), output.requires_grad_())
    same = target.clone().requires_grad_()
    loss(same, target).backward()
    assert same.grad is not None
    assert torch.equal(same.grad, torch.zeros_like(same))


@kinds
def test_half_precision_pictures_are_compared_in_float32(kind: str) -> None:
    output, target = (picture.bfloat16() for picture in pictures(2, 3, 32, 32))
    loss = PixelLoss(kind, 0.5)
    expected = loss(output.float(), target.float())
    with torch.autocast("cpu", torch.bfloat16):
        got = loss(output, target.float())
    assert got.dtype == torch.float32
    assert got.item() == expected.item()


@kinds
def test_memory_format_does_not_matter(kind: str) -> None:
    output, target = pictures(2, 3, 8, 8)
    loss = PixelLoss(kind, 0.5)
    strided = loss(output.contiguous(memory_format=torch.channels_last), target)
    assert strided.item() == pytest.approx(loss(output, target).item(), rel=1e-6)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(SettingsError, match=r"'l3'.*l1, charbonnier, mse"):
        PixelLoss("l3")
    for weight in (-0.1, 1.1, math.nan):
        with pytest.raises(SettingsError, match="luma_weight"):
            PixelLoss("l1", weight)
    with pytest.raises(SettingsError, match="epsilon"):
        PixelLoss("charbonnier", epsilon=0.0)
    with pytest.raises(SettingsError, match="box"):
        ColorConsistencyLoss(0)


def test_pictures_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="different shapes"):  # and not broadcast to one number
        PixelLoss()(torch.zeros(2, 3, 4, 4), torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match="luma needs RGB"):
        PixelLoss("l1", 0.5)(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))
    with pytest.raises(ValueError, match="no enlargement"):
        ColorConsistencyLoss()(torch.zeros(1, 3, 9, 8), torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match="no enlargement"):
        ColorConsistencyLoss()(torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 4, 4))


@given(
    scale=st.integers(1, 4),
    box=st.integers(1, 9),
    height=st.integers(1, 13),
    width=st.integers(1, 13),
    shift=st.floats(-0.5, 0.5),
)
def test_a_shift_of_colour_costs_what_it_is(scale: int, box: int, height: int, width: int, shift: float) -> None:
    low, _ = pictures(2, 3, height, width)
    output = F.interpolate(low, scale_factor=scale, mode="nearest") + shift
    assert ColorConsistencyLoss(box)(output, low).item() == pytest.approx(abs(shift), abs=3e-6)


def test_detail_and_noise_cost_little_colour() -> None:
    """What sums to zero within a box costs nothing; white noise on the input costs an eighth or so of its size."""
    low, noise = pictures(1, 3, 16, 16)
    output = F.interpolate(low, scale_factor=4, mode="nearest")
    checks = (torch.arange(64)[:, None] + torch.arange(64)) % 2 - 0.5
    loss = ColorConsistencyLoss(8)
    assert loss(output + checks, low).item() == pytest.approx(0.0, abs=1e-6)
    noise = noise - 0.5
    assert loss(output, low + noise).item() < noise.abs().mean().item() / 6


def test_gradient_of_colour_consistency() -> None:
    low, _ = pictures(1, 3, 5, 4)
    output = (F.interpolate(low, scale_factor=2, mode="nearest") + 0.1).double().requires_grad_()
    loss = ColorConsistencyLoss(2)
    assert torch.autograd.gradcheck(lambda x: loss(x, low), output)
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(output.bfloat16(), low).dtype == torch.float32
