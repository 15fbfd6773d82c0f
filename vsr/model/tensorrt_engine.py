"""A network run by TensorRT in place of torch.

Not yet run on a GPU: written from the documentation of TensorRT 10 and 11, tested with a stand-in for the package.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable

import torch
from torch import Tensor, nn

from vsr.errors import DeviceError, ProcessingError
from vsr.model.network import Network
from vsr.model.onnx_export import make_onnx
from vsr.model.onnx_graph import INPUT, OUTPUT
from vsr.model.precision import Precision, resolve_device
from vsr.model.tensorrt_build import Engine, import_tensorrt, open_engine
from vsr.model.tensorrt_cache import EngineKey
from vsr.model.tensorrt_profile import Shape, ShapeProfile

__all__ = ["TensorrtModule", "make_tensorrt_module"]

WORKSPACE_BYTES = 4 << 30
OPTIMISATION_LEVEL = 3  # TensorRT's own default: higher ones build for much longer
NUM_AUX_STREAMS = 0  # all work is on the caller's stream, and can be captured there


def make_tensorrt_module(
    network: Network, device: torch.device, precision: Precision, tell: Callable[[str], None]
) -> TensorrtModule:
    """`network` as a module that TensorRT runs on `device`.

    The engine is built, or found in the cache, when the size of the pictures is known: in the first call, or in
    `prepare`. TensorRT multiplies fp32 in TF32. Not yet run on a GPU.

    Raises:
        DeviceError: no CUDA device, no usable TensorRT, or a precision that is neither fp32 nor fp16.
        ModelError: the network cannot be had as ONNX.
    """
    if device.type != "cuda":
        raise DeviceError(f"engine 'tensorrt' needs an NVIDIA GPU, not device '{device}'", hint="use --device cuda")
    return TensorrtModule(network, resolve_device(str(device)), precision, tell)


class TensorrtModule(nn.Module):
    """A network in TensorRT, with the contract of `Network.module`, and no parameters.

    It is built for pictures from one pixel up to the largest met so far; a larger one has it built anew. Black or NaN
    pictures are a known fault of fp16 engines: the caller looks for NaN, as `Upscaler` does.

    Args:
        network: its module is not changed, and not kept.
        device: where frames come from and go to.
        precision: fp32 or fp16.
        tell: hears, in a sentence, of what went otherwise than planned.

    Raises:
        DeviceError: no usable TensorRT, or another precision.
        ModelError: the network cannot be had as ONNX.

    Threads may share it: they take turns, and the work of one waits on the GPU for that of the one before.
    """

    def __init__(
        self, network: Network, device: torch.device, precision: Precision, tell: Callable[[str], None]
    ) -> None:
        super().__init__()
        if precision == "bf16" or precision == "int8":
            raise DeviceError(f"engine 'tensorrt' has fp16 and fp32, no {precision}", hint="use --precision fp16")
        self._trt = import_tensorrt()
        self.scale, self.device, self.precision = network.scale, device, precision
        self._tell = tell
        self._content = make_onnx(network, precision)
        self._checksum = hashlib.sha256(self._content).hexdigest()
        self._engine: Engine | None = None
        self._profile: ShapeProfile | None = None
        self._last_stream: torch.cuda.Stream | None = None
        self._turn = threading.Lock()

    def prepare(self, batch: int, height: int, width: int) -> None:
        """Have the engine ready for pictures up to that size, so that no call has to build it.

        Raises:
            ModelError: TensorRT cannot build it.
            MemoryError: the GPU has no room for it; a later call begins anew with its own size.
        """
        with self._turn:
            self._open((batch, height, width))

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        """B,3,H,W float RGB 0..1 on `device` -> B,3,H*scale,W*scale float32, not clamped, on torch's current stream.

        Raises:
            ModelError, MemoryError: as `prepare`.
            ProcessingError: TensorRT refuses to run.
        """
        if frames_BCHW.device != self.device:
            raise ValueError(f"frames are on {frames_BCHW.device}, the engine is on {self.device}")
        frames_BCHW = frames_BCHW.to(torch.float32).contiguous()  # TensorRT sees an address, and no strides
        batch, _, height, width = frames_BCHW.shape
        size = (batch, 3, height * self.scale, width * self.scale)
        output_BCHW = torch.empty(size, dtype=torch.float32, device=self.device)
        with self._turn, torch.cuda.device(self.device):
            context = self._open((batch, height, width)).context
            stream = torch.cuda.current_stream(self.device)
            if self._last_stream is not None and self._last_stream != stream:
                stream.wait_stream(self._last_stream)  # the context has one memory for its features
            self._last_stream = stream
            is_queued = (
                context.set_input_shape(INPUT, tuple(frames_BCHW.shape))
                and context.set_tensor_address(INPUT, frames_BCHW.data_ptr())
                and context.set_tensor_address(OUTPUT, output_BCHW.data_ptr())
                and context.execute_async_v3(stream.cuda_stream)
            )
        if not is_queued:
            raise ProcessingError(
                f"TensorRT does not run pictures of {tuple(frames_BCHW.shape)}", hint="use --engine torch"
            )
        return output_BCHW

    def _open(self, shape: Shape) -> Engine:
        if self._engine is not None and self._profile is not None and self._profile.holds(shape):
            return self._engine
        profile = ShapeProfile.up_to(shape) if self._profile is None else self._profile.grown(shape)
        if self._last_stream is not None:
            self._last_stream.synchronize()  # what is under way still needs the old engine
        self._engine = self._profile = None  # the old one's memory is free before the new one asks for its own
        torch.cuda.empty_cache()  # what torch holds in reserve is no use to TensorRT, which asks CUDA itself
        with torch.cuda.device(self.device):
            engine = open_engine(self._trt, self._content, self._key(profile))
        for warning in engine.warnings:
            self._tell(warning)
        self._engine, self._profile = engine, profile
        return engine

    def _key(self, profile: ShapeProfile) -> EngineKey:
        return EngineKey(
            model_sha256=self._checksum,
            precision=self.precision,
            input_type="float32",
            output_type="float32",
            profile=profile,
            workspace_bytes=WORKSPACE_BYTES,
            optimisation_level=OPTIMISATION_LEVEL,
            num_aux_streams=NUM_AUX_STREAMS,
            tensorrt_version=str(self._trt.__version__),
            gpu_name=torch.cuda.get_device_name(self.device),
        )
