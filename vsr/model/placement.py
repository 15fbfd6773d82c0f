"""A network on a device in a precision, in the form that runs quickest there: ready to be called."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import nn

from vsr.errors import DeviceError, SettingsError
from vsr.model.compact import Compact
from vsr.model.cuda_engine import make_cuda_module
from vsr.model.fused import fuse
from vsr.model.fused_rrdb import fuse_dense_blocks
from vsr.model.network import Network
from vsr.model.openvino_body import OpenVinoBody, import_openvino
from vsr.model.planar_compact import PlanarCompact
from vsr.model.precision import DTYPES, Precision, working_dtype
from vsr.model.rrdb import RRDBNet
from vsr.model.tensorrt_engine import make_tensorrt_module
from vsr.planar import PlaneCodes, fits_cells

__all__ = ["Engine", "PlacedModule", "can_make_planes", "choose_engine", "place_network"]

Engine = Literal["torch", "openvino", "tensorrt"]


@dataclass(frozen=True)
class PlacedModule:
    """What an upscaler calls.

    Attributes:
        module: B,3,H,W float32 RGB 0..1, channels-last, on its device -> B,C,H*scale,W*scale of some float dtype.
        scale: of what it gives, relative to its input: the network's, or 1 for values of planes.
        makes_planes: it gives values of planes (see `vsr.planar`) and no pictures.
        prepare: to be called with batch, height and width of the largest input before the first of them; None where
            nothing is to be prepared.
    """

    module: nn.Module
    scale: int
    makes_planes: bool
    prepare: Callable[[int, int, int], None] | None = None


def can_make_planes(network: Network, engine: Engine, codes: PlaneCodes) -> bool:
    """Whether there is a form of `network` that gives planes of these codes."""
    return engine != "tensorrt" and isinstance(network.module, Compact) and fits_cells(codes, network.scale)


def choose_engine(name: str, network: Network, device: torch.device, precision: Precision) -> Engine:
    """What runs `network`: the user's word, or 'auto': torch, and OpenVINO for int8.

    Raises:
        SettingsError: the precision and the engine do not go together.
        DeviceError: the engine is not installed, or does not run such a network or on this device. Of TensorRT its
            module itself tells, when it is made.
    """
    if name not in ("auto", *get_args(Engine)):
        raise SettingsError(f"engine {name!r} is not one of auto, {', '.join(get_args(Engine))}")
    if precision == "int8" and name not in ("auto", "openvino"):
        raise SettingsError("precision 'int8' needs OpenVINO", hint="leave --engine away, or use --precision auto")
    if name == "tensorrt":
        return "tensorrt"
    if name == "torch" or (name == "auto" and precision != "int8"):
        return "torch"
    if device.type != "cpu":
        raise DeviceError("engine 'openvino' runs on a CPU", hint="use --device cpu, or leave --engine away")
    if not isinstance(network.module, Compact):
        raise DeviceError(
            f"OpenVINO runs compact networks here; {network.name} is {network.architecture}",
            hint="leave --engine and --precision int8 away, or choose another --model",
        )
    import_openvino()
    return "openvino"


def place_network(
    network: Network,
    device: torch.device,
    precision: Precision,
    before_layer: Callable[..., Any],
    tell: Callable[[str], None],
    *,
    codes: PlaneCodes | None = None,
    engine: Engine = "torch",
    ranges: tuple[float, ...] | None = None,
) -> PlacedModule:
    """A copy of `network`'s module on `device`.

    Args:
        before_layer: called before every layer runs (on CUDA, where layers are launched long before they run: before
            the network does); what it raises ends the run.
        tell: hears, in a sentence, of a quicker form that could not be used.
        codes: of the planes wanted; None for pictures.
        ranges: what int8 is to hold, as `vsr.model.calibration.measure_ranges` finds it.
    """
    if engine == "tensorrt":
        tensorrt = make_tensorrt_module(network, device, precision, tell)
        tensorrt.register_forward_pre_hook(before_layer)
        return PlacedModule(tensorrt, network.scale, False, tensorrt.prepare)
    if codes is None:
        module = copy.deepcopy(network.module)
    else:
        assert isinstance(network.module, Compact)
        module = PlanarCompact(network.module, codes).eval()
    if engine == "openvino":
        assert isinstance(module, Compact)
        body = OpenVinoBody(module.body, working_dtype(precision), ranges if precision == "int8" else None)
        module.register_module("body", body)
    else:
        module.to(device=device, dtype=DTYPES[precision])
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if device.type == "cpu":
            module = fuse_dense_blocks(module) if isinstance(module, RRDBNet) else fuse(module)
        if device.type == "cuda":
            module = make_cuda_module(module, DTYPES[precision], tell)
    for part in [module] if device.type == "cuda" else module.modules():
        part.register_forward_pre_hook(before_layer)
    return PlacedModule(module, network.scale if codes is None else 1, codes is not None)
