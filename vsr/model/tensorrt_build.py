"""From an ONNX file to a TensorRT engine that is ready to run, by way of the cache.

Not yet run on a GPU: written from the documentation of TensorRT 10 and 11, tested with a stand-in for the package.
"""

from __future__ import annotations

import functools
import importlib
import re
import threading
from dataclasses import dataclass
from typing import Any

from vsr.errors import DeviceError, ModelError
from vsr.model.onnx_graph import INPUT
from vsr.model.tensorrt_cache import EngineKey, engine_path, read_plan, write_plan

__all__ = ["Engine", "import_tensorrt", "open_engine"]

_OLDEST = 10  # strongly typed networks, and addresses by the names of tensors

_WAY_OUT = "use --engine torch"

_at_work = threading.Lock()  # the logger is one for all; and of two GPUs of a kind, the second finds the first's engine


@dataclass(frozen=True, slots=True)
class Engine:
    """What TensorRT runs, with the engine and the runtime that it must not outlive.

    Attributes:
        context: TensorRT's IExecutionContext; for one call at a time.
        warnings: what went otherwise than planned on the way, for the user.
    """

    context: Any
    warnings: tuple[str, ...]
    _owners: tuple[Any, ...]


def import_tensorrt() -> Any:
    """The package tensorrt.

    Raises:
        DeviceError: it is not installed, not usable, or too old.
    """
    try:
        trt = importlib.import_module("tensorrt")
    except (ImportError, OSError) as exc:  # OSError: its libraries, or CUDA's, are not there
        raise DeviceError(
            f"engine 'tensorrt' needs the package tensorrt: {exc}",
            hint=f"pip install 'vsr[tensorrt]', or {_WAY_OUT}",
        ) from exc
    if int(trt.__version__.split(".")[0]) < _OLDEST:
        raise DeviceError(
            f"TensorRT {trt.__version__} is too old",
            hint=f"pip install 'tensorrt>={_OLDEST}', or {_WAY_OUT}",
        )
    return trt


def open_engine(trt: Any, content: bytes, key: EngineKey) -> Engine:
    """The engine of `key`: from the cache, or built from the ONNX file `content` and kept there.

    To be called with the GPU in question current. Building takes from seconds to many minutes.

    Raises:
        ModelError: TensorRT cannot build it.
        MemoryError: the GPU has no room for it.
    """
    path, log, warnings = engine_path(key), _log_of(trt), []
    with _at_work:
        log.forget()
        plan = read_plan(path)
        parts = _deserialise(trt, log, plan) if plan is not None else None
        if parts is None:  # not there, damaged, or not to this TensorRT's liking
            plan = _build(trt, log, content, key)
            try:
                write_plan(path, plan)
            except OSError as exc:
                warnings.append(f"the TensorRT engine cannot be kept in {str(path.parent)!r}: {exc.strerror or exc}")
            parts = _deserialise(trt, log, plan)
        if parts is None:
            raise log.explain(f"TensorRT {key.tensorrt_version} cannot open the engine that it has built")
        runtime, engine = parts
        context = engine.create_execution_context()
        if context is None:
            raise log.explain(f"TensorRT {key.tensorrt_version} cannot run pictures of {key.profile.maximum}")
    return Engine(context, tuple(warnings), (runtime, engine))


def _deserialise(trt: Any, log: Any, plan: bytes) -> tuple[Any, Any] | None:
    runtime = trt.Runtime(log)
    engine = runtime.deserialize_cuda_engine(plan)
    return None if engine is None else (runtime, engine)


def _build(trt: Any, log: Any, content: bytes, key: EngineKey) -> bytes:
    builder = trt.Builder(log)
    # TensorRT 10 must be told, 11 knows no other way: every type is the one that the graph states.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(content):
        reasons = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise ModelError(f"TensorRT {key.tensorrt_version} cannot read the graph: {reasons}", hint=_WAY_OUT)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, key.workspace_bytes)
    config.builder_optimization_level = key.optimisation_level
    config.max_aux_streams = key.num_aux_streams
    profile = builder.create_optimization_profile()
    shapes = (key.profile.minimum, key.profile.optimum, key.profile.maximum)
    profile.set_shape(INPUT, *((batch, 3, height, width) for batch, height, width in shapes))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise log.explain(f"TensorRT {key.tensorrt_version} cannot build the engine")
    return bytes(plan)


@functools.cache
def _log_of(trt: Any) -> Any:
    """The one logger of the process, which prints nothing and keeps what TensorRT says of errors.

    TensorRT keeps the first logger that it is given for all that follow, and must not outlive it.
    """

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # not via super(): its bindings demand it so
            self._errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self._errors.append(msg.strip())

        def forget(self) -> None:
            self._errors.clear()

        def explain(self, message: str) -> ModelError | MemoryError:
            """The error to raise; a MemoryError where smaller pictures may do."""
            message = f"{message}: {self._errors[-1] if self._errors else 'it does not say why'}"
            if any(re.search(r"out\s*of\s*memory", error, re.IGNORECASE) for error in self._errors):
                return MemoryError(message)
            return ModelError(message, hint=_WAY_OUT)

    return Log()
