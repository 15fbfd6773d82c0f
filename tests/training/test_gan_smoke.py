"""A whole game in small: generator and discriminator take turns on drawn pictures, and nothing leaks between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.model.compact import Compact
from vsr.training.adversarial import ADVERSARIAL_LOSSES, AdversarialLoss
from vsr.training.discriminators import UNetDiscriminator, VGGDiscriminator
from vsr.training.losses import ColorConsistencyLoss, PixelLoss
from vsr.training.perceptual import PerceptualLoss

SIDE, SCALE, BATCH, STEPS = 32, 2, 4, 30


def draw_pictures() -> tuple[Tensor, Tensor]:
    """Discs of any colour on slanted stripes, the same at every call: B,3,H,W in low and in high resolution."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(float(SIDE)), torch.arange(float(SIDE)), indexing="ij")
    high = []
    for _ in range(BATCH):
        a, b, cx, cy, radius = torch.rand(5, generator=generator).tolist()
        stripes = 0.5 + 0.3 * torch.sin(2 * a * x + 2 * b * y)
        disc = (x - cx * SIDE) ** 2 + (y - cy * SIDE) ** 2 < (4 + 8 * radius) ** 2
        colour = torch.rand(3, 1, 1, generator=generator)
        high.append(torch.where(disc, colour, stripes))
    high_BCHW = torch.stack(high)
    return F.avg_pool2d(high_BCHW, SCALE), high_BCHW


def gradients(module: nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in module.parameters() if parameter.grad is not None]


@dataclass
class Game:
    """What a game left behind: the losses of each turn, and by how much real pictures were told from made ones."""

    of_pixels: list[float] = field(default_factory=list)
    of_generator: list[float] = field(default_factory=list)
    of_discriminator: list[float] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)


def play(discriminator: nn.Module, kind: str, *, autocast: bool) -> Game:
    """`STEPS` turns of both players, each checked for what may and what may not move."""
    torch.manual_seed(0)
    generator = Compact(num_features=8, num_conv=1, scale=SCALE)
    pixel, colour, adversarial = PixelLoss("l1", 0.5), ColorConsistencyLoss(4), AdversarialLoss(kind)
    perceptual = PerceptualLoss({"conv1_1": 1.0}, weights="random")
    for_generator = torch.optim.Adam(generator.parameters(), lr=5e-3)
    for_discriminator = torch.optim.Adam(discriminator.parameters(), lr=2e-4)
    game = Game()
    low_BCHW, high_BCHW = draw_pictures()
    for _ in range(STEPS):
        discriminator.requires_grad_(False)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            made_BCHW = generator(low_BCHW)
            real_logits = discriminator(high_BCHW) if adversarial.needs_real else None
            of_pixels = pixel(made_BCHW, high_BCHW)
            loss = of_pixels + colour(made_BCHW, low_BCHW) + 0.1 * perceptual(made_BCHW, high_BCHW)
            loss = loss + 0.05 * adversarial.for_generator(real_logits, discriminator(made_BCHW))
        for_generator.zero_grad()
        loss.backward()
        assert not gradients(discriminator), "the generator's loss has trained the discriminator"
        assert len(gradients(generator)) == len(list(generator.parameters()))
        for_generator.step()
        for_generator.zero_grad()
        game.of_pixels.append(of_pixels.item())
        game.of_generator.append(loss.item())

        discriminator.requires_grad_(True)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            real_logits, fake_logits = discriminator(high_BCHW), discriminator(made_BCHW.detach())
            loss = adversarial.for_discriminator(real_logits, fake_logits)
        loss.backward()
        assert not gradients(generator), "the discriminator's loss has trained the generator"
        assert len(gradients(discriminator)) == len(list(discriminator.parameters()))
        for_discriminator.step()
        for_discriminator.zero_grad()
        game.of_discriminator.append(loss.item())
        game.margins.append((real_logits.float().mean() - fake_logits.float().mean()).item())
    assert not gradients(perceptual)
    return game


@pytest.mark.parametrize("kind", ADVERSARIAL_LOSSES)
@pytest.mark.parametrize("style", ["vgg", "unet"])
def test_both_players_learn(style: str, kind: str) -> None:
    torch.manual_seed(0)
    discriminator = VGGDiscriminator(SIDE, num_features=4) if style == "vgg" else UNetDiscriminator(num_features=8)
    game = play(discriminator, kind, autocast=style == "unet")
    assert all(math.isfinite(value) for value in game.of_generator + game.of_discriminator)
    assert sum(game.of_pixels[-5:]) < 0.8 * sum(game.of_pixels[:5]), "made pictures come nearer to the originals"
    assert sum(game.of_discriminator[-5:]) < sum(game.of_discriminator[:5]), "real and made ones are told apart"
    assert sum(game.margins[-5:]) > sum(game.margins[:5])
    assert sum(game.margins[-5:]) > 0
