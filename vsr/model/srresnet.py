"""SRResNet: the generator of SRGAN.

Ledig et al., SRGAN (CVPR 2017), figure 4: a 9x9 convolution, residual blocks with batch normalisation and PReLU, a
long skip connection, pixel-shuffle x2 stages, and a 9x9 convolution to the picture.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from vsr.model.network import FullPrecisionConv2d, InputConv2d

__all__ = ["SRResNet"]


class ResidualBlock(nn.Module):
    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_features, num_features, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(num_features)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(num_features, num_features, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(num_features)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        activated = self.prelu(self.norm1(self.conv1(features_BCHW)))
        residual: Tensor = self.norm2(self.conv2(activated))
        return features_BCHW + residual


class UpsampleStage(nn.Module):
    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_features, 4 * num_features, 3, padding=1)
        self.prelu = nn.PReLU()

    def forward(self, features_BCHW: Tensor) -> Tensor:
        activated: Tensor = self.prelu(F.pixel_shuffle(self.conv(features_BCHW), 2))
        return activated


class SRResNet(nn.Module):
    """SRResNet of the paper.

    Args:
        num_features: channels of the trunk.
        num_blocks: number of residual blocks.
        num_upsample: pixel-shuffle x2 stages; the scale is 2**num_upsample.
        channels: colours of the pictures; 3 in this house.
    """

    architecture = "SRResNet"
    multiple = 1

    def __init__(self, num_features: int = 64, num_blocks: int = 16, num_upsample: int = 2, channels: int = 3) -> None:
        super().__init__()
        self.num_features, self.num_blocks, self.num_upsample = num_features, num_blocks, num_upsample
        self.scale = 2**num_upsample
        self.in_channels = self.out_channels = channels
        self.conv_first = InputConv2d(channels, num_features, 9)
        self.prelu_first = nn.PReLU()
        self.blocks = nn.Sequential(*(ResidualBlock(num_features) for _ in range(num_blocks)))
        self.conv_mid = nn.Conv2d(num_features, num_features, 3, padding=1, bias=False)
        self.norm_mid = nn.BatchNorm2d(num_features)
        self.upsample = nn.Sequential(*(UpsampleStage(num_features) for _ in range(num_upsample)))
        self.conv_last = FullPrecisionConv2d(num_features, channels, 9)

    @staticmethod
    def recognises(state: Mapping[str, Tensor]) -> bool:
        """Whether `state` is of this network."""
        return any(re.match(r"blocks\.\d+\.norm1\.", key) for key in state) and "prelu_first.weight" in state

    @classmethod
    def for_state(cls, state: Mapping[str, Tensor]) -> SRResNet:
        """The network whose hyper-parameters the tensor shapes of `state` tell; its weights are not loaded.

        Raises:
            KeyError, ValueError: the tensors fit no network of this kind.
        """
        num_blocks = len({match[1] for key in state if (match := re.match(r"blocks\.(\d+)\.", key))})
        num_upsample = len({match[1] for key in state if (match := re.match(r"upsample\.(\d+)\.", key))})
        num_features, channels = state["conv_first.weight"].shape[:2]
        return cls(num_features, num_blocks, num_upsample, channels)

    @property
    def halo(self) -> int:
        """Receptive-field radius in input pixels."""
        lowest = -4  # conv_last, 9x9, seen from the first output pixel of an input pixel
        for _ in range(self.num_upsample):
            lowest = lowest // 2 - 1
        trunk = 4 + 2 * self.num_blocks + 1  # conv_first 9x9, the blocks, conv_mid
        return trunk - lowest

    @property
    def flops_per_pixel(self) -> float:
        flops = 0.0
        for name, conv in self.named_modules():
            if not isinstance(conv, nn.Conv2d):
                continue
            if name.startswith("upsample."):
                area = 4 ** int(name.split(".")[1])
            else:
                area = 4**self.num_upsample if name == "conv_last" else 1
            flops += 2 * conv.weight.numel() * area
        return flops

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        """B,3,H,W float RGB 0..1 -> B,3,H*scale,W*scale float32, not clamped."""
        first = self.prelu_first(self.conv_first(frames_BCHW))
        features = first + self.norm_mid(self.conv_mid(self.blocks(first)))
        output_BCHW: Tensor = self.conv_last(self.upsample(features))
        return output_BCHW
