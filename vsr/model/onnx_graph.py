"""An ONNX graph in the making: nodes and weights, in the order in which they are computed.

Only the package `onnx` is needed: torch's own exporters want more (the newer one) or are on their way out (the older).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vsr.errors import ModelError

__all__ = ["INPUT", "OUTPUT", "Graph", "Value", "import_onnx"]

INPUT, OUTPUT = "input", "output"

Value = str
"""The name of a tensor of the graph."""


def import_onnx() -> Any:
    """The package onnx.

    Raises:
        ModelError: it is not installed.
    """
    try:
        return importlib.import_module("onnx")
    except ImportError as exc:
        raise ModelError("ONNX needs the package onnx", hint="pip install 'vsr[export]'") from exc


class Graph:
    """The graph of a module, written down node by node.

    Args:
        module: whose layers are drawn, float32 on the CPU. Its weights keep their names in the file.
        dtype: of the features between the layers, float32 or float16.

    Attributes:
        module, dtype: as given.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        self.module, self.dtype = module, dtype
        self._onnx = import_onnx()
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._num_values = 0

    def add(self, operator: str, *inputs: Value, output: Value | None = None, **attributes: Any) -> Value:
        """Append a node; returns the name of its output."""
        self._num_values += 1
        output = output or f"{operator.lower()}_{self._num_values}"
        node = self._onnx.helper.make_node(operator, list(inputs), [output], name=f"node_{output}", **attributes)
        self._nodes.append(node)
        return output

    def hold(self, name: str, tensor: Tensor, dtype: torch.dtype | None = None) -> Value:
        """Put a tensor into the file, in `dtype` (default: that of the features); once for each name.

        Raises:
            ModelError: it holds NaN, infinity, or a value that is too large for `dtype`.
        """
        if name in self._constants:
            return name
        stored = tensor.detach().cpu().to(dtype or self.dtype).contiguous()
        if not bool(torch.isfinite(stored).all()):
            hint = "export with --precision fp32" if stored.dtype == torch.float16 else None
            raise ModelError(f"{name} holds values that do not fit {stored.dtype}", hint=hint)
        self._constants[name] = self._onnx.numpy_helper.from_array(stored.numpy(), name)
        return name

    def integer(self, value: int) -> Value:
        """A whole number as an int64 scalar."""
        return self.hold(f"integer_{value}", torch.tensor(value), torch.int64)

    def integers(self, *values: int) -> Value:
        """A list of whole numbers as an int64 tensor, for shapes and axes."""
        return self.hold(f"integers_{'_'.join(map(str, values))}", torch.tensor(values), torch.int64)

    def cast(self, value: Value, dtype: torch.dtype) -> Value:
        """`value` in float32 or float16."""
        proto = self._onnx.TensorProto
        return self.add("Cast", value, to=proto.FLOAT16 if dtype == torch.float16 else proto.FLOAT)

    def finish(self, name: str, opset: int, facts: Mapping[str, str], version: str) -> bytes:
        """The model of all that was drawn, from `INPUT` to `OUTPUT`, both B,3,H,W float32 of any B, H and W.

        Args:
            name: of the graph.
            opset: of the operators.
            facts: what the file says of itself (metadata_props).
            version: of vsr.

        Raises:
            ModelError: the graph breaks a rule of ONNX.
        """
        helper = self._onnx.helper
        pictures = [
            helper.make_tensor_value_info(value, self._onnx.TensorProto.FLOAT, ["batch", 3, *sides])
            for value, sides in ((INPUT, ("height", "width")), (OUTPUT, ("larger_height", "larger_width")))
        ]
        graph = helper.make_graph(self._nodes, name, pictures[:1], pictures[1:], list(self._constants.values()))
        opsets = [helper.make_opsetid("", opset)]
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=helper.find_min_ir_version_for(opsets),  # older runtimes refuse a newer one unread
            producer_name="vsr",
            producer_version=version,
        )
        helper.set_model_props(model, dict(facts))
        try:
            self._onnx.checker.check_model(model, full_check=True)
        except (self._onnx.checker.ValidationError, self._onnx.shape_inference.InferenceError) as exc:
            raise ModelError(f"the graph of {name} is no valid ONNX: {exc}") from exc
        content: bytes = model.SerializeToString(deterministic=True)
        return content
