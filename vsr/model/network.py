"""A network with what the rest of the house must know about it, and the layers that all networks share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "FullPrecisionConv2d",
    "InputConv2d",
    "Network",
    "depth_to_space",
    "pad_to_multiple",
    "split_picture",
]


@dataclass(frozen=True)
class Network:
    """A single-frame super-resolution network, ready to run, and its facts. Nothing in it changes.

    Attributes:
        module: in eval mode, float32, on the CPU, no gradients wanted. Called with B,3,H,W float RGB 0..1 it gives
            B,3,H*scale,W*scale float32, not clamped (foreign networks of spandrel may clamp). It casts at its own
            door to the dtype of its parameters, so ``module.to(torch.bfloat16, memory_format=torch.channels_last)``
            is all that half precision needs; input and output stay float32.
        scale: the network's own factor.
        architecture: "RRDBNet", "SRVGGNetCompact", "SRResNet" or spandrel's name of it.
        name: name in the catalogue, or the stem of the file.
        halo: radius of the receptive field in input pixels: no output pixel of input pixel i depends on an input pixel
            further than this from i. Exact for tiling, provided that tiles start at a multiple of `multiple`.
            None where it is unbounded or unknown (attention, global pooling).
        multiple: height and width are padded (and cropped) by the module itself to a multiple of this.
        flops_per_pixel: floating point operations per input pixel, two per multiply-add; 0.0 where unknown.
        half_safe: whether float16 and bfloat16 may be used.
        licence: of the weights, as an SPDX identifier where there is one; None where unknown.
        source: the file that the weights came from.
    """

    module: nn.Module
    scale: int
    architecture: str
    name: str
    halo: int | None = None
    multiple: int = 1
    flops_per_pixel: float = 0.0
    half_safe: bool = True
    licence: str | None = None
    source: Path | None = None


class InputConv2d(nn.Conv2d):
    """A first convolution that sees every bit of a float32 picture although its weights are half precision.

    bfloat16 would round the picture itself to 8 significant bits, and a network sharpens the steps that this leaves in
    a smooth sky (measured on a 10-bit ramp: 53 dB instead of 66 dB to the float32 result). So the picture goes in
    as two half-precision parts whose sum it is, and each meets the same weights; the sums are float32 inside.

    Padding is "same" with zeros, stride 1. Input B,C,H,W of any float dtype; output in the dtype of the weights.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        dtype = self.weight.dtype
        if torch.promote_types(frames_BCHW.dtype, dtype) == dtype:
            return super().forward(frames_BCHW.to(dtype))
        weight = torch.cat((self.weight, self.weight), 1)
        features_BCHW: Tensor = self._conv_forward(split_picture(frames_BCHW, dtype), weight, self.bias)
        return features_BCHW


def split_picture(frames_BCHW: Tensor, dtype: torch.dtype) -> Tensor:
    """A float32 picture as two of half precision whose sum it is: B,C,H,W -> B,2C,H,W, channels-last."""
    coarse = frames_BCHW.to(dtype)
    if frames_BCHW.requires_grad or frames_BCHW.device.type != "cpu":
        return torch.cat((coarse, (frames_BCHW - coarse).to(dtype)), 1)
    # Plane by plane, and turned only then: on a CPU four times as fast as writing between each other's channels.
    batch, channels, height, width = frames_BCHW.shape
    parts = torch.empty((batch, 2 * channels, height, width), dtype=dtype)
    parts[:, :channels] = coarse
    torch.sub(frames_BCHW, coarse, out=parts[:, channels:])
    return parts.contiguous(memory_format=torch.channels_last)


class FullPrecisionConv2d(nn.Conv2d):
    """A last convolution that stays in float32 when the network around it is cast to half precision.

    bfloat16 holds 8 significant bits: rounding the picture itself to it would leave a 10-bit film with 64 to 256
    levels. The features before it may be half: their errors are spread over hundreds of products.

    Padding is "same" with zeros, stride 1. Input B,C,H,W of any float dtype; output float32 (float64 in a float64
    network).
    """

    # float32 copies of half features are made for this many values at a time. On a CPU the copy then stays in the
    # cache (twice as fast as the whole at 640x360); on a GPU it merely bounds memory (256 MiB).
    _STRIP_VALUES_CPU = 1 << 20
    _STRIP_VALUES_GPU = 1 << 26

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FullPrecisionConv2d:
        def keep_precision(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            if moved.dtype in (torch.float16, torch.bfloat16):
                # Not via `moved`: its bits are already lost. Device and memory format are what is wanted of it.
                return torch.empty_like(moved, dtype=torch.float32).copy_(tensor)
            return moved

        super()._apply(keep_precision, recurse)  # type: ignore[no-untyped-call]
        return self

    def forward(self, features_BCHW: Tensor) -> Tensor:
        if features_BCHW.dtype == self.weight.dtype:
            return super().forward(features_BCHW)
        batch, channels, height, width = features_BCHW.shape
        on_cpu = features_BCHW.device.type == "cpu"
        strip_values = self._STRIP_VALUES_CPU if on_cpu else self._STRIP_VALUES_GPU
        strip = max(16, strip_values // max(1, batch * channels * width))
        if strip >= height:
            return super().forward(features_BCHW.to(self.weight.dtype))
        reach = self.padding[0] if isinstance(self.padding, tuple) else 0
        strips = []
        for top in range(0, height, strip):
            first, stop = max(top - reach, 0), min(top + strip + reach, height)
            rows = super().forward(features_BCHW[:, :, first:stop].to(self.weight.dtype))
            strips.append(rows[:, :, top - first : top - first + strip])
        return torch.cat(strips, 2)


def depth_to_space(values_BCHW: Tensor, factor: int, base_BCHW: Tensor) -> Tensor:
    """Pixel-shuffle by `factor` (Shi et al., CVPR 2016) onto the nearest-upscaled `base_BCHW`, in one pass.

    Args:
        values_BCHW: B,C*factor**2,H,W, any float dtype and strides.
        factor: the upscaling factor.
        base_BCHW: B,C,H,W, any float dtype.

    Returns:
        B,C,H*factor,W*factor, contiguous, float32 (float64 if one of both is).
    """
    base_BCHW = base_BCHW.to(torch.promote_types(base_BCHW.dtype, torch.float32))
    batch, channels, height, width = base_BCHW.shape
    values = values_BCHW.view(batch, channels, factor, factor, height, width)
    base = base_BCHW[:, :, None, None]
    dtype = torch.promote_types(values.dtype, base.dtype)
    if not torch.is_inference_mode_enabled():  # `out=` has no derivative, and no place in an exported graph
        summed = (values + base).permute(0, 1, 4, 2, 5, 3)
        return summed.reshape(batch, channels, height * factor, width * factor)
    # Written straight to where the pixels belong: three times as fast on a CPU as shuffle, interpolate and add.
    output = torch.empty(batch, channels, height, factor, width, factor, dtype=dtype, device=values.device)
    torch.add(values, base, out=output.permute(0, 1, 3, 5, 2, 4))
    return output.view(batch, channels, height * factor, width * factor)


def pad_to_multiple(frames_BCHW: Tensor, multiple: int) -> Tensor:
    """`frames_BCHW` grown at the right and the bottom to multiples of `multiple`, by reflection if large enough."""
    height, width = frames_BCHW.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    if not (bottom or right):
        return frames_BCHW
    # Reflection needs more pixels than it adds.
    mode = "reflect" if bottom < height and right < width else "replicate"
    return F.pad(frames_BCHW, (0, right, 0, bottom), mode=mode)
