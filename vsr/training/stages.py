"""What one optimizer step is: the PSNR stage, and the GAN stage that builds on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vsr.errors import SettingsError
from vsr.progress import Progress, show_download
from vsr.training.adversarial import AdversarialLoss
from vsr.training.discriminators import UNetDiscriminator, VGGDiscriminator
from vsr.training.distributed import Ranks
from vsr.training.losses import ColorConsistencyLoss, PixelLoss
from vsr.training.perceptual import PerceptualLoss, least_side
from vsr.training.recipe import DiscriminatorSettings, LossSettings, Recipe
from vsr.training.update import Update

__all__ = ["GanStage", "PixelStage", "build_stage"]

_HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class PixelStage:
    """Steps of a generator alone: pixel loss, and whatever else needs no judge that learns.

    Args:
        recipe: losses, optimizer, precision.
        generator: in training form, on the device.
        ranks: the processes that share each batch.
        progress: hears about the download of VGG19, where there is one.

    Attributes:
        names: of the losses, in the order in which `step` returns them; the last is "skipped".
        notes: what the user must be told.
    """

    def __init__(self, recipe: Recipe, generator: nn.Module, ranks: Ranks, progress: Progress | None = None) -> None:
        self._recipe, self._ranks = recipe, ranks
        self._wrapped = ranks.wrap(generator)
        self._forward = torch.compile(self._wrapped) if recipe.run.compile else self._wrapped
        self._update = Update(
            generator, recipe.optimizer, steps=recipe.run.steps, ranks=ranks, precision=recipe.run.precision
        )
        loss = recipe.loss
        self._pixel = PixelLoss(loss.pixel, loss.luma_weight)
        self._color = ColorConsistencyLoss() if loss.color_weight else None
        self._perceptual = _build_perceptual(loss, ranks, progress) if loss.perceptual_weight else None
        self.notes = self._perceptual.notes if self._perceptual else ()

    @property
    def names(self) -> tuple[str, ...]:
        loss = self._recipe.loss
        terms = {"pixel": loss.pixel_weight, "perceptual": loss.perceptual_weight, "color": loss.color_weight}
        return (*(name for name, weight in terms.items() if weight), "skipped")

    def rate(self, step: int) -> float:
        """The generator's learning rate at `step`."""
        return self._update.rate(step)

    def step(self, step: int, low_BCHW: Tensor, high_BCHW: Tensor) -> Tensor:
        """One optimizer step on this process's share of a batch.

        Args:
            step: the first is 0.
            low_BCHW, high_BCHW: float32 RGB 0..1 on the device.

        Returns:
            One float32 value for each of `names`, unweighted means over the share, on the device. "skipped" is 1 where
            losses or gradients were not finite and the weights stayed as they were.
        """
        pieces = self._recipe.run.accumulate
        rows = []
        for number, (low, high) in enumerate(zip(low_BCHW.chunk(pieces), high_BCHW.chunk(pieces), strict=True)):
            with self._gather(self._wrapped, number + 1 == pieces):
                with self._autocast():
                    output = self._forward(low)
                    loss, row = self._judge(output, low, high)
                self._update.backward(loss / pieces)
            rows.append(torch.stack([*row, loss.detach()]))
        means = torch.stack(rows).mean(0)
        skipped = self._update.apply(step, means[-1])
        return torch.cat((means[:-1], skipped.view(1)))

    def _judge(self, output: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The weighted sum of the losses, and each without its weight and without a graph."""
        loss = self._recipe.loss
        terms = []
        if loss.pixel_weight:
            terms.append((loss.pixel_weight, self._pixel(output, high)))
        if self._perceptual is not None:
            terms.append((loss.perceptual_weight, self._perceptual(output, high)))
        if self._color is not None:
            terms.append((loss.color_weight, self._color(output, low)))
        total = torch.stack([weight * term for weight, term in terms]).sum() if terms else output.new_zeros(())
        return total, [term.detach() for _, term in terms]

    def _autocast(self) -> torch.autocast:
        dtype = _HALVES.get(self._recipe.run.precision)
        return torch.autocast(self._ranks.device.type, dtype, enabled=dtype is not None)

    def _gather(self, wrapped: nn.Module, is_last: bool) -> Any:
        """Gradients are exchanged between processes once per step: with the last piece."""
        return nullcontext() if is_last or self._ranks.world == 1 else wrapped.no_sync()  # type: ignore[operator]

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self._update.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._update.load_state_dict(state["generator"])


class GanStage(PixelStage):
    """Steps of a generator and of a discriminator that learns to tell its pictures from real ones.

    Both learn from the same pictures, each against the other as it was before the step (as ESRGAN's and Real-ESRGAN's
    programs do), so that a picture is made once per step.
    """

    def __init__(self, recipe: Recipe, generator: nn.Module, ranks: Ranks, progress: Progress | None = None) -> None:
        super().__init__(recipe, generator, ranks, progress)
        judge = _build_discriminator(recipe.discriminator, recipe.data.patch * recipe.network.scale)
        self.discriminator = ranks.place(judge)
        self._verdicts = ranks.wrap(_Verdicts(self.discriminator))
        self._adversarial = AdversarialLoss(recipe.loss.adversarial)
        ours = recipe.optimizer
        theirs = dataclasses.replace(
            ours,
            kind="adam" if ours.kind == "muon" else ours.kind,
            learning_rate=recipe.discriminator.learning_rate or ours.learning_rate,
        )
        self._learning = Update(
            self.discriminator, theirs, steps=recipe.run.steps, ranks=ranks, precision=recipe.run.precision
        )

    @property
    def names(self) -> tuple[str, ...]:
        return (*super().names[:-1], "adversarial", "real", "fake", "discriminator", "skipped")

    def step(self, step: int, low_BCHW: Tensor, high_BCHW: Tensor) -> Tensor:
        """As `PixelStage.step`; "real" and "fake" are the discriminator's mean logits."""
        pieces = self._recipe.run.accumulate
        rows = []
        for number, (low, high) in enumerate(zip(low_BCHW.chunk(pieces), high_BCHW.chunk(pieces), strict=True)):
            is_last = number + 1 == pieces
            with self._gather(self._wrapped, is_last):
                with self._autocast():
                    output = self._forward(low)
                    loss, row = self._judge(output, low, high)
                    deceit = self._deceive(output, high)
                    loss = loss + self._recipe.loss.adversarial_weight * deceit
                self._update.backward(loss / pieces)
            with self._gather(self._verdicts, is_last):
                with self._autocast():
                    real, fake = self._verdicts(high, output.detach())
                    discernment = self._adversarial.for_discriminator(real, fake)
                self._learning.backward(discernment / pieces)
            logits = [real.detach().float().mean(), fake.detach().float().mean()]
            rows.append(torch.stack([*row, deceit.detach(), *logits, discernment.detach(), loss.detach()]))
        means = torch.stack(rows).mean(0)
        skipped = self._update.apply(step, means[-1])
        skipped = torch.maximum(skipped, self._learning.apply(step, means[-2]))
        return torch.cat((means[:-1], skipped.view(1)))

    def _deceive(self, output: Tensor, high: Tensor) -> Tensor:
        """The generator's adversarial loss; the discriminator takes no gradient from it."""
        self.discriminator.requires_grad_(False)
        real = None
        if self._adversarial.needs_real:
            with torch.no_grad():
                real = self.discriminator(high)
        deceit: Tensor = self._adversarial.for_generator(real, self.discriminator(output))
        self.discriminator.requires_grad_(True)
        return deceit

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "discriminator": self._learning.state_dict(),
            "discriminator_weights": self.discriminator.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.discriminator.load_state_dict(state["discriminator_weights"])
        self._learning.load_state_dict(state["discriminator"])


class _Verdicts(nn.Module):
    """A discriminator asked twice in one call, as DistributedDataParallel wants it."""

    def __init__(self, discriminator: nn.Module) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, real_BCHW: Tensor, fake_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        return self.discriminator(real_BCHW), self.discriminator(fake_BCHW)


def build_stage(recipe: Recipe, generator: nn.Module, ranks: Ranks, progress: Progress | None = None) -> PixelStage:
    """The stage that `recipe` describes: with a discriminator or without. For the arguments see `PixelStage`.

    Raises:
        SettingsError: losses or discriminator that there are not, or that do not fit the patches; a batch that cannot
            be shared out evenly.
        TrainingError: VGG19's weights cannot be had.
    """
    batch, pieces = recipe.data.batch, recipe.run.accumulate
    if batch % (ranks.world * pieces):  # pieces of different sizes would weigh differently
        raise SettingsError(
            f"data.batch {batch} does not divide into run.accumulate {pieces} equal pieces in each of"
            f" {ranks.world} processes",
            hint=f"a multiple of {ranks.world * pieces}",
        )
    kind = PixelStage if recipe.discriminator.kind == "none" else GanStage
    side = recipe.data.patch * recipe.network.scale
    least = max(
        least_side(recipe.loss.perceptual_layers) if recipe.loss.perceptual_weight else 1,
        UNetDiscriminator.LEAST_SIDE if recipe.discriminator.kind == "unet" else 1,
    )
    if side < least:
        raise SettingsError(
            f"targets of {side} pixels are too small for the losses: they need {least}",
            hint=f"data.patch {-(-least // recipe.network.scale)} or more",
        )
    return kind(recipe, generator, ranks, progress)


def _build_perceptual(loss: LossSettings, ranks: Ranks, progress: Progress | None) -> PerceptualLoss:
    weights: Path | Literal["random"] | None = Path(loss.perceptual_weights) if loss.perceptual_weights else None
    if loss.perceptual_weights == "random":
        weights = "random"
    show = show_download(progress, "VGG19") if progress else None
    return ranks.place(PerceptualLoss(loss.perceptual_layers, loss.perceptual_criterion, weights, progress=show))


def _build_discriminator(settings: DiscriminatorSettings, patch_size: int) -> nn.Module:
    if settings.kind == "unet":
        return UNetDiscriminator(settings.num_features)
    return VGGDiscriminator(patch_size, settings.num_features, settings.style)
