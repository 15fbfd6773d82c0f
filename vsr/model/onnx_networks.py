"""The networks of this house as ONNX graphs: one function for each architecture, line by line beside its `forward`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from vsr.model.compact import Compact
from vsr.model.onnx_graph import INPUT, OUTPUT, Graph, Value
from vsr.model.onnx_layers import (
    activate,
    convolve,
    crop,
    enlarge,
    leak,
    pad_to_multiple,
    shuffle,
    unshuffle_and_convolve,
)
from vsr.model.rrdb import RESIDUAL_SCALE, SLOPE, RRDBNet
from vsr.model.srresnet import SRResNet

__all__ = ["can_draw", "draw_network"]


def can_draw(module: nn.Module) -> bool:
    """Whether `module` is one of the architectures here."""
    return type(module) in _DRAWERS


def draw_network(graph: Graph) -> None:
    """Draw the module of `graph` from `INPUT` to `OUTPUT`: one that `can_draw` knows."""
    result = _DRAWERS[type(graph.module)](graph, graph.module)
    graph.add("Identity", result, output=OUTPUT)


def _draw_compact(graph: Graph, network: Any) -> Value:
    features = INPUT
    for index, layer in enumerate(network.body):
        draw = convolve if isinstance(layer, nn.Conv2d) else activate
        features = draw(graph, features, f"body.{index}")
    residual = shuffle(graph, features, network.scale)
    if graph.dtype != torch.float32:
        residual = graph.cast(residual, torch.float32)
    return graph.add("Add", residual, enlarge(graph, INPUT, network.scale))


def _draw_rrdb(graph: Graph, network: Any) -> Value:
    frames = pad_to_multiple(graph, INPUT, network.multiple)
    if network.multiple > 1:
        first = unshuffle_and_convolve(graph, frames, "conv_first", network.multiple)
    else:
        first = convolve(graph, frames, "conv_first")
    features = first
    for block in range(network.num_blocks):
        features = _draw_rrdb_block(graph, features, f"body.{block}")
    features = graph.add("Add", first, convolve(graph, features, "conv_body"))
    for stage in range(1, network.num_upsample + 1):
        features = leak(graph, convolve(graph, enlarge(graph, features, 2), f"conv_up{stage}"), SLOPE)
    features = leak(graph, convolve(graph, features, "conv_hr"), SLOPE)
    output = convolve(graph, features, "conv_last")
    return crop(graph, output, INPUT, network.scale) if network.multiple > 1 else output


def _draw_rrdb_block(graph: Graph, features: Value, name: str) -> Value:
    residual = features
    for number in (1, 2, 3):
        residual = _draw_dense_block(graph, residual, f"{name}.rdb{number}")
    scale = graph.hold("residual_scale", torch.tensor(RESIDUAL_SCALE))
    return graph.add("Add", features, graph.add("Mul", residual, scale))


def _draw_dense_block(graph: Graph, features: Value, name: str) -> Value:
    seen = [features]
    for number in (1, 2, 3, 4):
        seen.append(leak(graph, convolve(graph, _concatenate(graph, seen), f"{name}.conv{number}"), SLOPE))
    residual = convolve(graph, _concatenate(graph, seen), f"{name}.conv5", gain=RESIDUAL_SCALE)
    return graph.add("Add", features, residual)


def _concatenate(graph: Graph, values: list[Value]) -> Value:
    return values[0] if len(values) == 1 else graph.add("Concat", *values, axis=1)


def _draw_srresnet(graph: Graph, network: Any) -> Value:
    first = activate(graph, convolve(graph, INPUT, "conv_first"), "prelu_first")
    features = first
    for block in range(network.num_blocks):
        name = f"blocks.{block}"
        residual = convolve(graph, features, f"{name}.conv1", norm=f"{name}.norm1")
        residual = convolve(graph, activate(graph, residual, f"{name}.prelu"), f"{name}.conv2", norm=f"{name}.norm2")
        features = graph.add("Add", features, residual)
    features = graph.add("Add", first, convolve(graph, features, "conv_mid", norm="norm_mid"))
    for stage in range(network.num_upsample):
        features = shuffle(graph, convolve(graph, features, f"upsample.{stage}.conv"), 2)
        features = activate(graph, features, f"upsample.{stage}.prelu")
    return convolve(graph, features, "conv_last")


_DRAWERS: dict[type[nn.Module], Callable[[Graph, Any], Value]] = {
    Compact: _draw_compact,
    RRDBNet: _draw_rrdb,
    SRResNet: _draw_srresnet,
}
