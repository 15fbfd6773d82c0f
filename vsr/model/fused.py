"""The inference form of plain networks on a CPU: convolution and activation in one call of oneDNN, weights packed once.

An activation by itself reads and writes every value again, which on a CPU with fast matrix units takes as long as the
convolution (32 channels at 480x270 in bf16: 1.1 and 0.7 ms). The operators used are those that torch's own compiler
puts into its graphs; here they are called directly, so that no compiler is needed on the user's machine.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from vsr.model.compact import Compact, SlopedReLU
from vsr.model.network import InputConv2d, split_picture

__all__ = ["FusedConv2d", "can_fuse", "fuse", "pack"]


class FusedConv2d(nn.Conv2d):
    """A 3x3 or other "same" convolution of stride 1, followed by a LeakyReLU of `slope` (None: by nothing).

    For inference on a CPU only. The parameters are those of the convolution that it was made from.
    """

    def __init__(self, conv: nn.Conv2d, slope: float | None) -> None:
        # Its parameters come from `conv`: nothing is to be initialised.
        with torch.device("meta"):
            kernel = (conv.kernel_size[0], conv.kernel_size[1])
            super().__init__(conv.in_channels, conv.out_channels, kernel, padding=(kernel[0] // 2, kernel[1] // 2))
        self.weight, self.bias, self.slope = conv.weight, conv.bias, slope
        self._packed: Tensor | None = None

    def forward(self, features_BCHW: Tensor) -> Tensor:
        if self._packed is None:
            self._packed = pack(self.weight, self.padding, features_BCHW.shape)
        return _convolve(features_BCHW, self._packed, self.bias, self.padding, self.slope)


class FusedInputConv2d(FusedConv2d):
    """An `InputConv2d` in the same manner: in half precision the picture goes in as two parts whose sum it is."""

    def __init__(self, conv: InputConv2d, slope: float | None) -> None:
        super().__init__(conv, slope)
        self._is_split = conv.weight.dtype != torch.float32

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        if not self._is_split:
            return super().forward(frames_BCHW.to(torch.float32))
        parts = split_picture(frames_BCHW, self.weight.dtype)
        if self._packed is None:
            self._packed = pack(torch.cat((self.weight, self.weight), 1), self.padding, parts.shape)
        return _convolve(parts, self._packed, self.bias, self.padding, self.slope)


def fuse(module: nn.Module) -> nn.Module:
    """The inference form of a network on the CPU, where there is one: `module` itself, its layers replaced.

    What it gives differs from what it gave only in half precision: a convolution's result is not rounded before its
    activation. Networks that are no plain rows of layers stay as they are.

    Args:
        module: a network of its own (not one that others use), in its final place and precision.
    """
    if isinstance(module, Compact) and can_fuse(module.body[0].weight.dtype):
        module.body = _fuse_layers(module.body)
    return module


def _fuse_layers(layers: nn.Sequential) -> nn.Sequential:
    fused: list[nn.Module] = []
    waiting: nn.Conv2d | None = None
    for layer in layers:
        if waiting is not None:
            slope = layer.common_slope if isinstance(layer, SlopedReLU) else None
            fused.append(_fuse_convolution(waiting, slope))
            waiting = None
            if slope is not None:
                continue
        if isinstance(layer, nn.Conv2d):
            waiting = layer
        else:
            fused.append(layer)
    if waiting is not None:
        fused.append(_fuse_convolution(waiting, None))
    return nn.Sequential(*fused)


def _fuse_convolution(conv: nn.Conv2d, slope: float | None) -> FusedConv2d:
    return FusedInputConv2d(conv, slope) if isinstance(conv, InputConv2d) else FusedConv2d(conv, slope)


@functools.cache
def can_fuse(dtype: torch.dtype) -> bool:
    """Whether this torch has the operators and they give what a convolution and a LeakyReLU give, tried once."""
    is_there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not is_there or dtype not in (torch.float32, torch.bfloat16):
        return False
    generator = torch.Generator().manual_seed(0)  # its own: what a training draws must not depend on this
    features = torch.rand((1, 8, 6, 5), generator=generator).sub_(0.5).to(dtype)
    conv = nn.Conv2d(8, 8, 3, padding=1, device="meta").to_empty(device="cpu").requires_grad_(False)
    for parameter in conv.parameters():
        parameter.copy_(torch.rand(parameter.shape, generator=generator) - 0.5)
    conv.to(dtype)
    try:
        with torch.inference_mode():
            fused = FusedConv2d(conv, 0.1)(features.contiguous(memory_format=torch.channels_last))
    except (AttributeError, RuntimeError, NotImplementedError):  # older or other builds: the layers stay apart
        return False
    with torch.no_grad():
        wanted = nn.functional.leaky_relu(conv.float()(features.float()), 0.1)
    return bool(torch.allclose(fused.float(), wanted, atol=1e-4 if dtype == torch.float32 else 2e-2))


def pack(weight: Tensor, padding: Any, shape: torch.Size) -> Tensor:
    """The weights in the order that oneDNN wants for such input; other sizes of input take them too."""
    one = [1, 1]
    packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(
        weight.detach(), list(padding), one, one, 1, list(shape)
    )
    return packed


def _convolve(features_BCHW: Tensor, packed: Tensor, bias: Tensor | None, padding: Any, slope: float | None) -> Tensor:
    one = [1, 1]
    what: tuple[str, list[float]] = ("none", []) if slope is None else ("leaky_relu", [slope])
    result: Tensor = torch.ops.mkldnn._convolution_pointwise(
        features_BCHW, packed, bias, list(padding), one, one, 1, *what, ""
    )
    return result
