"""A network on a device in a precision, in the form that runs quickest there: ready to be called."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vsr.model.compact import Compact
from vsr.model.fused import fuse
from vsr.model.network import Network
from vsr.model.planar_compact import PlanarCompact
from vsr.model.precision import DTYPES, Precision
from vsr.planar import PlaneCodes, fits_cells

__all__ = ["PlacedModule", "can_make_planes", "place_network"]


@dataclass(frozen=True)
class PlacedModule:
    """What an upscaler calls.

    Attributes:
        module: B,3,H,W float32 RGB 0..1, channels-last, on its device -> B,C,H*scale,W*scale of some float dtype.
        scale: of what it gives, relative to its input: the network's, or 1 for values of planes.
        makes_planes: it gives values of planes (see `vsr.planar`) and no pictures.
    """

    module: nn.Module
    scale: int
    makes_planes: bool


def can_make_planes(network: Network, codes: PlaneCodes) -> bool:
    """Whether there is a form of `network` that gives planes of these codes."""
    return isinstance(network.module, Compact) and fits_cells(codes, network.scale)


def place_network(
    network: Network,
    device: torch.device,
    precision: Precision,
    before_layer: Callable[..., Any],
    codes: PlaneCodes | None = None,
) -> PlacedModule:
    """A copy of `network`'s module on `device`.

    Args:
        before_layer: called before every layer runs; what it raises ends the run.
        codes: of the planes wanted; None for pictures.
    """
    if codes is None:
        module = copy.deepcopy(network.module)
    else:
        assert isinstance(network.module, Compact)
        module = PlanarCompact(network.module, codes).eval()
    module.to(device=device, dtype=DTYPES[precision])
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if device.type == "cpu":
        module = fuse(module)
    for part in module.modules():
        part.register_forward_pre_hook(before_layer)
    return PlacedModule(module, network.scale if codes is None else 1, codes is not None)
