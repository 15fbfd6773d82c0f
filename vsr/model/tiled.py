"""A placed network over a frame in tiles, put together again."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vsr.model.network import Network
from vsr.model.tiling import WEIGHT_ONE, Span, Tile, blend_weights, choose_overlap, plan_tiles

__all__ = ["largest_window", "run_in_tiles"]


def largest_window(height: int, width: int, network: Network, side: int) -> tuple[int, int]:
    """(height, width) of the largest input that `run_in_tiles` gives the network."""
    halo, ramp = choose_overlap(side, network.halo)
    tiles = plan_tiles(height, width, side, halo, ramp=ramp, multiple=network.multiple)
    rows = max(tile.rows.stop - tile.rows.start for tile in tiles)
    return rows, max(tile.cols.stop - tile.cols.start for tile in tiles)


def run_in_tiles(
    forward: Callable[[Tensor], Tensor], frames_BCHW: Tensor, network: Network, side: int, scale: int
) -> Tensor:
    """What `forward` gives for whole frames, computed tile by tile.

    Args:
        forward: B,3,h,w -> B,C,h*scale,w*scale.
        side: longest side of what is kept of a tile, in pixels of the input.

    Returns:
        B,C,H*scale,W*scale: exactly what whole frames give where the halo can be had, blended elsewhere.
    """
    height, width = frames_BCHW.shape[-2:]
    halo, ramp = choose_overlap(side, network.halo)
    result: Tensor | None = None
    for tile in plan_tiles(height, width, side, halo, ramp=ramp, multiple=network.multiple):
        window = frames_BCHW[..., tile.rows.start : tile.rows.stop, tile.cols.start : tile.cols.stop]
        output = forward(window)
        if result is None:
            size = (height * scale, width * scale)
            # Where tiles fade into each other they are added up, which half precision is too coarse for.
            dtype = torch.float32 if ramp else output.dtype
            result = torch.zeros((*output.shape[:2], *size), dtype=dtype, device=output.device)
        _place_tile(result, output, tile, scale)
    assert result is not None
    return result


def _place_tile(result: Tensor, output: Tensor, tile: Tile, scale: int) -> None:
    kept = output[..., _times(tile.rows.crop, scale), _times(tile.cols.crop, scale)]
    target = result[
        ...,
        tile.rows.keep_start * scale : tile.rows.keep_stop * scale,
        tile.cols.keep_start * scale : tile.cols.keep_stop * scale,
    ]
    if not any((tile.rows.fade_in, tile.rows.fade_out, tile.cols.fade_in, tile.cols.fade_out)):
        target.copy_(kept)
        return
    weights = _weights(tile.rows, scale, result.device).unsqueeze(1) * _weights(tile.cols, scale, result.device)
    target.addcmul_(kept, weights)


def _weights(span: Span, scale: int, device: torch.device) -> Tensor:
    return torch.tensor(blend_weights(span, scale), dtype=torch.float32, device=device) / WEIGHT_ONE


def _times(part: slice, scale: int) -> slice:
    return slice(part.start * scale, part.stop * scale)
