"""Discriminators: the published sizes, the shapes of their judgements, and spectral normalisation."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from vsr.errors import SettingsError
from vsr.training.discriminators import SpectralNormConv2d, UNetDiscriminator, VGGDiscriminator


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def conv(channels: int, wider: int, kernel_size: int, *, bias: bool = False, norm: bool = False) -> int:
    """Parameters of a convolution, its bias, and its batch normalisation (a scale and an offset per channel)."""
    return channels * wider * kernel_size**2 + wider * bias + 2 * wider * norm


def vgg_size(channels: list[int], strided: int, side: int, hidden: int) -> int:
    """Parameters of a VGG-style discriminator, counted from the papers' tables of layers."""
    total, before = 0, 3
    for stage, wider in enumerate(channels):
        total += conv(before, wider, 3, bias=stage == 0, norm=stage > 0) + conv(wider, wider, strided, norm=True)
        before = wider
    return total + (before * side**2 + 1) * hidden + hidden + 1


@pytest.mark.parametrize(
    ("patch_size", "style", "size"),
    [
        (128, "esrgan", vgg_size([64, 128, 256, 512, 512], strided=4, side=4, hidden=100)),
        (96, "esrgan", vgg_size([64, 128, 256, 512, 512], strided=4, side=3, hidden=100)),
        (192, "esrgan", vgg_size([64, 128, 256, 512, 512, 512], strided=4, side=3, hidden=100)),
        (96, "srgan", vgg_size([64, 128, 256, 512], strided=3, side=6, hidden=1024)),
    ],
)
def test_vgg_has_the_published_layers(patch_size: int, style: str, size: int) -> None:
    with torch.device("meta"):
        assert count(VGGDiscriminator(patch_size, style=style)) == size


def test_vgg_at_128_is_14_5_million() -> None:
    with torch.device("meta"):
        assert count(VGGDiscriminator(128)) == 14_499_401


def test_unet_is_4_38_million() -> None:
    n = 64
    ends = conv(3, n, 3, bias=True) + conv(n, 1, 3, bias=True)
    down = conv(n, 2 * n, 4) + conv(2 * n, 4 * n, 4) + conv(4 * n, 8 * n, 4)
    up = conv(8 * n, 4 * n, 3) + conv(4 * n, 2 * n, 3) + conv(2 * n, n, 3)
    expected = ends + down + up + 2 * conv(n, n, 3)
    assert count(UNetDiscriminator()) == expected == 4_376_897


@pytest.mark.parametrize("style", ["esrgan", "srgan"])
@pytest.mark.parametrize("patch_size", [32, 64, 96, 128, 160, 192, 224, 256])
def test_vgg_judges_each_picture(patch_size: int, style: str) -> None:
    discriminator = VGGDiscriminator(patch_size, num_features=2, style=style)
    logits = discriminator(torch.rand(2, 3, patch_size, patch_size))
    assert logits.shape == (2, 1)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in discriminator.parameters())


@pytest.mark.parametrize("size", [(8, 8), (64, 64), (33, 47), (9, 128)])
def test_unet_judges_each_pixel(size: tuple[int, int]) -> None:
    discriminator = UNetDiscriminator(num_features=4)
    logits = discriminator(torch.rand(2, 3, *size))
    assert logits.shape == (2, 1, *size)
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in discriminator.parameters())


def test_logits_are_no_probabilities() -> None:
    """No sigmoid at the end: the last layer's bias moves the judgement anywhere."""
    vgg, unet = VGGDiscriminator(32, num_features=2).eval(), UNetDiscriminator(num_features=2).eval()
    last = vgg.judge[-1]
    assert isinstance(last, nn.Linear)
    for discriminator, bias in ((vgg, last.bias), (unet, unet.conv_last.bias)):
        assert bias is not None
        frames_BCHW = torch.rand(1, 3, 32, 32)
        before = discriminator(frames_BCHW)
        with torch.no_grad():
            bias.sub_(100)
        torch.testing.assert_close(discriminator(frames_BCHW), before - 100)


@pytest.mark.parametrize("make", [lambda: VGGDiscriminator(64, num_features=8), lambda: UNetDiscriminator(8)])
def test_autocast_and_channels_last(make: type[nn.Module]) -> None:
    torch.manual_seed(0)
    discriminator = make()
    frames_BCHW = torch.rand(2, 3, 64, 64)
    expected = copy.deepcopy(discriminator)(frames_BCHW)
    strided = copy.deepcopy(discriminator).to(memory_format=torch.channels_last)
    frames_BCHW = frames_BCHW.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(copy.deepcopy(strided)(frames_BCHW), expected, rtol=1e-3, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        logits = strided(frames_BCHW)
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), expected, rtol=0.1, atol=0.05)
    logits.float().mean().backward()
    for parameter in strided.parameters():
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()


def test_wrong_sizes_are_named() -> None:
    for patch_size in (0, 16, 100, -32):
        with pytest.raises(SettingsError, match=f"{patch_size} pixels"):
            VGGDiscriminator(patch_size)
    with pytest.raises(SettingsError, match="'dcgan'"):
        VGGDiscriminator(128, style="dcgan")
    with pytest.raises(ValueError, match="3x64x64, not 3x64x32"):
        VGGDiscriminator(64, num_features=2)(torch.rand(1, 3, 64, 32))
    with pytest.raises(ValueError, match="8x8 or more"):
        UNetDiscriminator(num_features=2)(torch.rand(1, 3, 7, 8))


# Spectral normalisation ----------------------------------------------------------------------------------------------


def largest_singular_value(weight: Tensor) -> float:
    return float(torch.linalg.matrix_norm(weight.detach().flatten(1).double(), 2))


def test_the_largest_singular_value_becomes_one() -> None:
    torch.manual_seed(0)
    layer = SpectralNormConv2d(6, 12, 3)
    with torch.no_grad():
        layer.weight.mul_(50)
    assert largest_singular_value(layer.eval().normalised_weight()) == pytest.approx(1, rel=0.1)
    layer.train()
    for _ in range(100):
        layer.normalised_weight()
    assert largest_singular_value(layer.eval().normalised_weight()) == pytest.approx(1, rel=1e-4)


def test_it_follows_a_weight_that_moves() -> None:
    torch.manual_seed(0)
    layer = SpectralNormConv2d(4, 8, 3)
    for _ in range(200):
        with torch.no_grad():
            layer.weight.add_(0.003 * torch.randn_like(layer.weight))
        normalised = layer.normalised_weight()
    assert largest_singular_value(normalised) == pytest.approx(1, rel=0.03)


def test_weights_and_gradients_are_those_of_torch() -> None:
    """Over several training steps, against torch's parametrisation that starts from the same vectors."""
    torch.manual_seed(0)
    ours = SpectralNormConv2d(3, 5, 3, stride=2, padding=1)
    theirs = nn.Conv2d(3, 5, 3, stride=2, padding=1)
    theirs.load_state_dict({"weight": ours.weight.detach().clone(), "bias": ours.bias.detach().clone()})
    nn.utils.parametrizations.spectral_norm(theirs)
    parametrization = theirs.parametrizations.weight
    parametrization[0]._u.copy_(ours.weight_u)
    parametrization[0]._v.copy_(ours.weight_v)
    optimizers = [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in (ours, theirs)]
    for _ in range(5):
        frames_BCHW = torch.randn(2, 3, 8, 8)
        for layer, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            layer(frames_BCHW).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, parametrization.original)
    torch.testing.assert_close(ours.bias, theirs.bias)


def test_one_backward_after_two_judgements() -> None:
    """Real and made pictures pass before the loss is known; the second pass must not spoil the first one's graph."""
    discriminator = UNetDiscriminator(num_features=2)
    real, fake = discriminator(torch.rand(1, 3, 8, 8)), discriminator(torch.rand(1, 3, 8, 8))
    (real.mean() - fake.mean()).backward()


def test_judging_in_eval_mode_changes_nothing() -> None:
    discriminator = UNetDiscriminator(num_features=2)
    before = copy.deepcopy(discriminator.state_dict())
    discriminator.eval()(torch.rand(1, 3, 16, 16))
    assert all(torch.equal(value, before[key]) for key, value in discriminator.state_dict().items())
    discriminator.train()(torch.rand(1, 3, 16, 16))
    assert not torch.equal(discriminator.state_dict()["down.0.weight_u"], before["down.0.weight_u"])


@pytest.mark.parametrize("make", [lambda: VGGDiscriminator(32, num_features=2), lambda: UNetDiscriminator(2)])
def test_a_state_restores_the_very_same_training(make: type[nn.Module]) -> None:
    frames_BCHW = torch.rand(2, 3, 32, 32)
    first, second = make(), make()
    first(frames_BCHW)
    second.load_state_dict(first.state_dict())
    for _ in range(2):
        assert torch.equal(first(frames_BCHW), second(frames_BCHW))
