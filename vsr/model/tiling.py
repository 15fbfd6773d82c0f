"""Tile plans as pure integers: which windows of a frame a network sees, and what of each result is kept.

A frame's axis is cut into pieces of nearly equal length that cover it exactly once. Around its piece every
tile sees a margin, the *halo*, clipped at the frame's own border, so that the network's zero padding happens
there and nowhere else. With a halo as large as the receptive field's radius, tiled output equals whole-frame
output. Where no such halo exists (attention) or none can be paid for, neighbours overlap by a *ramp* over
which one fades into the other; the weights are integers that sum to `WEIGHT_ONE` exactly, so that a network
that copies its input gives that input back to the last bit.

No torch here: everything is in low-resolution pixels unless its name or docstring says otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from vsr.errors import SettingsError

# A power of two: weights divided by it, and products of two such weights, are exact in float32.
WEIGHT_ONE = 1 << 12

MIN_TILE = 16  # LR pixels; below that a tile is nearly all halo

# Neighbouring tiles of a network whose halo is unknown or too wide see this much of each other and fade over this much.
# Real-ESRGAN's users live with 10 px and hard edges.
BLEND_HALO, BLEND_RAMP = 24, 16


@dataclass(frozen=True, slots=True)
class Span:
    """One tile along one axis.

    The network sees [start, stop). Of its result only [keep_start, keep_stop) is used; the first
    `fade_in` and the last `fade_out` pixels of that are shared with the neighbours before and after.
    """

    start: int
    stop: int
    keep_start: int
    keep_stop: int
    fade_in: int = 0
    fade_out: int = 0

    @property
    def crop(self) -> slice:
        """The kept part, relative to the window."""
        return slice(self.keep_start - self.start, self.keep_stop - self.start)


@dataclass(frozen=True, slots=True)
class Tile:
    """One window of a frame: `rows` along its height, `cols` along its width."""

    rows: Span
    cols: Span


def check_tile(tile: str | int) -> str | int:
    """'auto', 'off' or a side in pixels; digits in a string count as a side.

    Raises:
        SettingsError: anything else, or a side below 16.
    """
    if tile in ("auto", "off"):
        return tile
    side = int(tile) if isinstance(tile, int) or tile.isdecimal() else 0
    if side < MIN_TILE:
        raise SettingsError(f"tile {tile!r} is out of range", hint=f"auto, off, or a side of {MIN_TILE} pixels or more")
    return side


def choose_overlap(side: int, halo: int | None) -> tuple[int, int]:
    """(halo, ramp) for tiles of that side: the exact halo where it costs at most three times the work, else a blend."""
    if halo is not None and 2 * halo <= 0.75 * side:
        return halo, 0
    # A network whose whole receptive field is narrower than the blend's context needs no fading either.
    return (halo, 0) if halo is not None and halo <= BLEND_HALO else (BLEND_HALO, BLEND_RAMP)


def choose_tile(height: int, width: int, num_pixels: float, halo: int | None) -> int | None:
    """Side of the largest tile whose window has at most `num_pixels`; None where the whole frame has no more."""
    if height * width <= num_pixels:
        return None
    window = math.isqrt(max(0, int(num_pixels)))
    side = window - 2 * (halo or 0)
    if halo is None or choose_overlap(max(side, 0), halo) != (halo, 0):
        side = window - 2 * BLEND_HALO - BLEND_RAMP
    return min(max(side, MIN_TILE), max(height, width))


def plan_axis(length: int, side: int, halo: int, *, ramp: int = 0, multiple: int = 1) -> list[Span]:
    """Cut an axis into the fewest nearly equal pieces of at most `side` pixels.

    Args:
        length: pixels on the axis, at least 1.
        side: longest piece, at least 1. With `multiple` > 1 a piece may be longer by up to `multiple` - 1.
        halo: context around what is kept, at least 0.
        ramp: pixels that two neighbours share, half of them on each side of the cut; shortened where
            a piece is shorter than that, and made even.
        multiple: windows begin at multiples of this, and end at one or at the end of the axis, so that
            a network that works on cells of `multiple` pixels finds the cells of the whole frame.

    Returns:
        Spans in order. Without a ramp their kept parts cover [0, length) exactly once.
    """
    if length < 1 or side < 1 or halo < 0 or ramp < 0 or multiple < 1:
        raise ValueError(f"no tile plan for {length=}, {side=}, {halo=}, {ramp=}, {multiple=}")
    num_pieces = math.ceil(length / side)
    # Cutting at multiples keeps the windows from growing by the alignment; short axes give equal cuts, hence the set.
    cuts = sorted({0, length, *(round(i * length / num_pieces / multiple) * multiple for i in range(1, num_pieces))})
    cuts = [cut for cut in cuts if cut <= length]
    shortest = min(after - before for before, after in pairwise(cuts))
    half = min(ramp, shortest) // 2
    spans = []
    for before, after in pairwise(cuts):
        fade_in = half if before > 0 else 0
        fade_out = half if after < length else 0
        keep_start, keep_stop = before - fade_in, after + fade_out
        start = max(0, keep_start - halo) // multiple * multiple
        stop = min(length, -(-(keep_stop + halo) // multiple) * multiple)
        spans.append(Span(start, stop, keep_start, keep_stop, 2 * fade_in, 2 * fade_out))
    return spans


def plan_tiles(height: int, width: int, side: int, halo: int, *, ramp: int = 0, multiple: int = 1) -> list[Tile]:
    """Tiles of a frame in raster order; see `plan_axis` for the arguments.

    Raises:
        ValueError: a size below 1 or a negative halo or ramp.
    """
    rows = plan_axis(height, side, halo, ramp=ramp, multiple=multiple)
    cols = plan_axis(width, side, halo, ramp=ramp, multiple=multiple)
    return [Tile(row, col) for row in rows for col in cols]


def blend_weights(span: Span, scale: int) -> list[int]:
    """Weights of a tile's kept output pixels along one axis, each in 0..`WEIGHT_ONE`.

    A raised cosine over the shared pixels. Two neighbours' weights at the same output pixel sum to
    `WEIGHT_ONE` exactly, because the one that fades out takes what the other leaves.

    Args:
        scale: output pixels per pixel of the plan.

    Returns:
        (keep_stop - keep_start) * scale integers.
    """
    fade_in = fade_weights(span.fade_in * scale)
    fade_out = [WEIGHT_ONE - weight for weight in fade_weights(span.fade_out * scale)]
    num_whole = (span.keep_stop - span.keep_start) * scale - len(fade_in) - len(fade_out)
    return [*fade_in, *[WEIGHT_ONE] * num_whole, *fade_out]


def fade_weights(num_pixels: int) -> list[int]:
    """A raised cosine from 0 towards `WEIGHT_ONE`, sampled at pixel centres."""
    return [round(WEIGHT_ONE * (0.5 - 0.5 * math.cos(math.pi * (i + 0.5) / num_pixels))) for i in range(num_pixels)]
