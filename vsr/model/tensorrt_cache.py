"""TensorRT engines kept on disk: an engine takes minutes to build and fits one GPU, one version and one range of sizes.

What an engine depends on is its key, and the key names its file. An engine is machine code and TensorRT does not guard
itself against a damaged one, so that a file carries its own checksum and is given to TensorRT only if that is right.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from vsr.model.catalog import cache_folder
from vsr.model.tensorrt_profile import ShapeProfile

__all__ = ["EngineKey", "engine_path", "read_plan", "write_plan"]

_MAGIC = b"vsr engine 1\n"
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class EngineKey:
    """All that an engine depends on. Another value anywhere is another engine.

    Attributes:
        model_sha256: of the ONNX file that it is built from: weights, graph, opset and precision of every layer.
        precision: of the weights and features.
        input_type, output_type: of the pictures.
        profile: the sizes that it takes.
        workspace_bytes: what a layer may take for itself while it runs.
        optimisation_level: how long TensorRT looks for the fastest kernels, 0 to 5.
        num_aux_streams: CUDA streams beside the one it is called on.
        tensorrt_version: as the package states it; an engine opens in the very version that built it.
        gpu_name: as CUDA states it.
    """

    model_sha256: str
    precision: str
    input_type: str
    output_type: str
    profile: ShapeProfile
    workspace_bytes: int
    optimisation_level: int
    num_aux_streams: int
    tensorrt_version: str
    gpu_name: str

    @property
    def digest(self) -> str:
        """sha256 of all of it, in hexadecimal."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def engine_path(key: EngineKey) -> Path:
    """Where the engine of that key is kept, whether it is there or not."""
    return cache_folder() / "tensorrt" / f"{key.digest}.engine"


def read_plan(path: Path) -> bytes | None:
    """The serialised engine in the file `path`; None where it is missing, damaged or not readable."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    start = len(_MAGIC) + _DIGEST_BYTES
    digest, plan = content[len(_MAGIC) : start], content[start:]
    is_whole = content.startswith(_MAGIC) and hashlib.sha256(plan).digest() == digest
    return plan if is_whole else None


def write_plan(path: Path, plan: bytes) -> None:
    """Keep a serialised engine under `path`, as a whole or not at all; folders on the way are made.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=".tmp")
    try:
        with open(descriptor, "wb") as file:
            file.write(_MAGIC + hashlib.sha256(plan).digest() + plan)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
