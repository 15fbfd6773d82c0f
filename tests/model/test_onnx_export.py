"""The ONNX file: what it says of itself, its opset and shapes, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

import networks
import vsr
from vsr.errors import ModelError, SettingsError
from vsr.model.loading import load_model
from vsr.model.network import Network
from vsr.model.onnx_export import DEFAULT_OPSET, OPSETS, checksum_weights, make_onnx


@pytest.fixture
def network(tiny_weights: Path) -> Network:
    return dataclasses.replace(load_model(tiny_weights), licence="MIT")


def test_the_file_says_what_it_is(network: Network, tiny_weights: Path) -> None:
    model = onnx.load_from_string(make_onnx(network))
    assert {prop.key: prop.value for prop in model.metadata_props} == {
        "model": "tiny-x4",
        "architecture": "SRVGGNetCompact",
        "scale": "4",
        "precision": "fp32",
        "licence": "MIT",
        "weights_sha256": hashlib.sha256(tiny_weights.read_bytes()).hexdigest(),
        "vsr_version": vsr.__version__,
    }
    assert (model.producer_name, model.producer_version) == ("vsr", vsr.__version__)


def test_a_licence_that_is_not_known_is_not_made_up(network: Network) -> None:
    model = onnx.load_from_string(make_onnx(dataclasses.replace(network, licence=None)))
    assert "licence" not in {prop.key for prop in model.metadata_props}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_input_and_output_are_float32_of_any_size(network: Network, precision: str) -> None:
    graph = onnx.load_from_string(make_onnx(network, precision)).graph
    for value, name, sides in (
        (graph.input, "input", ["height", "width"]),
        (graph.output, "output", ["larger_height", "larger_width"]),
    ):
        [tensor] = value
        kind = tensor.type.tensor_type
        assert (tensor.name, kind.elem_type) == (name, onnx.TensorProto.FLOAT)
        assert [dim.dim_param or dim.dim_value for dim in kind.shape.dim] == ["batch", 3, *sides]


@pytest.mark.parametrize("kind", networks.SMALL)
@pytest.mark.parametrize("opset", [OPSETS[0], DEFAULT_OPSET, OPSETS[-1]])
def test_every_opset_is_valid_for_every_network(kind: str, opset: int) -> None:
    """make_onnx runs ONNX's own checker with shape inference; here the version it was held against is looked at."""
    module = networks.make(kind).requires_grad_(False)
    network = Network(module, module.scale, module.architecture, kind, multiple=module.multiple)
    for precision in ("fp32", "fp16"):
        model = onnx.load_from_string(make_onnx(network, precision, opset=opset))
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
        assert model.ir_version <= 10  # what runtimes of 2024 read


def test_other_opsets_are_refused(network: Network) -> None:
    for opset in (OPSETS[0] - 1, OPSETS[-1] + 1):
        with pytest.raises(SettingsError, match=f"opset {opset}") as caught:
            make_onnx(network, opset=opset)
        assert caught.value.hint == "13 to 21"


def test_the_same_network_gives_the_same_bytes(network: Network, tiny_weights: Path) -> None:
    again = dataclasses.replace(load_model(tiny_weights), licence="MIT")
    assert make_onnx(network) == make_onnx(again)


def test_what_float16_cannot_hold_is_refused(network: Network) -> None:
    with torch.no_grad():
        network.module.state_dict()["body.2.weight"][0, 0, 0, 0] = 1e5
    make_onnx(network)
    with pytest.raises(ModelError, match=r"body\.2\.weight .* do not fit torch\.float16"):
        make_onnx(network, "fp16")


def test_a_network_that_is_not_safe_in_half_precision_is_refused(network: Network) -> None:
    with pytest.raises(ModelError, match="tiny-x4 is not safe in fp16") as caught:
        make_onnx(dataclasses.replace(network, half_safe=False), "fp16")
    assert "fp32" in str(caught.value.hint)


def test_unknown_architectures_are_refused_by_name() -> None:
    foreign = Network(nn.Conv2d(3, 3, 3, padding=1), 1, "SwinIR", "theirs")
    with pytest.raises(ModelError, match="theirs is a SwinIR"):
        make_onnx(foreign)


def test_without_onnx_the_way_out_is_named(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModelError, match="onnx") as caught:
        make_onnx(network)
    assert caught.value.hint == "pip install 'vsr[export]'"


def test_the_checksum_without_a_file_is_of_the_tensors(network: Network) -> None:
    loose = dataclasses.replace(network, source=None)
    before = checksum_weights(loose)
    assert before == checksum_weights(dataclasses.replace(loose, name="other"))
    with torch.no_grad():
        network.module.state_dict()["body.0.bias"][0] += 1e-6
    assert checksum_weights(loose) != before
