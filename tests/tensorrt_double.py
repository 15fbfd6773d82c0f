"""A stand-in for the package tensorrt: the calls of its Python API that vsr makes, with ONNX Runtime inside.

Its plan is the ONNX file behind a mark, and its context reads and writes the memory at the addresses that it is given:
what comes out is right only if shapes, addresses, types and strides are.
"""

from __future__ import annotations

import ctypes
import math
import types
from typing import Any

import numpy as np
import onnxruntime

__all__ = ["TensorrtDouble"]

_MARK = b"plan of the double\n"


class TensorrtDouble(types.ModuleType):
    """To be put into `sys.modules` as "tensorrt".

    Attributes:
        calls: names of what was called, with the arguments that matter.
        fault: what goes wrong: "parse", "build", "memory", "open", "context" or "run"; None: nothing.
    """

    def __init__(self, version: str = "10.12.0") -> None:
        super().__init__("tensorrt")
        self.__version__ = version
        self.calls: list[tuple[Any, ...]] = []
        self.fault: str | None = None
        severities = types.SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2)

        class ILogger:
            Severity = severities

        self.ILogger = ILogger
        self.NetworkDefinitionCreationFlag = types.SimpleNamespace(STRONGLY_TYPED=1)
        self.MemoryPoolType = types.SimpleNamespace(WORKSPACE="workspace")
        self.Builder = lambda log: _Builder(self, log)
        self.OnnxParser = lambda network, log: _Parser(self, network)
        self.Runtime = lambda log: _Runtime(self, log)

    def names(self) -> list[str]:
        """What was called, without the arguments."""
        return [call[0] for call in self.calls]


class _Builder:
    def __init__(self, double: TensorrtDouble, log: Any) -> None:
        self.double, self.log = double, log

    def create_network(self, flags: int) -> types.SimpleNamespace:
        self.double.calls.append(("create_network", flags))
        return types.SimpleNamespace(content=b"")

    def create_builder_config(self) -> _Config:
        return _Config()

    def create_optimization_profile(self) -> _Profile:
        return _Profile()

    def build_serialized_network(self, network: Any, config: _Config) -> bytes | None:
        self.double.calls.append(("build", config))
        self.log.log(2, "a warning, which is no error")
        if self.double.fault in ("build", "memory"):
            self.log.log(1, "Cuda Runtime (out of memory)" if self.double.fault == "memory" else "no such layer")
            self.log.log(1, "the last word\n")
            return None
        return _MARK + network.content


class _Config:
    def __init__(self) -> None:
        self.limits: dict[str, int] = {}
        self.profiles: list[_Profile] = []
        self.builder_optimization_level = self.max_aux_streams = -1

    def set_memory_pool_limit(self, pool: str, num_bytes: int) -> None:
        self.limits[pool] = num_bytes

    def add_optimization_profile(self, profile: _Profile) -> None:
        self.profiles.append(profile)


class _Profile:
    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        self.name, self.shapes = name, shapes


class _Parser:
    def __init__(self, double: TensorrtDouble, network: Any) -> None:
        self.double, self.network = double, network
        self.num_errors = 2

    def parse(self, content: bytes) -> bool:
        self.double.calls.append(("parse",))
        self.network.content = content
        return self.double.fault != "parse"

    def get_error(self, index: int) -> str:
        return f"error {index}"


class _Runtime:
    def __init__(self, double: TensorrtDouble, log: Any) -> None:
        self.double, self.log = double, log

    def deserialize_cuda_engine(self, plan: bytes) -> _Engine | None:
        self.double.calls.append(("deserialise",))
        if self.double.fault == "open" or not plan.startswith(_MARK):
            self.log.log(1, "this is no plan of mine")
            return None
        return _Engine(self.double, plan.removeprefix(_MARK), self.log)


class _Engine:
    def __init__(self, double: TensorrtDouble, content: bytes, log: Any) -> None:
        self.double, self.log = double, log
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def create_execution_context(self) -> _Context | None:
        if self.double.fault == "context":
            self.log.log(1, "OutOfMemory: no bytes left")
            return None
        return _Context(self)


class _Context:
    def __init__(self, engine: _Engine) -> None:
        self.engine = engine
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert name == "input"
        self.shape = shape
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        self.engine.double.calls.append(("execute", stream))
        if self.engine.double.fault == "run":
            return False
        frames = _floats_at(self.addresses["input"], self.shape)
        [output] = self.engine.session.run(["output"], {"input": frames})
        _floats_at(self.addresses["output"], output.shape)[:] = output
        return True


def _floats_at(address: int, shape: tuple[int, ...]) -> Any:
    memory = (ctypes.c_float * math.prod(shape)).from_address(address)
    return np.ctypeslib.as_array(memory).reshape(shape)
