"""The layers of a compact network as one graph of OpenVINO, in floating point or quantised to 8 bits.

Quantised symmetrically: 8-bit codes of either sign with zero at zero, a scale for each output channel of the weights
and one for all that enters a convolution. With a zero elsewhere OpenVINO leaves the matrix units of some processors
unused (64 features, 16 layers, 480x270 on a CPU with AMX: 119 instead of 42 ms). The first convolution is not
quantised: it sees the picture itself.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vsr.errors import DeviceError
from vsr.model.compact import SlopedReLU
from vsr.model.network import InputConv2d, split_picture

__all__ = ["OpenVinoBody", "import_openvino"]

# Graphs are compiled for a size, in tens of milliseconds; so many are kept for each thread that uses them.
MAX_GRAPHS = 8

# Codes of 8 bits with a sign: 256 of the activations; of the weights -128 stays unused, so that they lie evenly.
LEAST_CODE, LARGEST_CODE = -128, 127

_NOT_HERE: Any = None  # in the place of a module: importing it fails


def import_openvino() -> Any:
    """The module openvino, which would report its import to its makers: not from here.

    Raises:
        DeviceError: it is not installed.
    """
    # Without that package OpenVINO takes a silent stand-in of its own. A user who has loaded it himself keeps it.
    is_silenced = sys.modules.setdefault("openvino_telemetry", _NOT_HERE) is _NOT_HERE
    try:
        return importlib.import_module("openvino")
    except ImportError as exc:
        raise DeviceError("OpenVINO is not installed", hint="pip install 'vsr[int8]'") from exc
    finally:
        if is_silenced:
            sys.modules.pop("openvino_telemetry", None)  # another thread may have been as quick


@functools.cache
def _open_core() -> Any:
    """OpenVINO's own state, one for the process and never closed.

    On processors with AMX its first use gives the calling thread a stack for signals. It goes with the last of these
    objects, and where that is dropped by another thread, the next signal (a child process that ends) is a crash.
    """
    return import_openvino().Core()


class OpenVinoBody(nn.Module):
    """Runs the convolutions and activations of `body`: B,3,H,W float32 -> B,N,H,W, channels-last, of `dtype`.

    Any number of threads may use it at a time; each has its own graphs, which run in as many threads as torch's would.

    Args:
        body: a compact network's layers, float32 on the CPU.
        dtype: bfloat16 or float32: what is computed in where it is not 8 bits, and of what comes out.
        ranges: the largest magnitude that enters each convolution but the first, to quantise for; None: nothing is
            quantised.

    Raises:
        DeviceError: OpenVINO is not installed.
    """

    def __init__(self, body: nn.Sequential, dtype: torch.dtype, ranges: Sequence[float] | None = None) -> None:
        super().__init__()
        self._openvino = import_openvino()
        self._core = _open_core()
        # A tuple, so that the layers do not become this module's own: nobody is to cast or move them.
        self._layers, self._dtype, self._ranges = tuple(body), dtype, ranges
        self._graphs = threading.local()

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        frames_BCHW = frames_BCHW.to(torch.float32)
        if self._dtype != torch.float32:
            frames_BCHW = split_picture(frames_BCHW, self._dtype)
        frames_BHWC = frames_BCHW.permute(0, 2, 3, 1).contiguous()
        request = self._find_request(frames_BHWC.shape)
        request.set_input_tensor(self._wrap(frames_BHWC))
        values_BHWN = torch.empty(tuple(request.model_outputs[0].shape), dtype=self._dtype)
        request.set_output_tensor(self._wrap(values_BHWN))
        request.infer()
        return values_BHWN.permute(0, 3, 1, 2)

    def _find_request(self, shape: torch.Size) -> Any:
        """The calling thread's graph for input of that shape, with everything it needs to run."""
        kept: OrderedDict[tuple[int, ...], Any] = self._graphs.__dict__.setdefault("kept", OrderedDict())
        num_threads = torch.get_num_threads()
        key = (*shape, num_threads)
        if key not in kept:
            options = {
                "INFERENCE_PRECISION_HINT": "bf16" if self._dtype == torch.bfloat16 else "f32",
                "INFERENCE_NUM_THREADS": num_threads,
                "NUM_STREAMS": 1,
                "ENABLE_CPU_PINNING": False,  # the encoder and other programs want the same cores
            }
            graph = self._build(tuple(shape))
            kept[key] = self._core.compile_model(graph, "CPU", options).create_infer_request()
            while len(kept) > MAX_GRAPHS:
                kept.popitem(last=False)
        kept.move_to_end(key)
        return kept[key]

    def _wrap(self, tensor: Tensor) -> Any:
        """OpenVINO's view of a tensor's memory."""
        if tensor.dtype == torch.float32:
            return self._openvino.Tensor(tensor.numpy(), shared_memory=True)
        bits = tensor.view(torch.int16).numpy()  # numpy knows no bfloat16
        return self._openvino.Tensor(bits, self._openvino.Shape(list(bits.shape)), self._openvino.Type.bf16)

    def _build(self, shape: tuple[int, ...]) -> Any:
        ops = self._openvino.opset13
        kind = self._openvino.Type.bf16 if self._dtype == torch.bfloat16 else self._openvino.Type.f32
        frames = ops.parameter(list(shape), kind)
        values = ops.transpose(ops.convert(frames, self._openvino.Type.f32), ops.constant(np.array([0, 3, 1, 2])))
        num_convolutions = 0
        for layer in self._layers:
            if isinstance(layer, nn.Conv2d):
                values = self._convolve(ops, values, layer, num_convolutions)
                num_convolutions += 1
            else:
                assert isinstance(layer, nn.PReLU)
                slopes = layer.weight.detach().numpy()
                is_common = isinstance(layer, SlopedReLU) and layer.common_slope is not None
                values = ops.prelu(values, ops.constant(slopes[:1] if is_common else slopes))
        values = ops.convert(ops.transpose(values, ops.constant(np.array([0, 2, 3, 1]))), kind)
        return self._openvino.Model([values], [frames], "body")

    def _convolve(self, ops: Any, values: Any, conv: nn.Conv2d, number: int) -> Any:
        weight = conv.weight.detach().numpy()
        if isinstance(conv, InputConv2d) and self._dtype != torch.float32:
            weight = np.concatenate((weight, weight), 1)  # both parts of the picture meet the same weights
        weights = ops.constant(weight)
        if number and self._ranges is not None:
            largest = np.abs(weight).max((1, 2, 3), keepdims=True).clip(1e-12)
            bounds = [ops.constant(side) for side in (-largest, largest)]
            weights = ops.fake_quantize(weights, *bounds, *bounds, 2 * LARGEST_CODE + 1)
            step = max(self._ranges[number - 1], 1e-12) / LARGEST_CODE
            bounds = [ops.constant(np.float32(code * step)) for code in (LEAST_CODE, LARGEST_CODE)]
            values = ops.fake_quantize(values, *bounds, *bounds, LARGEST_CODE - LEAST_CODE + 1)
        one, reach = [1, 1], [side // 2 for side in conv.kernel_size]
        values = ops.convolution(values, weights, one, reach, reach, one)
        assert conv.bias is not None
        return ops.add(values, ops.constant(conv.bias.detach().numpy().reshape(1, -1, 1, 1)))
