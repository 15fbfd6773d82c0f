"""The layers that the networks share, drawn as ONNX nodes that compute what the modules of `network` compute.

Every function takes the graph and the value it goes on from, and returns the value it has made. Layers are called by
their names in the module, which their weights keep in the file.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vsr.model.network import FullPrecisionConv2d, InputConv2d
from vsr.model.onnx_graph import Graph, Value

__all__ = [
    "activate",
    "convolve",
    "crop",
    "enlarge",
    "leak",
    "pad_to_multiple",
    "shuffle",
    "unshuffle_and_convolve",
]


def convolve(graph: Graph, features: Value, name: str, *, norm: str | None = None, gain: float = 1.0) -> Value:
    """The convolution `name` with what follows it and is linear, folded into its weights.

    Args:
        norm: name of a batch normalisation behind it.
        gain: factor on the result. A runtime adds a residual in the same pass as the convolution only if nothing
            stands between the two.
    """
    conv: Any = graph.module.get_submodule(name)
    weight, bias = conv.weight.double(), None if conv.bias is None else conv.bias.double()
    if norm is not None:
        weight, bias = _fold(graph.module.get_submodule(norm), weight, bias)
    weight, bias = weight * gain, None if bias is None else bias * gain
    if isinstance(conv, InputConv2d):
        return _convolve_input(graph, features, name, weight, bias)
    dtype = torch.float32 if isinstance(conv, FullPrecisionConv2d) else graph.dtype
    if dtype != graph.dtype:
        features = graph.cast(features, dtype)
    return _convolve(graph, features, name, weight, bias, dtype)


def unshuffle_and_convolve(graph: Graph, frames: Value, name: str, factor: int) -> Value:
    """torch's pixel-unshuffle by `factor`, then the first convolution `name`.

    ONNX has the channels of a cell in another order: (row, column, colour) where torch has (colour, row, column). The
    weights are put in that order, which costs nothing at run time.
    """
    conv: Any = graph.module.get_submodule(name)
    weight = conv.weight.double().unflatten(1, (-1, factor, factor)).permute(0, 2, 3, 1, 4, 5).flatten(1, 3)
    cells = graph.add("SpaceToDepth", frames, blocksize=factor)
    return _convolve_input(graph, cells, name, weight, conv.bias)


def activate(graph: Graph, features: Value, name: str) -> Value:
    """The PReLU `name`; a LeakyReLU where its slopes are all alike, which runtimes fuse with the convolution."""
    slopes: Tensor = graph.module.get_submodule(name).weight  # type: ignore[assignment]
    if bool((slopes == slopes[0]).all()):
        return leak(graph, features, slopes[0].item())
    return graph.add("PRelu", features, graph.hold(f"{name}.weight", slopes.reshape(-1, 1, 1)))


def leak(graph: Graph, features: Value, slope: float) -> Value:
    """LeakyReLU."""
    return graph.add("LeakyRelu", features, alpha=slope)


def enlarge(graph: Graph, picture: Value, factor: int) -> Value:
    """Every pixel `factor` x `factor` times (nearest neighbour)."""
    if factor == 1:
        return picture
    scales = graph.hold(f"scales_{factor}", torch.tensor([1.0, 1.0, factor, factor]), torch.float32)
    return graph.add(
        "Resize", picture, "", scales,
        mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip


def shuffle(graph: Graph, values: Value, factor: int) -> Value:
    """torch's pixel-shuffle (Shi et al., CVPR 2016), whose channels are in the order that ONNX calls CRD."""
    return values if factor == 1 else graph.add("DepthToSpace", values, blocksize=factor, mode="CRD")


def pad_to_multiple(graph: Graph, frames: Value, multiple: int) -> Value:
    """`network.pad_to_multiple` with the size known at run time only: rows and columns are picked by computed indices.

    Operator Pad would do for large pictures; it cannot change from reflection to repetition for small ones.
    """
    if multiple == 1:
        return frames
    sides = [_side(graph, frames, axis) for axis in (2, 3)]
    padded = [_round_up(graph, side, multiple) for side in sides]
    fits = [graph.add("Less", graph.add("Sub", more, side), side) for side, more in zip(sides, padded, strict=True)]
    reflects = graph.add("And", *fits)
    for axis, side, more in zip((2, 3), sides, padded, strict=True):
        frames = graph.add("Gather", frames, _indices(graph, side, more, reflects), axis=axis)
    return frames


def crop(graph: Graph, picture: Value, frames: Value, scale: int) -> Value:
    """The part of `picture` that belongs to `frames` as they came, `scale` times as large."""
    size = graph.add("Slice", graph.add("Shape", frames), *map(graph.integers, (2, 4, 0)))
    ends = graph.add("Mul", size, graph.integers(scale))
    return graph.add("Slice", picture, graph.integers(0, 0), ends, graph.integers(2, 3))


# Parts ---------------------------------------------------------------------------------------------------------------


def _convolve(
    graph: Graph, features: Value, name: str, weight: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> Value:
    parameters = [graph.hold(f"{name}.weight", weight, dtype)]
    if bias is not None:
        parameters.append(graph.hold(f"{name}.bias", bias, dtype))
    height, width = weight.shape[2:]
    pads = [height // 2, width // 2] * 2
    return graph.add("Conv", features, *parameters, kernel_shape=[height, width], pads=pads)


def _convolve_input(graph: Graph, frames: Value, name: str, weight: Tensor, bias: Tensor | None) -> Value:
    """As `InputConv2d`: in half precision the picture goes in as two parts whose sum it is."""
    if graph.dtype != torch.float32:
        coarse = graph.cast(frames, graph.dtype)
        rest = graph.add("Sub", frames, graph.cast(coarse, torch.float32))
        frames = graph.add("Concat", coarse, graph.cast(rest, graph.dtype), axis=1)
        weight = torch.cat((weight, weight), 1)
    return _convolve(graph, frames, name, weight, bias, graph.dtype)


def _fold(norm: nn.Module, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weight and bias, in float64, of a convolution with the batch normalisation (Ioffe & Szegedy 2015) behind it."""
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    mean = norm.running_mean.double() - (0 if bias is None else bias)
    return weight * gain.reshape(-1, 1, 1, 1), norm.bias.double() - mean * gain


def _side(graph: Graph, frames: Value, axis: int) -> Value:
    """The length of an axis, as a scalar."""
    return graph.add("Gather", graph.add("Shape", frames), graph.integer(axis), axis=0)


def _round_up(graph: Graph, side: Value, multiple: int) -> Value:
    factor = graph.integer(multiple)
    return graph.add("Mul", graph.add("Div", graph.add("Add", side, graph.integer(multiple - 1)), factor), factor)


def _indices(graph: Graph, side: Value, padded: Value, reflects: Value) -> Value:
    """0, 1 ... side - 1, and from there to `padded` back again (`reflects`) or the last one for ever."""
    last = graph.add("Sub", side, graph.integer(1))
    positions = graph.add("Range", graph.integer(0), padded, graph.integer(1))
    inside = graph.add("Min", positions, last)
    beyond = graph.add("Sub", positions, inside)
    return graph.add("Where", reflects, graph.add("Sub", inside, beyond), inside)
