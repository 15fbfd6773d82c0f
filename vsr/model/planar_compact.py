"""A compact network whose last layer gives the values of Y'CbCr planes instead of RGB pixels; see `vsr.planar`."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from vsr.model.compact import Compact
from vsr.planar import PlaneCodes, mixing_matrix

__all__ = ["PlanarCompact"]


class PlanarCompact(Compact):
    """`compact` with its last convolution mixed: B,3,H,W float RGB 0..1 -> B,N,H,W values in steps of codes.

    The picture that `Compact` adds to its residual is not added here; `vsr.planar.PlaneFiller` does that in float32.
    """

    def __init__(self, compact: Compact, codes: PlaneCodes) -> None:
        nn.Module.__init__(self)
        self.num_features, self.num_conv, self.scale = compact.num_features, compact.num_conv, compact.scale
        self.in_channels, self.out_channels = compact.in_channels, compact.out_channels
        self.body = copy.deepcopy(compact.body)
        last = self.body[-1]
        assert isinstance(last, nn.Conv2d)
        self.body[-1] = _mix_outputs(last, mixing_matrix(codes, compact.scale))

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        values_BNHW: Tensor = self.body(frames_BCHW)
        return values_BNHW


def _mix_outputs(conv: nn.Conv2d, mixing: Tensor) -> nn.Conv2d:
    """The convolution that gives mixing @ what `conv` gives; folded in float64, since it is done once."""
    assert conv.bias is not None
    with torch.device("meta"):
        mixed = nn.Conv2d(conv.in_channels, len(mixing), 3, padding=1)
    weight, bias = conv.weight.detach().to(torch.float64), conv.bias.detach().to(torch.float64)
    mixed.weight = nn.Parameter(torch.einsum("no,ocij->ncij", mixing, weight).to(conv.weight.dtype), False)
    mixed.bias = nn.Parameter((mixing @ bias).to(conv.bias.dtype), False)
    return mixed
