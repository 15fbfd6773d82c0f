"""Patches cover everything that a change can reach, with all that it depends on, and cost less than the frame."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vsr.model.patches import CALL_PIXELS, SMALLEST_SIDE, WORTHWHILE, area_of, plan_patches
from vsr.model.tiling import Span, Tile

BLOCK = 16


@st.composite
def changes(draw: st.DrawFn) -> tuple[np.ndarray, int, int]:
    """(changed blocks, height, width): a few rectangles of blocks, single ones among them."""
    height, width = draw(st.integers(1, 700)), draw(st.integers(1, 700))
    changed = np.zeros((-(-height // BLOCK), -(-width // BLOCK)), bool)
    for _ in range(draw(st.integers(0, 6))):
        top, left = draw(st.integers(0, changed.shape[0] - 1)), draw(st.integers(0, changed.shape[1] - 1))
        changed[top : top + draw(st.integers(1, 5)), left : left + draw(st.integers(1, 5))] = True
    return changed, height, width


def mark(patches: tuple[Tile, ...], height: int, width: int) -> np.ndarray:
    kept = np.zeros((height, width), bool)
    for patch in patches:
        kept[patch.rows.keep_start : patch.rows.keep_stop, patch.cols.keep_start : patch.cols.keep_stop] = True
    return kept


def check_span(span: Span, length: int, context: int, multiple: int) -> None:
    assert 0 <= span.start <= span.keep_start < span.keep_stop <= span.stop <= length
    assert span.keep_start % multiple == 0
    assert span.keep_stop % multiple == 0 or span.keep_stop == length
    assert span.start <= max(0, span.keep_start - context)
    assert span.stop >= min(length, span.keep_stop + context)
    assert span.start % multiple == 0
    assert span.stop % multiple == 0 or span.stop == length
    assert span.stop - span.start >= min(SMALLEST_SIDE, length)


@given(
    film=changes(),
    spread=st.integers(0, 40),
    context=st.integers(0, 40),
    multiple=st.sampled_from([1, 2, 3, 4, 64]),
)
def test_patches_hold_what_changes_reach_and_what_that_depends_on(
    film: tuple[np.ndarray, int, int], spread: int, context: int, multiple: int
) -> None:
    changed, height, width = film
    patches = plan_patches(changed, BLOCK, height, width, spread=spread, context=context, multiple=multiple)
    if patches is None:
        assert changed.any()
        return
    reached = np.zeros((height, width), bool)
    for row, column in zip(*changed.nonzero(), strict=True):
        top, left = max(0, row * BLOCK - spread), max(0, column * BLOCK - spread)
        reached[top : (row + 1) * BLOCK + spread, left : (column + 1) * BLOCK + spread] = True
    assert not (reached & ~mark(patches, height, width)).any()
    for patch in patches:
        check_span(patch.rows, height, context, multiple)
        check_span(patch.cols, width, context, multiple)
    assert sum(map(area_of, patches)) <= WORTHWHILE * height * width
    assert bool(patches) == bool(changed.any())


@given(changed=arrays(np.bool_, (18, 31)))
def test_one_window_around_everything_is_never_cheaper(changed: np.ndarray) -> None:
    patches = plan_patches(changed, BLOCK, 18 * BLOCK, 31 * BLOCK, spread=8, context=8)
    rows, columns = changed.nonzero()
    if not len(rows):
        return
    around = np.zeros_like(changed)
    around[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    one = plan_patches(around, BLOCK, 18 * BLOCK, 31 * BLOCK, spread=8, context=8)
    if one is not None and len(one) == 1:
        assert patches is not None
        assert sum(area_of(p) + CALL_PIXELS for p in patches) <= area_of(one[0]) + CALL_PIXELS


def plan(*blocks: tuple[int, int], height: int = 270, width: int = 480, reach: int = 24) -> tuple[Tile, ...] | None:
    changed = np.zeros((-(-height // BLOCK), -(-width // BLOCK)), bool)
    for row, column in blocks:
        changed[row, column] = True
    return plan_patches(changed, BLOCK, height, width, spread=reach, context=reach)


def test_nothing_changed_needs_nothing() -> None:
    assert plan() == ()


def test_one_block_takes_a_window_around_itself() -> None:
    assert plan((8, 15)) == (Tile(Span(80, 192, 104, 168), Span(192, 304, 216, 280)),)


def test_a_block_in_the_corner_takes_less() -> None:
    assert plan((0, 0)) == (Tile(Span(0, 64, 0, 40), Span(0, 64, 0, 40)),)
    assert plan((16, 29)) == (Tile(Span(206, 270, 232, 270), Span(416, 480, 440, 480)),)


def test_neighbours_share_a_window_and_strangers_do_not() -> None:
    near, far = plan((8, 15), (9, 16)), plan((0, 0), (16, 29), (0, 29))
    assert near is not None
    assert far is not None
    assert (len(near), len(far)) == (1, 3)


def test_changes_on_a_diagonal_are_cut_apart_though_no_row_or_column_is_free() -> None:
    patches = plan(*[(i, i) for i in range(60)], height=960, width=960, reach=8)
    assert patches is not None
    assert len(patches) > 3


def test_too_much_to_be_worthwhile() -> None:
    assert plan(*[(row, column) for row in range(17) for column in range(20)]) is None
    assert plan((8, 15), reach=200) is None, "the network sees nearly everything"


def test_few_sizes_however_films_change() -> None:
    random = np.random.default_rng(0)
    sizes = set()
    for _ in range(2000):
        changed = np.zeros((17, 30), bool)
        top, left = random.integers(0, 17), random.integers(0, 30)
        changed[top : top + random.integers(1, 8), left : left + random.integers(1, 12)] = True
        for patch in plan_patches(changed, BLOCK, 270, 480, spread=24, context=24) or ():
            sizes.add((patch.rows.stop - patch.rows.start, patch.cols.stop - patch.cols.start))
    assert len(sizes) <= 7 * 9


@pytest.mark.parametrize("share", [0.01, 0.5])
def test_planning_takes_no_time(share: float) -> None:
    """Even for 3840x2160 it is a thousandth of what the smallest network takes for such a frame."""
    changed = np.random.default_rng(0).random((135, 240)) < share
    start = time.perf_counter()
    plan_patches(changed, BLOCK, 2160, 3840, spread=24, context=24)
    assert time.perf_counter() - start < 0.1


def test_senseless_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="context=-1"):
        plan_patches(np.zeros((1, 1), bool), BLOCK, 16, 16, spread=0, context=-1)
