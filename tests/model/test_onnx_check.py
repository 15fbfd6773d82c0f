"""The check beside torch: passes what is right, and refuses what is off, of another size, NaN, or no ONNX."""

from __future__ import annotations

import copy
import dataclasses
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from vsr.errors import ModelError, VerificationError
from vsr.model.loading import load_model
from vsr.model.network import Network
from vsr.model.onnx_check import SHAPES, TOLERANCES, check_onnx
from vsr.model.onnx_export import make_onnx


@pytest.fixture
def network(tiny_weights: Path) -> Network:
    return load_model(tiny_weights)


@pytest.fixture
def exported(network: Network, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(make_onnx(network))
    return path


def changed(network: Network, shift: float) -> Network:
    """The network with another bias at the end: its output is off by `shift` everywhere."""
    module = copy.deepcopy(network.module)
    module.state_dict()["body.4.bias"].add_(shift)
    return dataclasses.replace(network, module=module)


def test_what_is_right_passes_with_its_error(network: Network, exported: Path) -> None:
    check = check_onnx(exported, network, "fp32")
    assert 0 <= check.max_abs_error < 1e-6
    assert TOLERANCES["fp32"] <= check.tolerance < 2 * TOLERANCES["fp32"]
    assert check.shapes == SHAPES


def test_the_error_is_the_largest_difference(network: Network, exported: Path) -> None:
    check = check_onnx(exported, changed(network, 5e-5), "fp32")
    assert check.max_abs_error == pytest.approx(5e-5, abs=1e-6)


@pytest.mark.parametrize(("precision", "shift"), [("fp32", 1e-3), ("fp16", 0.05)])
def test_what_is_off_is_refused(network: Network, tmp_path: Path, precision: str, shift: float) -> None:
    path = tmp_path / "off.onnx"
    path.write_bytes(make_onnx(network, precision))
    check_onnx(path, network, precision)
    with pytest.raises(VerificationError, match=f"the {precision} graph of tiny-x4 is off by {shift:.2g}"):
        check_onnx(path, changed(network, shift), precision)


def test_nan_is_off_by_any_measure(network: Network, exported: Path) -> None:
    with pytest.raises(VerificationError, match="off by inf"):
        check_onnx(exported, changed(network, torch.nan), "fp32")


def test_another_size_is_refused(network: Network, exported: Path) -> None:
    model = onnx.load(exported)
    for node in model.graph.node:
        if node.op_type == "Identity":
            node.op_type = "Transpose"
            node.attribute.append(onnx.helper.make_attribute("perm", [0, 1, 3, 2]))
    onnx.save(model, exported)
    with pytest.raises(
        VerificationError, match=r"tiny-x4 makes \(1, 3, 24, 4\) of \(1, 3, 1, 6\), not \(1, 3, 4, 24\)"
    ):
        check_onnx(exported, network, "fp32")


def test_sizes_that_do_not_run_are_refused(network: Network, exported: Path) -> None:
    """A graph that is bound to one width, as a trace can be."""
    model = onnx.load(exported)
    shape = onnx.numpy_helper.from_array(np.array([1, 3, 4, 4]), "shape")
    model.graph.initializer.append(shape)
    for node in model.graph.node:
        if node.op_type == "Identity":
            node.op_type = "Reshape"
            node.input.append("shape")
    onnx.save(model, exported)
    with pytest.raises(VerificationError, match=r"cannot run the graph of tiny-x4 on \(1, 3, 1, 6\)"):
        check_onnx(exported, network, "fp32")


def test_a_file_that_is_no_model_is_refused(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "no.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(VerificationError, match="cannot open the graph of tiny-x4"):
        check_onnx(path, network, "fp32")


def test_without_onnxruntime_the_way_out_is_named(
    network: Network, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match="onnxruntime") as caught:
        check_onnx(exported, network, "fp32")
    assert "pip install 'vsr[export]'" in str(caught.value.hint)
