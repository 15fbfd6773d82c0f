"""A network as an ONNX file that says what it is, for runtimes and machines without vsr."""

from __future__ import annotations

import hashlib
from typing import Literal

import torch

from vsr import __version__
from vsr.errors import ModelError, SettingsError
from vsr.model.network import Network
from vsr.model.onnx_graph import Graph
from vsr.model.onnx_networks import can_draw, draw_network

__all__ = [
    "DEFAULT_OPSET",
    "DTYPES",
    "OPSETS",
    "ExportPrecision",
    "check_half",
    "check_opset",
    "checksum_weights",
    "describe_model",
    "make_onnx",
]

ExportPrecision = Literal["fp32", "fp16"]

OPSETS = range(13, 22)
"""Those that the tests hold every network against; the last is the newest that onnx 1.16 knows."""
DEFAULT_OPSET = 17
"""Of 2022: old enough for most runtimes in use."""

DTYPES: dict[ExportPrecision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16}


def make_onnx(network: Network, precision: ExportPrecision = "fp32", *, opset: int = DEFAULT_OPSET) -> bytes:
    """`network` as the content of an ONNX file.

    Its input "input" is B,3,H,W float32 RGB in 0..1, its output "output" B,3,H*scale,W*scale float32, not clamped, for
    any B, H and W from 1 up. In "fp16" the weights and the features are float16; the picture keeps its bits, as it does
    in `network.module`: split in two on its way in, and last convolutions to it stay in float32.

    The same network, precision and opset give the same bytes.

    Raises:
        SettingsError: an opset that vsr does not write.
        ModelError: the package onnx is missing, the architecture is not known here, or float16 cannot hold the network.
    """
    check_opset(opset)
    check_half(network, precision)
    if not can_draw(network.module):
        raise ModelError(
            f"{network.name} is a {network.architecture}, which vsr cannot export",
            hint="RRDBNet, SRVGGNetCompact and SRResNet can be",
        )
    graph = Graph(network.module, DTYPES[precision])
    draw_network(graph)
    return graph.finish(network.name, opset, describe_model(network, precision), __version__)


def check_opset(opset: int) -> int:
    """`opset` as it is; raises SettingsError where vsr does not write it."""
    if opset not in OPSETS:
        raise SettingsError(f"opset {opset!r} is out of range", hint=f"{OPSETS[0]} to {OPSETS[-1]}")
    return opset


def check_half(network: Network, precision: ExportPrecision) -> None:
    """Raises ModelError where `precision` is too coarse for `network`."""
    if precision == "fp16" and not network.half_safe:
        raise ModelError(f"{network.name} is not safe in fp16", hint="export with --precision fp32")


def describe_model(network: Network, precision: ExportPrecision) -> dict[str, str]:
    """What the file says of itself, in its metadata_props."""
    facts = {
        "model": network.name,
        "architecture": network.architecture,
        "scale": str(network.scale),
        "precision": precision,
        "weights_sha256": checksum_weights(network),
        "vsr_version": __version__,
    }
    return facts | ({"licence": network.licence} if network.licence else {})


def checksum_weights(network: Network) -> str:
    """sha256 of the weights file; where a network has none, of its tensors with their names and shapes."""
    if network.source is not None:
        return hashlib.sha256(network.source.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for name, tensor in sorted(network.module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
