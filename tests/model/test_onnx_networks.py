"""Every architecture as an ONNX graph gives what its module gives, at any size, and holds what it says it holds."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from networks import SMALL, make
from vsr.model.network import Network
from vsr.model.onnx_export import ExportPrecision, make_onnx

Size = tuple[int, int]


@cache
def network_of(kind: str) -> Network:
    torch.manual_seed(1)
    module = make(kind)
    for layer in module.modules():
        if isinstance(layer, nn.PReLU) and layer.weight.numel() > 1:
            nn.init.uniform_(layer.weight, 0.1, 0.4)  # a slope for each channel: no LeakyReLU will do
    return Network(module.requires_grad_(False), module.scale, module.architecture, kind, multiple=module.multiple)


@cache
def session_of(kind: str, precision: ExportPrecision = "fp32") -> Any:
    return open_session(make_onnx(network_of(kind), precision))


def open_session(content: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run_both(kind: str, frames_BCHW: Tensor, precision: ExportPrecision = "fp32") -> tuple[Tensor, Tensor]:
    [output] = session_of(kind, precision).run(["output"], {"input": frames_BCHW.numpy()})
    with torch.inference_mode():
        return torch.from_numpy(output), network_of(kind).module(frames_BCHW)


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (13, 6), (8, 8)])
def test_any_size_and_batch(kind: str, size: Size) -> None:
    output, expected = run_both(kind, torch.rand(2, 3, *size))
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, expected, rtol=0, atol=5e-6)


@settings(max_examples=40)
@given(size=st.tuples(st.integers(1, 9), st.integers(1, 9)), factor=st.sampled_from([2, 4]))
@example(size=(1, 5), factor=4)  # rows cannot be reflected, so columns are repeated too
@example(size=(2, 5), factor=4)
def test_sizes_that_need_padding_are_padded_as_the_module_pads(size: Size, factor: int) -> None:
    output, expected = run_both(f"rrdb-unshuffle{factor}", torch.rand(1, 3, *size))
    torch.testing.assert_close(output, expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize("kind", SMALL)
def test_half_precision_is_near_float32(kind: str) -> None:
    output, expected = run_both(kind, torch.rand(2, 3, 13, 6), "fp16")
    assert output.dtype == torch.float32
    assert 1e-6 < (output - expected).abs().max() < 3e-3


@pytest.mark.parametrize("kind", ["rrdb-x4", "rrdb-unshuffle2", "srresnet-x4"])
def test_half_precision_sees_every_bit_of_the_picture(kind: str) -> None:
    """Two pictures a 12-bit step apart are one in float16, near white; the graph still tells them apart."""
    step = 2.0**-12
    bright, brighter = torch.full((1, 3, 8, 8), 0.75), torch.full((1, 3, 8, 8), 0.75 + step)
    assert torch.equal(bright.half(), brighter.half())
    output, expected = (
        second - first
        for first, second in zip(run_both(kind, bright, "fp16"), run_both(kind, brighter, "fp16"), strict=True)
    )
    assert float(output.abs().max()) > 0
    torch.testing.assert_close(output.mean(), expected.mean(), rtol=0, atol=step / 4)


@pytest.mark.parametrize("kind", ["compact-x4", "rrdb-x4", "srresnet-x4"])
def test_weights_are_stored_in_the_precision_and_by_their_names(kind: str) -> None:
    for precision, wanted in (("fp32", np.float32), ("fp16", np.float16)):
        graph = onnx.load_from_string(make_onnx(network_of(kind), precision)).graph
        stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        weights = {name: array for name, array in stored.items() if name.endswith(".weight")}
        assert weights.keys() <= network_of(kind).module.state_dict().keys()
        for name, array in weights.items():
            assert array.dtype == (np.float32 if name == "conv_last.weight" else wanted), name


def test_weights_that_stay_as_they_are_are_the_networks_own() -> None:
    module = network_of("compact-x4").module
    graph = onnx.load_from_string(make_onnx(network_of("compact-x4"))).graph
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for name, tensor in module.state_dict().items():
        assert np.array_equal(stored[name].ravel(), tensor.numpy().ravel()), name


def test_equal_slopes_become_a_leaky_relu() -> None:
    torch.manual_seed(1)
    module = make("compact-x4").requires_grad_(False)  # all of torch's PReLUs begin with 0.25
    graph = onnx.load_from_string(make_onnx(Network(module, 4, module.architecture, "equal"))).graph
    operators = [node.op_type for node in graph.node]
    assert "PRelu" not in operators
    assert operators.count("LeakyRelu") == 4
    own = onnx.load_from_string(make_onnx(network_of("compact-x4"))).graph
    assert [node.op_type for node in own.node].count("PRelu") == 4
