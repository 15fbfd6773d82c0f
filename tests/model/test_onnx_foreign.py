"""Networks of spandrel, traced: what works is right at every size, what does not is refused."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from vsr.errors import ModelError, VerificationError
from vsr.model import loading
from vsr.model.loading import ForeignModule, load_model
from vsr.model.network import Network
from vsr.model.onnx_check import check_onnx
from vsr.model.onnx_foreign import trace_onnx


@pytest.fixture(autouse=True)
def spandrel() -> None:
    try:
        loading.import_spandrel()
    except ImportError as exc:
        pytest.skip(f"spandrel is not installed: {exc}")


@pytest.fixture
def network(tmp_path: Path) -> Network:
    from spandrel.architectures.PLKSR import PLKSR

    torch.manual_seed(5)
    state = PLKSR(dim=16, n_blocks=2, kernel_size=5, upscaling_factor=2).state_dict()
    torch.save(state, tmp_path / "theirs.pth")
    network = load_model(tmp_path / "theirs.pth")
    assert network.architecture == "PLKSR"
    return network


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_what_works_is_right_and_says_what_it_is(network: Network, tmp_path: Path, precision: str) -> None:
    path = tmp_path / "theirs.onnx"
    path.write_bytes(trace_onnx(network, precision))
    assert 0 < check_onnx(path, network, precision).max_abs_error < (1e-5 if precision == "fp32" else 2e-3)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    facts = {prop.key: prop.value for prop in model.metadata_props}
    assert (facts["model"], facts["architecture"], facts["scale"]) == ("theirs", "PLKSR", "2")
    assert (model.producer_name, model.opset_import[0].version) == ("vsr", 17)
    wanted = onnx.TensorProto.FLOAT16 if precision == "fp16" else onnx.TensorProto.FLOAT
    weights = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 4]
    assert len(weights) > 4
    assert {tensor.data_type for tensor in weights} == {wanted}
    assert b".py" not in path.read_bytes()  # the exporter can leave the names of source files, with their folders


def test_networks_that_want_certain_sizes_are_refused(tmp_path: Path) -> None:
    from spandrel.architectures.Swin2SR import Swin2SR

    torch.manual_seed(4)
    foreign = Swin2SR(
        img_size=8, window_size=8, depths=[1, 1], embed_dim=12, num_heads=[2, 2], upscale=2, upsampler="pixelshuffle"
    )
    torch.save(foreign.state_dict(), tmp_path / "net.pth")
    with pytest.raises(ModelError, match="Swin2SR does not take every size"):
        trace_onnx(load_model(tmp_path / "net.pth"))


class SizeBound(nn.Module):
    """Divides by its picture's width in Python, where no trace can see it."""

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        enlarged: Tensor = nn.functional.interpolate(frames_BCHW, scale_factor=2)
        return enlarged / int(frames_BCHW.shape[-1])


class Descriptor:
    """What `ForeignModule` needs of spandrel."""

    def __init__(self, model: nn.Module) -> None:
        from spandrel import SizeRequirements

        self.model, self.size_requirements = model, SizeRequirements()

    def __call__(self, frames_BCHW: Tensor) -> Tensor:
        output: Tensor = self.model(frames_BCHW)
        return output.clamp(0, 1)


def foreign_network(model: nn.Module) -> Network:
    model.weight = nn.Parameter(torch.ones(1))  # `ForeignModule` asks a parameter for the precision
    return Network(ForeignModule(Descriptor(model)), 2, "Theirs", "theirs")


def test_a_trace_that_is_right_for_one_size_only_does_not_pass(tmp_path: Path) -> None:
    network = foreign_network(SizeBound())
    path = tmp_path / "bound.onnx"
    path.write_bytes(trace_onnx(network))
    with pytest.raises(VerificationError, match="is off by"):
        check_onnx(path, network, "fp32")


class Fails(nn.Module):
    def forward(self, frames_BCHW: Tensor) -> Tensor:
        raise IndexError("no such thing\nand more")


def test_what_cannot_be_traced_is_told() -> None:
    with pytest.raises(ModelError, match=r"torch cannot trace it: no such thing$"):
        trace_onnx(foreign_network(Fails()))
