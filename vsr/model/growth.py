"""RRDBNet for inference: dense blocks that grow in one buffer instead of being concatenated.

A dense block's five convolutions see 64, 96, 128, 160 and 192 channels of the same pixels. `torch.cat` copies them anew
for each; here they lie in one channels-last buffer from the start, and every convolution reads its first channels and
writes the next ones behind them. Where the convolution does that in one kernel (`vsr.model.conv_kernel`), a block of 64
features moves 896 values per pixel through memory instead of 2,432, and memory is what bounds it on a large GPU.

The training and export form, `vsr.model.rrdb`, stays the one definition of the network; this form is made from it.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsr.model.rrdb import RESIDUAL_SCALE, RRDB, SLOPE, DenseBlock, RRDBNet

__all__ = ["SliceConv2d", "grow"]


class SliceConv2d(nn.Module):
    """A 3x3 convolution that reads a slice of channels, and writes another, with what follows it in the network.

    This one is made of torch's operators and runs anywhere; its results are those of `nn.Conv2d` to the bit. On CUDA
    `vsr.model.conv_kernel` has one that needs no copies.

    Args:
        conv: 3x3, "same" zero padding, stride 1, one group, with bias; its weights are shared, not copied.
        slope: of the LeakyReLU behind it; None for none.
    """

    def __init__(self, conv: nn.Conv2d, slope: float | None = None) -> None:
        super().__init__()
        if conv.kernel_size != (3, 3) or conv.padding != (1, 1) or conv.bias is None:
            raise ValueError(f"not a 3x3 convolution with bias that keeps the size: {conv}")
        self.conv, self.slope = conv, slope

    def forward(
        self, source_BCHW: Tensor, target_BCHW: Tensor, residual_BCHW: Tensor | None = None, outer: Tensor | None = None
    ) -> None:
        """Fill `target_BCHW` with act(conv(source)); with `residual_BCHW` (B,C,H,W as the target) with that + 0.2 x it;
        with `outer` as well with outer + 0.2 x (residual + 0.2 x conv(source)).

        Args:
            source_BCHW: B,Cin,H,W, may be a slice of channels, and lies nowhere under the target.
            target_BCHW: B,Cout,H,W of the same dtype and device, may be a slice of channels.
        """
        values = self.conv(source_BCHW)
        if self.slope is not None:
            F.leaky_relu_(values, self.slope)
        if residual_BCHW is not None:
            values = torch.add(residual_BCHW, values, alpha=RESIDUAL_SCALE)
        if outer is not None:
            values = torch.add(outer, values, alpha=RESIDUAL_SCALE)
        target_BCHW.copy_(values)


class _GrowingBlock(nn.Module):
    """A dense block whose input lies in the first channels of a growth buffer."""

    def __init__(self, block: DenseBlock, convolution: type[SliceConv2d]) -> None:
        super().__init__()
        convs = (block.conv1, block.conv2, block.conv3, block.conv4)
        self.growing = nn.ModuleList(convolution(conv, SLOPE) for conv in convs)
        self.last = convolution(block.conv5)
        self.num_features, self.growth = block.conv5.out_channels, block.conv1.out_channels

    def forward(self, buffer_BCHW: Tensor, target_BCHW: Tensor, outer: Tensor | None = None) -> None:
        seen = self.num_features
        for conv in self.growing:
            conv(buffer_BCHW[:, :seen], buffer_BCHW[:, seen : seen + self.growth])
            seen += self.growth
        self.last(buffer_BCHW, target_BCHW, buffer_BCHW[:, : self.num_features], outer)


class _GrowingTrunk(nn.Module):
    """The RRDBs of a network in three growth buffers that take turns.

    Three, because a block reads one and writes its result into another, while the input of the RRDB around it, wanted
    at its end, waits in the third.
    """

    def __init__(self, blocks: nn.Sequential, convolution: type[SliceConv2d]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for block in blocks:
            assert isinstance(block, RRDB)
            self.blocks.append(
                nn.ModuleList(_GrowingBlock(dense, convolution) for dense in (block.rdb1, block.rdb2, block.rdb3))
            )
        first = blocks[0]
        assert isinstance(first, RRDB)
        self.num_features = first.rdb1.conv5.out_channels
        self.num_channels = first.rdb1.conv5.in_channels

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """B,C,H,W -> the same shape, a slice of a fresh buffer."""
        batch, _, height, width = features_BCHW.shape
        first, second, third = (
            torch.empty(
                (batch, self.num_channels, height, width),
                dtype=features_BCHW.dtype,
                device=features_BCHW.device,
                memory_format=torch.channels_last,
            )
            for _ in range(3)
        )
        kept = slice(0, self.num_features)
        first[:, kept].copy_(features_BCHW)
        for block in self.blocks:
            assert isinstance(block, nn.ModuleList)
            block[0](first, second[:, kept])
            block[1](second, third[:, kept])
            block[2](third, second[:, kept], first[:, kept])
            first, second, third = second, third, first
        return first[:, kept]


def grow(module: RRDBNet, convolution: type[SliceConv2d] = SliceConv2d) -> RRDBNet:
    """The same network with its trunk in growth buffers, for inference alone: nothing in it can be differentiated.

    Args:
        module: on its device and in its dtype already; not changed, its trunk's weights may be shared.
        convolution: what reads and writes the slices.
    """
    body, grown = module.body, copy.copy(module)
    # A shallow copy shares the table of submodules; the original must keep its trunk.
    grown._modules = dict(module._modules)
    grown.body = _GrowingTrunk(body, convolution)  # type: ignore[assignment]
    return grown
