"""The networks that can be trained, in the form that trains fastest, and in the form that ships."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from vsr.errors import SettingsError
from vsr.model.compact import Compact
from vsr.model.rrdb import RRDBNet
from vsr.model.srresnet import SRResNet

__all__ = ["ARCHITECTURES", "NetworkSettings", "build_generator", "fold"]

ARCHITECTURES = ("compact", "rrdb", "srresnet")
INITIALISATIONS = ("usual", "identity")

# How far a convolution that begins as the identity may stray from it, relative to He's initialisation.
_STRAY = 0.3
# ESRGAN (Wang et al., ECCV-W 2018, section 3.1): small weights at the start let deep residual networks train without
# batch norm. The last convolution of a compact network begins small for the same reason: its output is a residual.
_SMALL = 0.1


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """What is trained.

    Attributes:
        architecture: "compact" (SRVGGNetCompact), "rrdb" (ESRGAN) or "srresnet" (SRGAN).
        scale: upscaling factor; a compact network takes any, the others 2 and 4, SRResNet and RRDB 1 and 8 too.
        num_features: channels of the hidden layers.
        num_conv: of compact networks: convolutions between the first and the last.
        num_blocks, growth: of RRDB (23 and 32 in the paper); num_blocks also of SRResNet (16).
        slope: of compact networks: what negative values are multiplied by, the same everywhere (LeakyReLU); it ships as
            a PReLU. 0 lets the network learn a slope for each channel (PReLU), which takes half as long again on a CPU.
        initialisation: "usual" (the papers'), or "identity" for compact networks: each hidden convolution begins as the
            identity and a little of He's, which is RepVGG's skip (Ding et al., CVPR 2021) written into the weights: a
            plain network of 16 layers then trains like a residual one.
    """

    architecture: str = "compact"
    scale: int = 4
    num_features: int = 64
    num_conv: int = 16
    num_blocks: int = 23
    growth: int = 32
    slope: float = 0.0
    initialisation: str = "usual"

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise SettingsError(f"network.architecture {self.architecture!r} is not one of {', '.join(ARCHITECTURES)}")
        if self.initialisation not in INITIALISATIONS:
            raise SettingsError(
                f"network.initialisation {self.initialisation!r} is not one of {', '.join(INITIALISATIONS)}"
            )
        for name in ("scale", "num_features", "num_conv", "num_blocks", "growth"):
            if getattr(self, name) < 1:
                raise SettingsError(f"network.{name} {getattr(self, name)!r} is less than 1")
        if self.architecture != "compact" and self.scale not in (1, 2, 4, 8):
            raise SettingsError(f"network.scale {self.scale} is not 1, 2, 4 or 8", hint="a compact network takes any")
        if not 0 <= self.slope < 1:
            raise SettingsError(f"network.slope {self.slope!r} is out of range", hint="0 (learned) up to below 1")


def build_generator(settings: NetworkSettings) -> nn.Module:
    """A generator in train mode, float32, on the CPU, with random weights from torch's own generator."""
    num_upsample = int(math.log2(settings.scale))
    if settings.architecture == "rrdb":
        generator: nn.Module = RRDBNet(settings.num_features, settings.num_blocks, settings.growth, num_upsample)
        _scale_weights(generator)
        return generator
    if settings.architecture == "srresnet":
        return SRResNet(settings.num_features, settings.num_blocks, num_upsample)
    compact = Compact(settings.num_features, settings.num_conv, settings.scale)
    if settings.slope:
        for index, layer in enumerate(compact.body):
            if isinstance(layer, nn.PReLU):
                compact.body[index] = nn.LeakyReLU(settings.slope, inplace=True)
    if settings.initialisation == "identity":
        _begin_as_identity(compact, settings.slope or nn.PReLU().weight.item())
    return compact


def fold(generator: nn.Module) -> nn.Module:
    """The form in which `generator` ships, in eval mode, of the same function: weights are copied where form differs.

    A compact network with one fixed slope becomes the SRVGGNetCompact that other programs know, with PReLU layers.
    """
    if not isinstance(generator, Compact) or not any(isinstance(layer, nn.LeakyReLU) for layer in generator.body):
        return generator.eval()
    shipping = Compact(generator.num_features, generator.num_conv, generator.scale)
    for ours, theirs in zip(generator.body, shipping.body, strict=True):
        if isinstance(ours, nn.LeakyReLU) and isinstance(theirs, nn.PReLU):
            nn.init.constant_(theirs.weight, ours.negative_slope)
        else:
            theirs.load_state_dict(ours.state_dict())
    return shipping.eval()


@torch.no_grad()
def _begin_as_identity(compact: Compact, slope: float) -> None:
    convolutions = [layer for layer in compact.body if isinstance(layer, nn.Conv2d)]
    for convolution in convolutions:
        nn.init.kaiming_normal_(convolution.weight, a=slope)
        assert convolution.bias is not None
        nn.init.zeros_(convolution.bias)
    for convolution in convolutions[1:-1]:
        nn.init.dirac_(kept := torch.empty_like(convolution.weight))
        convolution.weight.mul_(_STRAY).add_(kept)
    convolutions[-1].weight.mul_(_SMALL)


@torch.no_grad()
def _scale_weights(generator: nn.Module) -> None:
    for layer in generator.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            layer.weight.mul_(_SMALL)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
