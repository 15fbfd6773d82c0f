"""The grid of segments: every instant in one cell, cells without gaps, the same for every run."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

import films
from vsr.video.probe import probe
from vsr.video.reader import Window
from vsr.video.segments import SegmentGrid

times = st.fractions(min_value=-100, max_value=100_000, max_denominator=90_000)
grids = st.builds(SegmentGrid, times, st.fractions(min_value=Fraction(1, 100), max_value=100, max_denominator=1001))


@given(grids, times)
def test_every_instant_lies_in_its_own_cell_and_in_no_other(grid: SegmentGrid, time: Fraction) -> None:
    index = grid.index_of(time)
    assert grid.window_of(index).holds(time)
    assert not grid.window_of(index - 1).holds(time)
    assert not grid.window_of(index + 1).holds(time)


@given(grids, st.integers(-5, 10_000))
def test_cells_meet(grid: SegmentGrid, index: int) -> None:
    assert grid.window_of(index).end == grid.window_of(index + 1).start


def test_the_grid_begins_where_the_film_does_or_the_part(make_film) -> None:
    info = probe(make_film(films.delayed_video).path)
    assert SegmentGrid.of(info, Window()).origin == info.start
    assert SegmentGrid.of(info, Window(Fraction(7), None)).window_of(0).start == 7


def test_films_of_few_pictures_a_second_have_longer_cells(make_film) -> None:
    fast = SegmentGrid.of(probe(make_film(films.silent, "fast.mp4", rate=24).path), Window())
    slow = SegmentGrid.of(probe(make_film(films.silent, "slow.mp4", rate=2, times=4).path), Window())
    assert fast.length == 4
    assert slow.length == 30  # sixty pictures
