"""The networks that tell real pictures from made ones: logits come out, no sigmoid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.errors import SettingsError

__all__ = ["SpectralNormConv2d", "UNetDiscriminator", "VGGDiscriminator"]

_SLOPE = 0.2  # of LeakyReLU, in every discriminator of the three papers
_MAX_FACTOR = 8  # channels grow up to this many times the first ones
_MAX_SIDE = 5  # a "esrgan" discriminator halves the picture until its side is no longer than this
STYLES = ("esrgan", "srgan")


class VGGDiscriminator(nn.Module):
    """One judgement per picture, by a chain of convolutions that halve it again and again, as in VGG.

    Each stage is a 3x3 convolution and one with stride 2; all but the first have batch normalisation and all are
    followed by LeakyReLU 0.2; two linear layers make the logit. Channels double from stage to stage, up to 8 times.

    "esrgan" (Wang et al., ECCV-W 2018, its program): strided convolutions 4x4; five stages, and more until the side is
    at most 5 (six for 192 and 256); 100 hidden values. At 128 and 64 features 14.5 million parameters.
    "srgan" (Ledig et al., CVPR 2017, figure 4): strided convolutions 3x3, four stages, 1024 hidden values.

    Args:
        patch_size: side of the square pictures that it will see, a multiple of 32: the linear layers hold it to that.
        num_features: channels of the first convolution.
        style: "esrgan" or "srgan".

    Raises:
        SettingsError: the patch size is no multiple of 32, or the style is unknown.
    """

    def __init__(self, patch_size: int = 128, num_features: int = 64, style: str = "esrgan") -> None:
        super().__init__()
        if patch_size < 32 or patch_size % 32:
            raise SettingsError(
                f"a VGG-style discriminator cannot judge patches of {patch_size} pixels",
                hint="a multiple of 32 (128 in ESRGAN, 96 in SRGAN); or the U-Net discriminator, which takes any size",
            )
        if style not in STYLES:
            raise SettingsError(f"discriminator style {style!r} is not one of {', '.join(STYLES)}")
        self.patch_size = patch_size
        num_stages, kernel_size, num_hidden = (5, 4, 100) if style == "esrgan" else (4, 3, 1024)
        layers: list[nn.Module] = []
        channels, side, stage = 3, patch_size, 0
        while stage < num_stages or (style == "esrgan" and side > _MAX_SIDE):
            wider = num_features * min(2**stage, _MAX_FACTOR)
            layers += [nn.Conv2d(channels, wider, 3, padding=1, bias=stage == 0)]
            layers += [nn.BatchNorm2d(wider)] if stage else []
            layers += [nn.LeakyReLU(_SLOPE, inplace=True)]
            layers += [nn.Conv2d(wider, wider, kernel_size, stride=2, padding=1, bias=False), nn.BatchNorm2d(wider)]
            layers += [nn.LeakyReLU(_SLOPE, inplace=True)]
            channels, side, stage = wider, side // 2, stage + 1
        self.features = nn.Sequential(*layers)
        self.judge = nn.Sequential(
            nn.Linear(channels * side**2, num_hidden), nn.LeakyReLU(_SLOPE, inplace=True), nn.Linear(num_hidden, 1)
        )

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        """B,3,patch_size,patch_size float RGB 0..1 -> B,1 logits, positive for real; in the dtype of the parameters,
        or of autocast.

        Raises:
            ValueError: pictures of another size.
        """
        if frames_BCHW.shape[1:] != (3, self.patch_size, self.patch_size):
            raise ValueError(
                f"this discriminator judges pictures of 3x{self.patch_size}x{self.patch_size},"
                f" not {'x'.join(map(str, frames_BCHW.shape[1:]))}"
            )
        features_BCHW = self.features(frames_BCHW)
        logits_B1: Tensor = self.judge(features_BCHW.flatten(1))
        return logits_B1


class UNetDiscriminator(nn.Module):
    """One judgement per pixel, by a U-Net with spectral normalisation (Wang et al., Real-ESRGAN, ICCVW 2021).

    Three strided 4x4 convolutions down, three 3x3 up after bilinear enlargement, each joined by addition with what
    stood at that size before, and three more 3x3; LeakyReLU 0.2. All but the first and the last are spectrally
    normalised and without bias. 4.38 million parameters at 64 features.

    Args:
        num_features: channels of the first convolution.
    """

    LEAST_SIDE = 8

    def __init__(self, num_features: int = 64) -> None:
        super().__init__()
        n = num_features
        self.conv_first = nn.Conv2d(3, n, 3, padding=1)
        self.down = nn.ModuleList(
            SpectralNormConv2d(n << i, n << (i + 1), 4, stride=2, padding=1, bias=False) for i in range(3)
        )
        self.up = nn.ModuleList(
            SpectralNormConv2d(n << (i + 1), n << i, 3, padding=1, bias=False) for i in reversed(range(3))
        )
        self.conv_body = nn.ModuleList(SpectralNormConv2d(n, n, 3, padding=1, bias=False) for _ in range(2))
        self.conv_last = nn.Conv2d(n, 1, 3, padding=1)

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        """B,3,H,W float RGB 0..1, 8 pixels or more each way -> B,1,H,W logits, positive for real; in the dtype of the
        parameters, or of autocast.

        Raises:
            ValueError: pictures smaller than 8 pixels.
        """
        if min(frames_BCHW.shape[-2:]) < self.LEAST_SIDE:
            raise ValueError(f"this discriminator needs pictures of 8x8 or more, not {tuple(frames_BCHW.shape)}")
        features_BCHW = F.leaky_relu(self.conv_first(frames_BCHW), _SLOPE)
        before = []
        for conv in self.down:
            before.append(features_BCHW)
            features_BCHW = F.leaky_relu(conv(features_BCHW), _SLOPE)
        for conv, skip_BCHW in zip(self.up, reversed(before), strict=True):
            # To the size of the other branch, which is not the doubled one where a side was odd.
            features_BCHW = F.interpolate(features_BCHW, size=skip_BCHW.shape[-2:], mode="bilinear")
            features_BCHW = F.leaky_relu(conv(features_BCHW), _SLOPE) + skip_BCHW
        for conv in self.conv_body:
            features_BCHW = F.leaky_relu(conv(features_BCHW), _SLOPE)
        logits_B1HW: Tensor = self.conv_last(features_BCHW)
        return logits_B1HW


class SpectralNormConv2d(nn.Conv2d):
    """A convolution whose weight, as a matrix of out_channels rows, is divided by its largest singular value.

    Miyato et al., Spectral Normalization for GANs (ICLR 2018): the value is followed by one power iteration per
    training step, in float32. torch's own parametrisation does its products in half precision under autocast, where
    its last one then meets vectors of two dtypes.

    The parameter `weight` is the one before the division; `weight_u` and `weight_v` are the singular vectors, which
    travel in the state dictionary.
    """

    weight_u: Tensor
    weight_v: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=bias)
        rows, columns = self.weight.flatten(1).shape
        self.register_buffer("weight_u", F.normalize(torch.randn(rows), dim=0))
        self.register_buffer("weight_v", F.normalize(torch.randn(columns), dim=0))
        self._follow(num_iterations=15)  # so that the first steps already know the value to some percent

    @torch.no_grad()
    def _follow(self, num_iterations: int) -> None:
        matrix = self.weight.flatten(1)
        for _ in range(num_iterations):
            self.weight_u.copy_(F.normalize(matrix @ self.weight_v, dim=0))
            self.weight_v.copy_(F.normalize(matrix.T @ self.weight_u, dim=0))

    def normalised_weight(self) -> Tensor:
        """The weight that the convolution uses; in training mode each call is a step of the power iteration."""
        with torch.autocast(self.weight.device.type, enabled=False):
            if self.training:
                self._follow(num_iterations=1)
            # Copies: the next call changes the vectors, while the graph of this one still needs them.
            u, v = self.weight_u.clone(), self.weight_v.clone()
            return self.weight / torch.dot(u, self.weight.flatten(1) @ v)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        output_BCHW: Tensor = self._conv_forward(features_BCHW, self.normalised_weight(), self.bias)
        return output_BCHW
