"""The Triton convolution against torch's: in Triton's interpreter on a CPU, in earnest where there is a GPU."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks import make_rrdb
from vsr.model.growth import SliceConv2d, grow

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# The interpreter computes in float32; a GPU is given what the engine gives it.
DTYPE, TOLERANCE = (torch.float16, 2e-3) if DEVICE == "cuda" else (torch.float32, 2e-6)


@pytest.fixture(scope="module")
def conv_kernel() -> Iterator[ModuleType]:
    """The module, imported for the interpreter where there is no GPU. Triton reads its variable when it decorates."""
    pytest.importorskip("triton", reason="Triton is not installed (it comes with CUDA builds of torch)")
    before = os.environ.get("TRITON_INTERPRET")
    if DEVICE == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"
    try:
        sys.modules.pop("vsr.model.conv_kernel", None)
        yield importlib.import_module("vsr.model.conv_kernel")
    finally:
        sys.modules.pop("vsr.model.conv_kernel", None)
        os.environ.pop("TRITON_INTERPRET", None)
        if before is not None:
            os.environ["TRITON_INTERPRET"] = before


def make_conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    torch.manual_seed(0)
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1).requires_grad_(False)
    return conv.to(DEVICE, DTYPE)


def make_slice(batch: int, channels: int, height: int, width: int, *, start: int = 16, more: int = 16) -> Tensor:
    """Random channels in the midst of a larger channels-last buffer."""
    whole = torch.rand(batch, start + channels + more, height, width, device=DEVICE) - 0.5
    return whole.to(DTYPE).contiguous(memory_format=torch.channels_last)[:, start : start + channels]


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (9, 17), (16, 16), (19, 7)])
@pytest.mark.parametrize(("channels", "slope"), [((64, 32), 0.2), ((96, 32), 0.2), ((192, 64), None), ((16, 48), 0.1)])
def test_equals_torchs_convolution(
    conv_kernel: ModuleType, size: tuple[int, int], channels: tuple[int, int], slope: float | None
) -> None:
    conv = make_conv(*channels)
    source, expected, target = (make_slice(2, count, *size) for count in (channels[0], channels[1], channels[1]))
    SliceConv2d(conv, slope)(source, expected)
    conv_kernel.KernelConv2d(conv, slope)(source, target)
    torch.testing.assert_close(target, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("num_residuals", [1, 2])
def test_residuals(conv_kernel: ModuleType, num_residuals: int) -> None:
    conv = make_conv(48, 16)
    source, expected, target, *residuals = (make_slice(1, count, 11, 13) for count in (48, 16, 16, 16, 16))
    SliceConv2d(conv)(source, expected, *residuals[:num_residuals])
    conv_kernel.KernelConv2d(conv)(source, target, *residuals[:num_residuals])
    torch.testing.assert_close(target, expected, rtol=0, atol=TOLERANCE)


def test_half_precision_rounds_once(conv_kernel: ModuleType) -> None:
    """Sums, activation and residuals are float32: what is stored is the nearest float16 to the exact result, or next
    to it."""
    conv = make_conv(64, 32).to(torch.float16)
    source, target, residual, outer = (make_slice(1, count, 9, 17).to(torch.float16) for count in (64, 32, 32, 32))
    conv_kernel.KernelConv2d(conv, 0.2)(source, target, residual, outer)
    assert conv.bias is not None
    sums = F.conv2d(source.double(), conv.weight.double(), conv.bias.double(), padding=1)
    exact = outer + 0.2 * (residual + 0.2 * F.leaky_relu(sums, 0.2))
    assert bool(((target.double() - exact).abs() <= 2**-11 * exact.abs() + 1e-6).all())


@pytest.mark.parametrize("tile", [(8, 8), (16, 16), (4, 32), (1, 64)])
def test_every_tile_gives_the_same(conv_kernel: ModuleType, tile: tuple[int, int]) -> None:
    conv = make_conv(32, 16)
    source, expected, target = (make_slice(1, count, 18, 35) for count in (32, 16, 16))
    SliceConv2d(conv, 0.2)(source, expected)
    conv_kernel.convolution_of_tile(*tile, 1)(conv, 0.2)(source, target)
    torch.testing.assert_close(target, expected, rtol=0, atol=TOLERANCE)


def test_neighbouring_channels_stay_as_they_are(conv_kernel: ModuleType) -> None:
    whole = torch.zeros(1, 64, 9, 9, device=DEVICE, dtype=DTYPE).contiguous(memory_format=torch.channels_last)
    conv_kernel.KernelConv2d(make_conv(16, 16))(make_slice(1, 16, 9, 9), whole[:, 16:32])
    assert whole[:, 16:32].count_nonzero() > 0
    assert whole[:, :16].count_nonzero() == whole[:, 32:].count_nonzero() == 0


def test_a_network_in_kernels(conv_kernel: ModuleType) -> None:
    module = make_rrdb(num_blocks=2, num_features=32, growth=16).to(DEVICE, DTYPE)
    frames = torch.rand(1, 3, 10, 21, device=DEVICE)
    with torch.inference_mode():
        result = grow(module, conv_kernel.KernelConv2d)(frames)
        torch.testing.assert_close(result, module(frames), rtol=0, atol=2 * TOLERANCE)


def test_odd_numbers_of_channels_are_refused(conv_kernel: ModuleType) -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        conv_kernel.KernelConv2d(nn.Conv2d(24, 16, 3, padding=1))


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from vsr.model.conv_kernel import _convolve

constants = dict(TILE_H=8, TILE_W=16, BLOCK_IN=64, BLOCK_OUT=32, NUM_STEPS=9, NUM_RESIDUALS=2)
kinds = dict.fromkeys(("source", "weight", "target", "residual", "outer"), "*fp16")
kinds |= {"bias": "*fp32", "slope": "fp32", "scale": "fp32", **dict.fromkeys(constants, "constexpr")}
names = _convolve.arg_names
source = ASTSource(
    _convolve,
    {name: kinds.get(name, "i32") for name in names},
    {(names.index(name),): value for name, value in constants.items()},
)
for capability in (80, 90):
    kernel = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_stages": 3})
    assert "mma" in kernel.asm["ptx"], "the matrix units are idle"
"""


def test_compiles_without_a_gpu(tmp_path: Path) -> None:
    """To machine code of two generations; the interpreter forgives what the compiler does not."""
    pytest.importorskip("triton", reason="Triton is not installed (it comes with CUDA builds of torch)")
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
