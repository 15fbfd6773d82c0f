"""The networks as the usual scripts define them: float32, planar, nothing of vsr.

They are the other side of the comparison, and must not change when vsr's own become faster.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ARCHITECTURES", "PlainCompact", "PlainRRDB", "load_plain"]

ARCHITECTURES = ("SRVGGNetCompact", "RRDBNet")


class PlainCompact(nn.Module):
    """SRVGGNetCompact with the shapes of `state` (keys ``body.N.weight``)."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        last = max(int(key.split(".")[1]) for key in state)
        layers: list[nn.Module] = []
        for index in range(0, last + 1, 2):
            num_out, num_in = state[f"body.{index}.weight"].shape[:2]
            layers += [nn.Conv2d(num_in, num_out, 3, 1, 1), nn.PReLU(num_out)]
        self.body = nn.Sequential(*layers[:-1])
        self.scale = math.isqrt(state[f"body.{last}.weight"].shape[0] // 3)

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        residual_BCHW = F.pixel_shuffle(self.body(frames_BCHW), self.scale)
        return residual_BCHW + F.interpolate(frames_BCHW, scale_factor=self.scale, mode="nearest")


class PlainDenseBlock(nn.Module):
    def __init__(self, num_features: int, growth: int) -> None:
        super().__init__()
        for index in range(5):
            num_out = num_features if index == 4 else growth
            self.add_module(f"conv{index + 1}", nn.Conv2d(num_features + index * growth, num_out, 3, 1, 1))

    def forward(self, features_BCHW: Tensor) -> Tensor:
        seen = features_BCHW
        for index in range(4):
            new = F.leaky_relu(self.get_submodule(f"conv{index + 1}")(seen), 0.2)
            seen = torch.cat((seen, new), 1)
        output_BCHW: Tensor = self.get_submodule("conv5")(seen)
        return output_BCHW * 0.2 + features_BCHW


class PlainBlock(nn.Module):
    def __init__(self, num_features: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = PlainDenseBlock(num_features, growth)
        self.rdb2 = PlainDenseBlock(num_features, growth)
        self.rdb3 = PlainDenseBlock(num_features, growth)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        output_BCHW: Tensor = self.rdb3(self.rdb2(self.rdb1(features_BCHW)))
        return output_BCHW * 0.2 + features_BCHW


class PlainRRDB(nn.Module):
    """RRDBNet with the shapes of `state` (keys ``conv_first``, ``body.0.rdb1.conv1``, ``conv_up1``, ...)."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        num_features, num_in = state["conv_first.weight"].shape[:2]
        growth = state["body.0.rdb1.conv1.weight"].shape[0]
        num_blocks = len({key.split(".")[1] for key in state if key.startswith("body.")})
        self.num_stages = len({key.split(".")[0] for key in state if key.startswith("conv_up")})
        self.unshuffle = math.isqrt(num_in // 3)
        self.conv_first = nn.Conv2d(num_in, num_features, 3, 1, 1)
        self.body = nn.Sequential(*(PlainBlock(num_features, growth) for _ in range(num_blocks)))
        self.conv_body = nn.Conv2d(num_features, num_features, 3, 1, 1)
        for stage in range(self.num_stages):
            self.add_module(f"conv_up{stage + 1}", nn.Conv2d(num_features, num_features, 3, 1, 1))
        self.conv_hr = nn.Conv2d(num_features, num_features, 3, 1, 1)
        self.conv_last = nn.Conv2d(num_features, 3, 3, 1, 1)

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        height, width = frames_BCHW.shape[-2:]
        padding = (0, -width % self.unshuffle, 0, -height % self.unshuffle)
        features = self.conv_first(F.pixel_unshuffle(F.pad(frames_BCHW, padding, mode="reflect"), self.unshuffle))
        features = features + self.conv_body(self.body(features))
        for stage in range(self.num_stages):
            features = F.interpolate(features, scale_factor=2, mode="nearest")
            features = F.leaky_relu(self.get_submodule(f"conv_up{stage + 1}")(features), 0.2)
        output_BCHW: Tensor = self.conv_last(F.leaky_relu(self.conv_hr(features), 0.2))
        scale = 2**self.num_stages // self.unshuffle
        return output_BCHW[:, :, : height * scale, : width * scale]


def load_plain(path: Path, device: torch.device | str) -> nn.Module:
    """The network of a safetensors file, with the keys that `vsr.model.weights.translate` gives, ready to run.

    Its module takes B,3,H,W float32 RGB in 0..1 and gives B,3,H*scale,W*scale float32, not clamped.
    """
    from safetensors.torch import load_file

    state = load_file(path)
    module = PlainRRDB(state) if "conv_first.weight" in state else PlainCompact(state)
    module.load_state_dict(state)
    return module.eval().to(device)
