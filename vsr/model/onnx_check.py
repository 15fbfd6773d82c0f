"""An ONNX file run beside the network that it came from."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vsr.errors import ModelError, VerificationError
from vsr.model.network import Network
from vsr.model.onnx_export import ExportPrecision
from vsr.model.onnx_graph import INPUT, OUTPUT

__all__ = ["SHAPES", "TOLERANCES", "Check", "check_onnx", "has_runtime", "import_runtime"]

SHAPES = ((1, 1, 1), (1, 1, 6), (1, 7, 2), (2, 9, 14), (1, 24, 33))
"""Batch, height and width: one pixel, one row, odd ones, two at once, and room for more than the edges."""

# Of the networks that come with vsr and of random ones of every architecture, on white noise, the worst case: 6e-6 in
# fp32, where only the order of sums differs, and 2.4e-3 in fp16. Neither is a step of 8 bits, which is 3.9e-3.
TOLERANCES: dict[ExportPrecision, float] = {"fp32": 1e-4, "fp16": 1e-2}
"""Largest error that is let through, as a share of the largest value of the output or of white, whichever is more."""


@dataclass(frozen=True, slots=True)
class Check:
    """What the comparison found.

    Attributes:
        max_abs_error: of ONNX Runtime against torch in float32, where black is 0 and white is 1.
        tolerance: what it was held against.
        shapes: of the pictures: batch, height, width.
    """

    max_abs_error: float
    tolerance: float
    shapes: tuple[tuple[int, int, int], ...]


def has_runtime() -> bool:
    """Whether onnxruntime is installed."""
    return importlib.util.find_spec("onnxruntime") is not None


def import_runtime() -> Any:
    """The package onnxruntime.

    Raises:
        ModelError: it is not installed.
    """
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as exc:
        raise ModelError("the check needs onnxruntime", hint="pip install 'vsr[export]', or use --no-check") from exc


def check_onnx(path: Path, network: Network, precision: ExportPrecision) -> Check:
    """Run the file `path` by ONNX Runtime, and `network.module` by torch in float32, on noise of several sizes.

    Both run on the CPU. ONNX Runtime has no float16 arithmetic there: it rounds to float16 between layers and sums in
    float32. So this holds for graph and weights; what a GPU makes of float16 sums can be further off.

    Raises:
        ModelError: onnxruntime is missing.
        VerificationError: the file does not run, gives another size or NaN, or is off by more than the tolerance.
    """
    session = _open(path, network.name)
    noise = torch.Generator().manual_seed(0)
    error, largest = 0.0, 1.0
    for batch, height, width in SHAPES:
        frames_BCHW = torch.rand(batch, 3, height, width, generator=noise)
        with torch.inference_mode():
            expected = network.module(frames_BCHW)
        output = _run(session, frames_BCHW, network.name)
        if output.shape != expected.shape:
            raise VerificationError(
                f"the graph of {network.name} makes {tuple(output.shape)} of {tuple(frames_BCHW.shape)},"
                f" not {tuple(expected.shape)}"
            )
        error = max(error, torch.nan_to_num((output - expected).abs(), nan=torch.inf).max().item())
        largest = max(largest, expected.abs().max().item())
    check = Check(error, TOLERANCES[precision] * largest, SHAPES)
    if error > check.tolerance:
        raise VerificationError(
            f"the {precision} graph of {network.name} is off by {error:.2g}, more than {check.tolerance:.2g}",
            hint="export with --precision fp32" if precision == "fp16" else "please report it",
        )
    return check


def _open(path: Path, name: str) -> Any:
    runtime = import_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # its errors come as exceptions, too
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # torch is at work in between
    try:
        return runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # its errors have no common root
        raise VerificationError(f"ONNX Runtime cannot open the graph of {name}: {exc}") from exc


def _run(session: Any, frames_BCHW: Tensor, name: str) -> Tensor:
    try:
        [output] = session.run([OUTPUT], {INPUT: frames_BCHW.numpy()})
    except Exception as exc:
        raise VerificationError(
            f"ONNX Runtime cannot run the graph of {name} on {tuple(frames_BCHW.shape)}: {exc}"
        ) from exc
    return torch.from_numpy(output)
