"""SRVGGNetCompact: the plain convolutional network of Real-ESRGAN's video models.

Wang et al., Real-ESRGAN (ICCVW 2021) and its repository: a 3x3 convolution, `num_conv` more, each with a PReLU, all
at low resolution; a last one makes scale**2 values per colour, which are shuffled onto the nearest-upscaled input.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.model.network import InputConv2d, depth_to_space

__all__ = ["Compact", "SlopedReLU"]


class SlopedReLU(nn.PReLU):
    """A PReLU that runs as the LeakyReLU it is where `simplify` has found a single slope: the same values, sooner.

    torch's PReLU in bfloat16 on a CPU takes twenty times as long as LeakyReLU unless the channels are a multiple of 32.
    """

    common_slope: float | None = None

    def simplify(self) -> None:
        """To be called when the weights are final."""
        is_common = bool((self.weight == self.weight[0]).all())
        self.common_slope = self.weight[0].item() if is_common else None

    def forward(self, features_BCHW: Tensor) -> Tensor:
        if self.common_slope is None or torch.is_grad_enabled():
            return super().forward(features_BCHW)
        return F.leaky_relu_(features_BCHW, self.common_slope)


class Compact(nn.Module):
    """SRVGGNetCompact with its usual keys (``body.N.weight``, ``body.N.bias``).

    Args:
        num_features: channels of the hidden layers.
        num_conv: convolutions between the first and the last one.
        scale: upscaling factor.
        in_channels, out_channels: colours of the pictures; both 3 in this house.
    """

    architecture = "SRVGGNetCompact"
    multiple = 1

    def __init__(
        self,
        num_features: int = 64,
        num_conv: int = 16,
        scale: int = 4,
        in_channels: int = 3,
        out_channels: int = 3,
    ) -> None:
        super().__init__()
        self.num_features, self.num_conv, self.scale = num_features, num_conv, scale
        self.in_channels, self.out_channels = in_channels, out_channels
        layers: list[nn.Module] = []
        channels = in_channels
        for _ in range(num_conv + 1):
            conv = nn.Conv2d(channels, num_features, 3, padding=1) if layers else InputConv2d(channels, num_features)
            layers += [conv, SlopedReLU(num_features)]
            channels = num_features
        layers.append(nn.Conv2d(channels, out_channels * scale**2, 3, padding=1))
        self.body = nn.Sequential(*layers)

    @staticmethod
    def recognises(state: Mapping[str, Tensor]) -> bool:
        """Whether every key of `state` could be one of this network."""
        return bool(state) and all(re.fullmatch(r"body\.\d{1,6}\.(weight|bias)", key) for key in state)

    @classmethod
    def for_state(cls, state: Mapping[str, Tensor]) -> Compact:
        """The network whose hyper-parameters the tensor shapes of `state` tell; its weights are not loaded.

        Raises:
            KeyError, ValueError, IndexError: the tensors fit no network of this kind.
        """
        last = max(int(key.split(".")[1]) for key in state)
        num_features, in_channels = state["body.0.weight"].shape[:2]
        num_values = state[f"body.{last}.weight"].shape[0]
        scale = math.isqrt(num_values // in_channels)
        if last % 2 or last < 2 or last >= len(state) or scale < 1 or in_channels * scale**2 != num_values:
            raise ValueError(f"{last + 1} layers from {in_channels} to {num_values} channels are no compact network")
        return cls(num_features, last // 2 - 1, scale, in_channels, in_channels)

    @property
    def halo(self) -> int:
        """Receptive-field radius in input pixels: one per 3x3 convolution."""
        return self.num_conv + 2

    @property
    def flops_per_pixel(self) -> float:
        return float(sum(2 * layer.weight.numel() for layer in self.body if isinstance(layer, nn.Conv2d)))

    def simplify(self) -> None:
        """Look at the slopes once, so that layers whose channels all have the same one run as LeakyReLU."""
        for layer in self.body:
            if isinstance(layer, SlopedReLU):
                layer.simplify()

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        """B,3,H,W float RGB 0..1 -> B,3,H*scale,W*scale float32, not clamped.

        Only the residual is made in the precision of the parameters; the picture that it is added to keeps its bits.
        """
        residual_BCHW: Tensor = self.body(frames_BCHW)
        return depth_to_space(residual_BCHW, self.scale, frames_BCHW)
