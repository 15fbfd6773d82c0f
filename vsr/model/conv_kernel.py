"""A 3x3 convolution for CUDA that reads one slice of channels and writes another, activation and residuals included.

cuDNN as torch calls it copies a slice to contiguous memory first, and leaves the activation to a second pass. This
Triton kernel is an implicit GEMM: a program has a tile of pixels and a block of output channels, goes through the nine
taps of every block of input channels, multiplies on the matrix units (half precision in, float32 sums) and finishes
with bias, LeakyReLU and residuals in float32 before the one store.

Triton comes with CUDA builds of torch on Linux; where it is missing, importing this file is an ImportError, so it is
imported inside functions only. The arithmetic is tested in Triton's interpreter on a CPU, and Triton 3.6 compiles it
for compute capabilities 8.0 and 9.0 without register spills; not yet run on a GPU.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor, nn

from vsr.model.growth import SliceConv2d
from vsr.model.rrdb import RESIDUAL_SCALE

__all__ = ["KernelConv2d", "convolution_of_tile"]

# Output channels that one program makes at most: more would spill the float32 sums of a tile of 256 pixels.
MAX_BLOCK_OUT = 64


@triton.jit  # type: ignore[untyped-decorator]
def _convolve(  # type: ignore[no-untyped-def]  # Triton compiles annotations too
    source,
    weight,
    bias,
    target,
    residual,
    outer,
    height,
    width,
    num_blocks,
    source_B,
    source_H,
    source_W,
    target_B,
    target_H,
    target_W,
    residual_B,
    residual_H,
    residual_W,
    outer_B,
    outer_H,
    outer_W,
    slope,
    scale,
    TILE_H: tl.constexpr,
    TILE_W: tl.constexpr,
    BLOCK_IN: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
    NUM_STEPS: tl.constexpr,
    NUM_RESIDUALS: tl.constexpr,
):
    # 64 bits wherever a picture is crossed: eight frames of 1080p in 192 channels have 3.2e9 values.
    image = (tl.program_id(2) // num_blocks).to(tl.int64)
    block = tl.program_id(2) % num_blocks
    pixel = tl.arange(0, TILE_H * TILE_W)
    rows = tl.program_id(1) * TILE_H + pixel // TILE_W
    cols = tl.program_id(0) * TILE_W + pixel % TILE_W
    inputs = tl.arange(0, BLOCK_IN)
    outputs = tl.arange(0, BLOCK_OUT)
    source += image * source_B
    weight += block * NUM_STEPS * BLOCK_IN * BLOCK_OUT
    weights = weight + inputs[:, None] * BLOCK_OUT + outputs[None, :]
    sums = tl.full((TILE_H * TILE_W, BLOCK_OUT), 0.0, dtype=tl.float32)
    for step in range(NUM_STEPS):
        tap = step % 9
        row = rows + tap // 3 - 1
        col = cols + tap % 3 - 1
        is_inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
        place = row.to(tl.int64) * source_H + col * source_W + (step // 9) * BLOCK_IN
        values = tl.load(source + place[:, None] + inputs[None, :], mask=is_inside[:, None], other=0.0)
        taps = tl.load(weights + step * BLOCK_IN * BLOCK_OUT)
        sums = tl.dot(values, taps, sums, input_precision="ieee")
    channels = block * BLOCK_OUT + outputs
    sums += tl.load(bias + channels)[None, :]
    sums = tl.where(sums > 0, sums, sums * slope)
    is_inside = ((rows < height) & (cols < width))[:, None]
    rows = rows.to(tl.int64)
    if NUM_RESIDUALS >= 1:
        place = image * residual_B + rows * residual_H + cols * residual_W
        sums = tl.load(residual + place[:, None] + channels[None, :], mask=is_inside, other=0.0) + scale * sums
    if NUM_RESIDUALS >= 2:
        place = image * outer_B + rows * outer_H + cols * outer_W
        sums = tl.load(outer + place[:, None] + channels[None, :], mask=is_inside, other=0.0) + scale * sums
    place = image * target_B + rows * target_H + cols * target_W
    tl.store(target + place[:, None] + channels[None, :], sums.to(target.dtype.element_ty), mask=is_inside)


class KernelConv2d(SliceConv2d):
    """`SliceConv2d` in one kernel. Not yet run on a GPU.

    Slices must have channels as their innermost dimension (channels-last), and both numbers of channels must be
    multiples of 16. The sums differ from cuDNN's by their order, and the epilogue rounds once instead of three times.

    Raises:
        ValueError: another number of channels.
    """

    tile = (8, 16)
    """Rows and columns of pixels of a program; their product a power of two from 64 to 256."""
    num_stages = 3
    """Blocks of input on their way to shared memory at once; 1: loads go through the first-level cache instead."""

    def __init__(self, conv: nn.Conv2d, slope: float | None = None) -> None:
        super().__init__(conv, slope)
        if conv.in_channels % 16 or conv.out_channels % 16:
            raise ValueError(f"the kernel takes multiples of 16 channels, not {conv.in_channels}, {conv.out_channels}")
        self.block_in = _largest_power(conv.in_channels, 64)
        self.block_out = _largest_power(conv.out_channels, MAX_BLOCK_OUT)
        self.num_steps = 9 * conv.in_channels // self.block_in
        self.register_buffer("packed", _pack(conv.weight.detach(), self.block_in, self.block_out), persistent=False)
        assert conv.bias is not None
        self.register_buffer("bias", conv.bias.detach().float(), persistent=False)

    def forward(
        self, source_BCHW: Tensor, target_BCHW: Tensor, residual_BCHW: Tensor | None = None, outer: Tensor | None = None
    ) -> None:
        batch, channels, height, width = target_BCHW.shape
        tile_h, tile_w = self.tile
        num_blocks = channels // self.block_out
        slices = [source_BCHW, target_BCHW]
        # A kernel takes no None: what is not there is the target, and is not read.
        slices += [target_BCHW if extra is None else extra for extra in (residual_BCHW, outer)]
        assert all(part.stride(1) == 1 for part in slices), "slices must be channels-last"
        strides = [part.stride(dim) for part in slices for dim in (0, 2, 3)]
        _convolve[(triton.cdiv(width, tile_w), triton.cdiv(height, tile_h), batch * num_blocks)](
            source_BCHW,
            self.packed,
            self.bias,
            *slices[1:],
            height,
            width,
            num_blocks,
            *strides,
            1.0 if self.slope is None else self.slope,
            RESIDUAL_SCALE,
            TILE_H=tile_h,
            TILE_W=tile_w,
            BLOCK_IN=self.block_in,
            BLOCK_OUT=self.block_out,
            NUM_STEPS=self.num_steps,
            NUM_RESIDUALS=sum(extra is not None for extra in (residual_BCHW, outer)),
            num_warps=8 if tile_h * tile_w > 128 else 4,
            num_stages=self.num_stages,
        )


def convolution_of_tile(height: int, width: int, stages: int) -> type[KernelConv2d]:
    """`KernelConv2d` with other tiles than usual: which are fastest depends on the chip, and is measured there."""

    class TiledConv2d(KernelConv2d):
        tile = (height, width)
        num_stages = stages

    return TiledConv2d


def _pack(weight_OIHW: Tensor, block_in: int, block_out: int) -> Tensor:
    """Weights in the order in which the kernel reads them: output block, input block, tap, input, output."""
    out_channels, in_channels = weight_OIHW.shape[:2]
    blocks = weight_OIHW.reshape(out_channels // block_out, block_out, in_channels // block_in, block_in, 9)
    return blocks.permute(0, 2, 4, 3, 1).contiguous()


def _largest_power(number: int, most: int) -> int:
    """The largest power of two that divides `number`, up to `most`."""
    return min(number & -number, most)
