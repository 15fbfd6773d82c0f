"""RRDBNet: the generator of ESRGAN, Real-ESRGAN and BSRGAN.

Wang et al., ESRGAN (ECCV Workshops 2018), section 3.1: residual-in-residual dense blocks without normalisation,
LeakyReLU 0.2, residuals scaled by 0.2, nearest-neighbour upscaling followed by convolutions.
Wang et al., Real-ESRGAN (ICCVW 2021), section 3.3: a pixel-unshuffle in front makes the x4 network an x2 or x1 one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.model.network import FullPrecisionConv2d, InputConv2d, pad_to_multiple

__all__ = ["RESIDUAL_SCALE", "RRDB", "SLOPE", "DenseBlock", "RRDBNet"]

SLOPE = 0.2
RESIDUAL_SCALE = 0.2


def _activate(features_BCHW: Tensor) -> Tensor:
    return F.leaky_relu_(features_BCHW, SLOPE)  # in place: its input is always a fresh convolution output


class DenseBlock(nn.Module):
    """Five convolutions, each seeing the input and all earlier outputs; a scaled residual."""

    def __init__(self, num_features: int, growth: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_features, growth, 3, padding=1)
        self.conv2 = nn.Conv2d(num_features + growth, growth, 3, padding=1)
        self.conv3 = nn.Conv2d(num_features + 2 * growth, growth, 3, padding=1)
        self.conv4 = nn.Conv2d(num_features + 3 * growth, growth, 3, padding=1)
        self.conv5 = nn.Conv2d(num_features + 4 * growth, num_features, 3, padding=1)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        seen = [features_BCHW]
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen.append(_activate(conv(torch.cat(seen, 1))))
        return torch.add(features_BCHW, self.conv5(torch.cat(seen, 1)), alpha=RESIDUAL_SCALE)


class RRDB(nn.Module):
    """Residual in residual: three dense blocks and a scaled residual around them."""

    num_conv = 3 * 5

    def __init__(self, num_features: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(num_features, growth)
        self.rdb2 = DenseBlock(num_features, growth)
        self.rdb3 = DenseBlock(num_features, growth)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        residual = self.rdb3(self.rdb2(self.rdb1(features_BCHW)))
        return torch.add(features_BCHW, residual, alpha=RESIDUAL_SCALE)


class RRDBNet(nn.Module):
    """RRDBNet with the keys of Real-ESRGAN (``conv_first``, ``body.0.rdb1.conv1``, ``conv_body``, ``conv_up1``, ...).

    Args:
        num_features: channels of the trunk.
        num_blocks: number of RRDBs.
        growth: channels that each dense convolution adds.
        num_upsample: stages of nearest x2 and convolution after the trunk.
        unshuffle: factor of the pixel-unshuffle in front (1: none).
        out_channels: colours of the pictures; 3 in this house.
    """

    architecture = "RRDBNet"

    def __init__(
        self,
        num_features: int = 64,
        num_blocks: int = 23,
        growth: int = 32,
        num_upsample: int = 2,
        unshuffle: int = 1,
        out_channels: int = 3,
    ) -> None:
        super().__init__()
        if 2**num_upsample % unshuffle:
            raise ValueError(f"a pixel-unshuffle by {unshuffle} before {num_upsample} x2 stages shrinks the picture")
        self.num_features, self.num_blocks, self.growth = num_features, num_blocks, growth
        self.num_upsample, self.multiple = num_upsample, unshuffle
        self.scale = 2**num_upsample // unshuffle
        self.in_channels = self.out_channels = out_channels
        self.conv_first = InputConv2d(out_channels * unshuffle**2, num_features)
        self.body = nn.Sequential(*(RRDB(num_features, growth) for _ in range(num_blocks)))
        self.conv_body = nn.Conv2d(num_features, num_features, 3, padding=1)
        for stage in range(1, num_upsample + 1):
            self.add_module(f"conv_up{stage}", nn.Conv2d(num_features, num_features, 3, padding=1))
        self.conv_hr = nn.Conv2d(num_features, num_features, 3, padding=1)
        self.conv_last = FullPrecisionConv2d(num_features, out_channels, 3)

    @staticmethod
    def recognises(state: Mapping[str, Tensor]) -> bool:
        """Whether `state`, in the canonical dialect, is of this network (ESRGAN+ with its 1x1 convolutions is not)."""
        is_rrdb = any(re.match(r"body\.\d+\.rdb\d+\.", key) for key in state)
        return is_rrdb and not any("conv1x1" in key for key in state)

    @classmethod
    def for_state(cls, state: Mapping[str, Tensor]) -> RRDBNet:
        """The network whose hyper-parameters the tensor shapes of `state` tell; its weights are not loaded.

        Raises:
            KeyError, ValueError: the tensors fit no network of this kind.
        """
        blocks = {match[1] for key in state if (match := re.match(r"body\.(\d+)\.", key))}
        num_upsample = len({match[1] for key in state if (match := re.match(r"conv_up(\d+)\.", key))})
        num_features, in_channels = state["conv_first.weight"].shape[:2]
        out_channels = state["conv_last.weight"].shape[0]
        growth = state["body.0.rdb1.conv1.weight"].shape[0]
        unshuffle = math.isqrt(in_channels // max(1, out_channels))
        if unshuffle < 1 or unshuffle**2 * out_channels != in_channels:
            raise ValueError(f"{in_channels} input and {out_channels} output channels do not fit together")
        return cls(num_features, len(blocks), growth, num_upsample, unshuffle, out_channels)

    @property
    def halo(self) -> int:
        """Receptive-field radius in input pixels."""
        lowest = -2  # conv_hr and conv_last, seen from the first output pixel of an input pixel
        for _ in range(self.num_upsample):
            lowest = (lowest - 1) // 2  # one convolution, then the pixel below in the pyramid
        trunk = RRDB.num_conv * self.num_blocks + 2  # conv_first and conv_body
        return self.multiple * (trunk - lowest)

    @property
    def flops_per_pixel(self) -> float:
        flops = 0.0
        for name, conv in self.named_modules():
            if not isinstance(conv, nn.Conv2d):
                continue
            if name.startswith("conv_up"):
                area = 4 ** int(name.removeprefix("conv_up"))
            else:
                area = 4**self.num_upsample if name in ("conv_hr", "conv_last") else 1
            flops += 2 * conv.weight.numel() * area / self.multiple**2
        return flops

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        """B,3,H,W float RGB 0..1 -> B,3,H*scale,W*scale float32, not clamped; any H and W from 1 up."""
        height, width = frames_BCHW.shape[-2:]
        frames_BCHW = pad_to_multiple(frames_BCHW, self.multiple)
        features = self.conv_first(F.pixel_unshuffle(frames_BCHW, self.multiple))
        features = features + self.conv_body(self.body(features))
        for stage in range(1, self.num_upsample + 1):
            features = F.interpolate(features, scale_factor=2, mode="nearest")
            features = _activate(self.get_submodule(f"conv_up{stage}")(features))
        output_BCHW: Tensor = self.conv_last(_activate(self.conv_hr(features)))
        return output_BCHW[:, :, : height * self.scale, : width * self.scale]
