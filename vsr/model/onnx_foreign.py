"""Networks of spandrel as ONNX graphs: traced by torch's TorchScript exporter, since nobody here knows their insides.

That exporter is deprecated, but needs no more packages (torch's newer one needs onnxscript). A trace follows one
picture: what a network decides by its size is decided for good. Only the check tells such a trace apart.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from vsr import __version__
from vsr.errors import ModelError
from vsr.model.loading import ForeignModule
from vsr.model.network import Network
from vsr.model.onnx_export import DEFAULT_OPSET, DTYPES, ExportPrecision, check_half, check_opset, describe_model
from vsr.model.onnx_graph import INPUT, OUTPUT, import_onnx

__all__ = ["trace_onnx"]

_SAMPLE = (2, 3, 24, 20)


class _Traced(nn.Module):
    """The network without the padding around it, which a trace cannot follow: float32 in, float32 in 0..1 out."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = copy.deepcopy(network).to(dtype), dtype

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        output_BCHW: Tensor = self.network(frames_BCHW.to(self.dtype))
        return output_BCHW.float().clamp(0, 1)


def trace_onnx(network: Network, precision: ExportPrecision = "fp32", *, opset: int = DEFAULT_OPSET) -> bytes:
    """A network of spandrel as the content of an ONNX file, with the input and output of `make_onnx`, clamped to 0..1.

    In "fp16" all of it is float16, input and output within the graph too. To be run beside the network before it is
    believed.

    Raises:
        SettingsError: an opset that vsr does not write.
        ModelError: the network is none of spandrel, does not take every size by itself, cannot be traced, or is not
            safe in float16; or the package onnx is missing.
    """
    check_opset(opset)
    check_half(network, precision)
    onnx = import_onnx()
    module = network.module
    if not (isinstance(module, ForeignModule) and module.takes_any_size):
        raise ModelError(
            f"{network.name} cannot be exported: {network.architecture} does not take every size of picture"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "traced.onnx"
        try:
            _trace(_Traced(module.network, DTYPES[precision]).eval(), path, opset)
        except Exception as exc:  # whatever a network's code may raise, or the exporter for an operator unknown to it
            reason = str(exc).strip().partition("\n")[0]
            raise ModelError(f"{network.name} cannot be exported: torch cannot trace it: {reason}") from exc
        model = onnx.load(path)
    model.producer_name, model.producer_version = "vsr", __version__
    onnx.helper.set_model_props(model, describe_model(network, precision))
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _trace(module: nn.Module, path: Path, opset: int) -> None:
    sides = {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of being deprecated, and of what it takes for a constant
        torch.onnx.export(
            module,
            (torch.rand(_SAMPLE),),
            path,
            dynamo=False,
            opset_version=opset,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: sides, OUTPUT: {0: "batch", 2: "larger_height", 3: "larger_width"}},
        )
