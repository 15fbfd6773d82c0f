"""Tile plans: geometry over all sizes, among them 1x1, odd and prime ones."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr.model.tiling import (
    MIN_TILE,
    WEIGHT_ONE,
    blend_weights,
    choose_overlap,
    choose_tile,
    fade_weights,
    plan_axis,
    plan_tiles,
)

lengths = st.integers(1, 300) | st.sampled_from([1, 2, 3, 7, 97, 127, 1009, 1080, 1920])
sides = st.integers(1, 130)
halos = st.integers(0, 60)
ramps = st.integers(0, 40)
multiples = st.sampled_from([1, 2, 4, 8])


@given(lengths, sides, halos, multiples)
def test_kept_parts_cover_the_axis_exactly_once(length: int, side: int, halo: int, multiple: int) -> None:
    spans = plan_axis(length, side, halo, multiple=multiple)
    assert [x for span in spans for x in range(span.keep_start, span.keep_stop)] == list(range(length))


@given(lengths, sides, halos, ramps, multiples)
def test_windows_hold_the_halo_up_to_the_border(length: int, side: int, halo: int, ramp: int, multiple: int) -> None:
    for span in plan_axis(length, side, halo, ramp=ramp, multiple=multiple):
        assert 0 <= span.start <= span.keep_start < span.keep_stop <= span.stop <= length
        assert span.start == 0 or span.keep_start - span.start >= halo
        assert span.stop == length or span.stop - span.keep_stop >= halo


@given(lengths, sides, halos, ramps, multiples)
def test_windows_stand_on_the_cells_of_the_whole_frame(
    length: int, side: int, halo: int, ramp: int, multiple: int
) -> None:
    for span in plan_axis(length, side, halo, ramp=ramp, multiple=multiple):
        assert span.start % multiple == 0
        assert span.stop % multiple == 0 or span.stop == length


@given(lengths, sides, halos, ramps, multiples)
def test_windows_are_bounded(length: int, side: int, halo: int, ramp: int, multiple: int) -> None:
    longest = side + 2 * halo + 2 * (ramp // 2) + 3 * (multiple - 1)
    assert all(s.stop - s.start <= longest for s in plan_axis(length, side, halo, ramp=ramp, multiple=multiple))


@given(lengths, sides)
def test_pieces_are_few_and_nearly_equal(length: int, side: int) -> None:
    pieces = [span.keep_stop - span.keep_start for span in plan_axis(length, side, 0)]
    assert len(pieces) == -(-length // side)
    assert max(pieces) <= side
    assert max(pieces) - min(pieces) <= 1


@given(lengths, sides, halos, ramps, multiples, st.integers(1, 4))
def test_blend_weights_sum_to_one_everywhere(
    length: int, side: int, halo: int, ramp: int, multiple: int, scale: int
) -> None:
    total = [0] * (length * scale)
    for span in plan_axis(length, side, halo, ramp=ramp, multiple=multiple):
        weights = blend_weights(span, scale)
        assert len(weights) == (span.keep_stop - span.keep_start) * scale
        assert all(0 <= weight <= WEIGHT_ONE for weight in weights)
        for x, weight in enumerate(weights, span.keep_start * scale):
            total[x] += weight
    assert set(total) == {WEIGHT_ONE}


@given(st.integers(1, 400))
def test_a_fade_rises_and_is_symmetric(num_pixels: int) -> None:
    weights = fade_weights(num_pixels)
    assert all(before <= after for before, after in pairwise(weights))
    assert all(abs(a + b - WEIGHT_ONE) <= 1 for a, b in zip(weights, reversed(weights), strict=True))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 15), st.integers(0, 9), multiples)
def test_tiles_cover_the_frame_exactly_once(height: int, width: int, side: int, halo: int, multiple: int) -> None:
    seen = [
        (y, x)
        for tile in plan_tiles(height, width, side, halo, multiple=multiple)
        for y in range(tile.rows.keep_start, tile.rows.keep_stop)
        for x in range(tile.cols.keep_start, tile.cols.keep_stop)
    ]
    assert len(seen) == height * width
    assert len(set(seen)) == height * width


def test_crop_is_relative_to_the_window() -> None:
    first, second = plan_axis(100, 50, 8)
    assert (first.start, first.stop, first.crop) == (0, 58, slice(0, 50))
    assert (second.start, second.stop, second.crop) == (42, 100, slice(8, 58))


def test_a_frame_that_fits_is_one_tile() -> None:
    (tile,) = plan_tiles(1, 1, 64, 17, ramp=16, multiple=4)
    assert (tile.rows.start, tile.rows.stop, tile.rows.keep_start, tile.rows.keep_stop) == (0, 1, 0, 1)
    assert tile.rows == tile.cols


@pytest.mark.parametrize(
    ("length", "side", "halo", "ramp", "multiple"),
    [(0, 8, 0, 0, 1), (8, 0, 0, 0, 1), (8, 8, -1, 0, 1), (8, 8, 0, -1, 1), (8, 8, 0, 0, 0)],
)
def test_nonsense_is_refused(length: int, side: int, halo: int, ramp: int, multiple: int) -> None:
    with pytest.raises(ValueError, match="no tile plan"):
        plan_axis(length, side, halo, ramp=ramp, multiple=multiple)


@pytest.mark.parametrize("halo", [None, 0, 5, 18, 350])
@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(2_000_000 // 256, 2_000_000))
def test_an_automatic_tile_fits(halo: int | None, height: int, width: int, num_pixels: int) -> None:
    side = choose_tile(height, width, num_pixels, halo)
    if side is None:
        assert height * width <= num_pixels
    elif side > MIN_TILE:
        context, ramp = choose_overlap(side, halo)
        assert (side + 2 * context + ramp) ** 2 <= num_pixels
