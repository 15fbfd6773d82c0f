"""Adversarial losses against numbers worked out by hand and against the papers' formulas written out."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vsr.errors import SettingsError
from vsr.training.adversarial import ADVERSARIAL_LOSSES, AdversarialLoss

kinds = pytest.mark.parametrize("kind", ADVERSARIAL_LOSSES)
logits = st.lists(st.floats(-8, 8), min_size=1, max_size=5)

# -log s(x) for x = 0, 1, 2 and -1, -2, with s(x) = 1 / (1 + exp(-x)).
AT_0, AT_1, AT_2 = 0.6931471806, 0.3132616875, 0.1269280110
AT_MINUS_1, AT_MINUS_2 = 1.3132616875, 2.1269280110


@pytest.mark.parametrize(
    ("kind", "of_discriminator", "of_generator"),
    [
        ("standard", (AT_2 + AT_0) / 2 + (AT_MINUS_1 + AT_1) / 2, (AT_MINUS_1 + AT_1) / 2),
        # E[C(r)] = 1, E[C(f)] = 0: r - E[f] = (2, 0), f - E[r] = (-2, 0).
        ("relativistic", (AT_2 + AT_0) / 2 + (AT_2 + AT_0) / 2, (AT_MINUS_2 + AT_0) / 2 + (AT_MINUS_2 + AT_0) / 2),
        ("lsgan", ((1 + 1) / 2 + (1 + 1) / 2) / 2, ((4 + 0) / 2) / 2),
    ],
)
def test_values_by_hand(kind: str, of_discriminator: float, of_generator: float) -> None:
    """Real pictures get the logits 2 and 0, made ones -1 and 1."""
    real, fake = torch.tensor([[2.0], [0.0]]), torch.tensor([[-1.0], [1.0]])
    loss = AdversarialLoss(kind)
    assert loss.for_discriminator(real, fake).item() == pytest.approx(of_discriminator, rel=1e-6)
    assert loss.for_generator(real, fake).item() == pytest.approx(of_generator, rel=1e-6)


def written_out(kind: str, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """The formulas as the papers print them, sigmoid and logarithm, in float64: (discriminator, generator)."""
    s, log = torch.sigmoid, torch.log
    if kind == "standard":
        return -log(s(real)).mean() - log(1 - s(fake)).mean(), -log(s(fake)).mean()
    if kind == "lsgan":
        return 0.5 * ((real - 1) ** 2).mean() + 0.5 * (fake**2).mean(), 0.5 * ((fake - 1) ** 2).mean()
    real_rel, fake_rel = s(real - fake.mean()), s(fake - real.mean())
    return (
        -log(real_rel).mean() - log(1 - fake_rel).mean(),
        -log(1 - real_rel).mean() - log(fake_rel).mean(),
    )


@kinds
@given(reals=logits, fakes=logits)
def test_the_formulas_of_the_papers(kind: str, reals: list[float], fakes: list[float]) -> None:
    real, fake = torch.tensor(reals, dtype=torch.float64), torch.tensor(fakes, dtype=torch.float64)
    of_discriminator, of_generator = written_out(kind, real, fake)
    loss = AdversarialLoss(kind)
    assert loss.for_discriminator(real, fake).item() == pytest.approx(of_discriminator.item(), rel=1e-6, abs=1e-7)
    assert loss.for_generator(real, fake).item() == pytest.approx(of_generator.item(), rel=1e-6, abs=1e-7)


@kinds
def test_gradients_are_those_of_the_formulas(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    reals, fakes = (torch.randn(2, 1, 3, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    loss = AdversarialLoss(kind)

    def gradients(value: Tensor, *of: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(value, of)

    real, fake = reals.clone().requires_grad_(), fakes.clone().requires_grad_()
    expected = gradients(written_out(kind, real, fake)[0], real, fake)  # both, through the averages, too
    for got, want in zip(gradients(loss.for_discriminator(real, fake), real, fake), expected, strict=True):
        torch.testing.assert_close(got, want)
    expected = gradients(written_out(kind, real, fake)[1], fake)
    torch.testing.assert_close(gradients(loss.for_generator(real, fake), fake), expected)


@kinds
def test_the_generator_has_no_hand_in_real_pictures(kind: str) -> None:
    real = torch.tensor([[2.0], [0.3], [-1.0]], requires_grad=True)
    fake = torch.tensor([[0.9], [0.1], [-2.0]], requires_grad=True)  # below lsgan's goal of 1
    loss = AdversarialLoss(kind)
    loss.for_generator(real, fake).backward()
    assert real.grad is None
    assert fake.grad is not None
    assert (fake.grad < 0).all(), "more real is better, for each picture"


@kinds
def test_the_discriminator_pulls_the_two_apart(kind: str) -> None:
    real, fake = torch.zeros(4, 1, requires_grad=True), torch.full((4, 1), 0.1, requires_grad=True)
    AdversarialLoss(kind).for_discriminator(real, fake).backward()
    assert real.grad is not None
    assert fake.grad is not None
    assert (real.grad < 0).all()
    assert (fake.grad > 0).all()


@given(reals=logits, fakes=logits, shift=st.floats(-5, 5))
def test_relativistic_sees_differences_only_and_is_one_game(
    reals: list[float], fakes: list[float], shift: float
) -> None:
    real, fake = torch.tensor(reals, dtype=torch.float64), torch.tensor(fakes, dtype=torch.float64)
    loss = AdversarialLoss("relativistic")
    shifted = loss.for_discriminator(real + shift, fake + shift)
    assert shifted.item() == pytest.approx(loss.for_discriminator(real, fake).item(), rel=1e-9, abs=1e-9)
    assert loss.for_generator(real, fake).item() == pytest.approx(loss.for_discriminator(fake, real).item(), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["standard", "relativistic"])
def test_huge_logits_neither_overflow_nor_vanish(kind: str, dtype: torch.dtype) -> None:
    """A discriminator that is utterly wrong: the loss is as large as the logits, the gradient still full."""
    size = torch.tensor(1e4, dtype=dtype)
    real, fake = (torch.full((2, 1), float(sign * size), dtype=dtype, requires_grad=True) for sign in (-1, 1))
    distance = float(size) * (2 if kind == "relativistic" else 1)
    value = AdversarialLoss(kind).for_discriminator(real, fake)
    assert value.item() == pytest.approx(2 * distance, rel=1e-6)
    value.backward()
    assert real.grad is not None
    factor = 2 if kind == "relativistic" else 1  # once itself, once in the average that the others are held against
    torch.testing.assert_close(real.grad, torch.full_like(real, -factor / 2))
    won = AdversarialLoss(kind).for_discriminator(-real.detach(), -fake.detach())
    assert won.item() == 0.0


@kinds
def test_half_precision_logits_are_averaged_in_float32(kind: str) -> None:
    generator = torch.Generator().manual_seed(1)
    real, fake = (torch.randn(4, 1, 16, 16, generator=generator).bfloat16() for _ in range(2))
    loss = AdversarialLoss(kind)
    for judge in (loss.for_discriminator, loss.for_generator):
        with torch.autocast("cpu", torch.bfloat16):
            got = judge(real, fake)
        assert got.dtype == torch.float32
        assert got.item() == judge(real.float(), fake.float()).item()


def test_balance_is_log_two() -> None:
    """A discriminator that cannot tell: 2 ln 2 for it, the figure to look for in a log."""
    undecided = torch.zeros(3, 1)
    for kind in ("standard", "relativistic"):
        value = AdversarialLoss(kind).for_discriminator(undecided, undecided).item()
        assert value == pytest.approx(2 * math.log(2), rel=1e-6)


def test_only_relativistic_needs_real_logits() -> None:
    fake = torch.zeros(2, 1)
    for kind in ADVERSARIAL_LOSSES:
        loss = AdversarialLoss(kind)
        if loss.needs_real:
            with pytest.raises(ValueError, match="real pictures"):
                loss.for_generator(None, fake)
        else:
            assert loss.for_generator(None, fake).isfinite()
    assert [kind for kind in ADVERSARIAL_LOSSES if AdversarialLoss(kind).needs_real] == ["relativistic"]


def test_unknown_kind_is_named() -> None:
    with pytest.raises(SettingsError, match=r"'wgan'.*standard, relativistic, lsgan"):
        AdversarialLoss("wgan")
