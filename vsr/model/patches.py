"""Which windows of a frame to compute anew where only some of its blocks have changed; pure integers.

A change spreads: the network's receptive field and the chroma filters before and after it carry it further. What may
look otherwise than before is *kept* of a patch; to compute that right, the network's *window* shows its context too.
A window costs its pixels and something for the call, so that changes near each other share one.

Windows come in few sizes, so that whoever checks a size before he trusts it (see `vsr.model.exactness`) has little
to do. They are never small: below some 48 pixels oneDNN's convolutions in bf16 take another way, and sum in another
order, than for whole frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from vsr.model.tiling import Span, Tile

__all__ = ["area_of", "plan_patches"]

Blocks = npt.NDArray[np.bool_]

# The sides of windows are multiples of this: 64, 80, 112, 144, 192, 240, 304, 384, 480 ...
SIDE_GRID, SMALLEST_SIDE, GROWTH = 16, 64, 1.25

# As many pixels could be computed in the time that a call takes by itself: 2200 to 2900 with `fast` in bf16 on a core.
CALL_PIXELS = 2560
WORTHWHILE = 0.7  # patches that take more than this part of the whole frame's work are not worth their seams
MAX_CUTS = 4  # cuts one inside the other: at most 16 windows


def plan_patches(
    changed: Blocks, block: int, height: int, width: int, *, spread: int, context: int, multiple: int = 1
) -> tuple[Tile, ...] | None:
    """Windows to compute again, in which everything lies that the changed blocks can have an influence on.

    Args:
        changed: truth values of blocks of `block` x `block` pixels, in rows and columns.
        height, width: of the frame, in pixels.
        spread: how far from a change something may look otherwise, in pixels.
        context: how far from a pixel lies what it depends on, in pixels.
        multiple: windows, and what is kept of them, begin at multiples of this and end at one or at the border.

    Returns:
        Tiles without fades; what they keep may overlap. Empty: nothing has changed. None: the whole frame is as cheap.
    """
    if block < 1 or spread < 0 or context < 0 or multiple < 1:
        raise ValueError(f"no patches for {block=}, {spread=}, {context=}, {multiple=}")

    def place(box: _Box) -> Tile:
        spans = []
        for first, stop, length in ((*box[:2], height), (*box[2:], width)):
            keep_start = max(0, first * block - spread) // multiple * multiple
            keep_stop = min(length, _round_up(stop * block + spread, multiple))
            start, end = _place_window(max(0, keep_start - context), min(length, keep_stop + context), length, multiple)
            spans.append(Span(start, end, keep_start, keep_stop))
        return Tile(*spans)

    patches = [place(box) for box in _divide(changed, (0, 0), 2 * (spread + context) / block, place, MAX_CUTS)]
    cost = sum(map(_cost_of, patches))
    return tuple(patches) if cost <= WORTHWHILE * height * width or not patches else None


def area_of(patch: Tile) -> int:
    """Pixels that the network has to see."""
    return (patch.rows.stop - patch.rows.start) * (patch.cols.stop - patch.cols.start)


def _cost_of(patch: Tile) -> int:
    return area_of(patch) + CALL_PIXELS


# --- one axis ---


def _place_window(first: int, stop: int, length: int, multiple: int) -> tuple[int, int]:
    """The smallest window on an axis of `length` pixels that holds [first, stop): its (start, stop)."""
    start = first // multiple * multiple
    for side in _list_sides(length, multiple):
        if start + side >= stop:
            if start + side <= length:
                return start, start + side
            # It would stick out: against the border with it, which may make it longer by less than `multiple`.
            return (length - side) // multiple * multiple, length
    return 0, length


def _list_sides(length: int, multiple: int) -> Iterator[int]:
    grid = math.lcm(SIDE_GRID, multiple)
    side = _round_up(SMALLEST_SIDE, grid)
    while side < length:
        yield side
        side = _round_up(math.ceil(side * GROWTH), grid)


def _round_up(number: int, grid: int) -> int:
    return -(-number // grid) * grid


# --- the plane: guillotine cuts ---

_Box = tuple[int, int, int, int]  # top, bottom, left, right, in blocks


def _divide(
    changed: Blocks, origin: tuple[int, int], growth: float, place: Callable[[_Box], Tile], num_cuts: int
) -> list[_Box]:
    """Boxes around all that has changed: one, or those on both sides of the best cut if their windows cost less.

    Args:
        origin: place of `changed` in the frame, in blocks.
        growth: blocks that a window is longer than its box, on either axis.
        place: box -> the window that it takes.
    """
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    if not len(rows):
        return []
    top, bottom, left, right = (int(edge) for edge in (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))
    box = (origin[0] + top, origin[0] + bottom, origin[1] + left, origin[1] + right)
    if num_cuts == 0 or (bottom - top, right - left) == (1, 1):
        return [box]
    inside = changed[top:bottom, left:right]
    down, across = _find_cut(inside, growth), _find_cut(inside.T, growth)
    if down <= across:
        parts = [(inside[: down[1]], (box[0], box[2])), (inside[down[1] :], (box[0] + down[1], box[2]))]
    else:
        parts = [(inside[:, : across[1]], (box[0], box[2])), (inside[:, across[1] :], (box[0], box[2] + across[1]))]
    boxes = [found for part, place_of in parts for found in _divide(part, place_of, growth, place, num_cuts - 1)]
    return boxes if sum(_cost_of(place(found)) for found in boxes) < _cost_of(place(box)) else [box]


def _find_cut(changed: Blocks, growth: float) -> tuple[float, int]:
    """The cut between two rows that leaves the smallest windows: (their blocks, rows above it); inf where none is.

    Args:
        changed: at least one block in its first and in its last row.
    """
    if len(changed) < 2:
        return math.inf, 0
    above = _list_areas(changed, growth)[:-1]
    below = _list_areas(changed[::-1], growth)[:-1][::-1]
    areas = above + below
    best = int(areas.argmin())
    return float(areas[best]), best + 1


def _list_areas(changed: Blocks, growth: float) -> npt.NDArray[np.float64]:
    """For 1, 2, 3 ... rows from the first: blocks of the window around what has changed in them."""
    width = changed.shape[1]
    is_any = changed.any(1)
    first = np.where(is_any, changed.argmax(1), width)
    stop = np.where(is_any, width - changed[:, ::-1].argmax(1), 0)
    widths = np.maximum.accumulate(stop) - np.minimum.accumulate(first)
    heights = np.maximum.accumulate(np.where(is_any, np.arange(len(changed)) + 1, 0))
    return (heights + growth) * (widths + growth)
