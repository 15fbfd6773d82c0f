from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import films
from vsr.api import make_upscaler
from vsr.errors import SourceError
from vsr.pipeline.cells import Cells, _cut, deal_out, find_misfits, read_cells
from vsr.pipeline.journal import Entry, Facts
from vsr.pipeline.plan import FilmPlan, plan_film
from vsr.pipeline.work_folder import Gap
from vsr.settings import Settings
from vsr.video.damage import Damage
from vsr.video.landmarks import Landmark, Landmarks, Span
from vsr.video.reader import Reader
from vsr.video.segment_file import SegmentFile
from vsr.video.segments import SegmentGrid

WHOLE = [Gap(None, None)]


@given(
    start=st.none() | st.integers(0, 50), length=st.none() | st.integers(1, 50), last=st.none() | st.integers(0, 120),
    num_cells=st.integers(1, 9),
)  # fmt: skip
def test_cells_are_dealt_out_without_gap_or_overlap(
    start: int | None, length: int | None, last: int | None, num_cells: int
) -> None:
    stop = None if length is None else (start or 0) + length
    runs = _cut(start, stop, last, num_cells)
    assert (runs[0].start, runs[-1].stop) == (start, stop)
    assert all(one.stop is not None and one.stop == later.start for one, later in pairwise(runs))
    lengths = [run.stop - (run.start or 0) for run in runs if run.stop is not None]
    assert all(0 < length <= num_cells for length in lengths if last is not None or stop is not None)


@pytest.fixture
def plan(tiny_weights: Path, tmp_path: Path) -> Callable[..., FilmPlan]:
    upscaler = make_upscaler(Settings(model=str(tiny_weights), device="cpu"))

    def make(film: films.Film, **settings: Any) -> FilmPlan:
        return plan_film(film.path, tmp_path / "out.mkv", Settings(model=str(tiny_weights), **settings), upscaler)

    return make


def read(plan: FilmPlan, runs: list[Cells]) -> tuple[list[int], list[tuple[int, Span]]]:
    """The times of all pictures, and what lies in each cell, run by run."""
    grid = SegmentGrid.of(plan.info, plan.output.window)
    times, spans = [], []
    for cells in runs:
        landmarks = Landmarks(grid)
        read = [picture.pts for picture in read_cells(plan, cells, landmarks)]
        times += read
        spans += [
            (index, landmarks.take(index))
            for index in sorted({grid.index_of(pts * plan.info.time_base) for pts in read})
        ]
    return times, spans


@pytest.mark.parametrize(
    "recipe", [films.plain, films.b_frames, films.ten_bit, films.mpeg_ts, films.late_clock, films.interlaced]
)
def test_a_film_read_in_runs_is_the_film_read_at_once(
    recipe: Callable[..., films.Film], plan: Callable[..., FilmPlan], make_film: Callable[..., films.Film]
):
    film = make_film(recipe, "film.ts" if recipe in (films.mpeg_ts, films.late_clock) else "film.mp4", times=400)
    one = plan(film)
    runs = deal_out(one, WHOLE, 1)
    assert len(runs) >= 4
    whole = [picture.pts for picture in Reader(one.info).pictures()]
    times, spans = read(one, runs)
    assert times == whole
    assert spans == read(one, [Cells(None, None)])[1]
    assert [span.begins_film for _, span in spans] == [True] + [False] * (len(spans) - 1)
    assert all(earlier.after == later.first for (_, earlier), (_, later) in pairwise(spans))
    assert spans[-1][1].after is None


def test_a_part_of_a_film(plan: Callable[..., FilmPlan], make_film: Callable[..., films.Film]):
    one = plan(make_film(films.plain, times=400), start=Fraction(2), duration=Fraction(10))
    runs = deal_out(one, WHOLE, 2)
    times, _ = read(one, runs)
    assert len(runs) == 2
    assert [pts * one.info.time_base for pts in times] == [2 + Fraction(index, 24) for index in range(240)]


def test_what_an_earlier_run_has_done_is_left_out(plan: Callable[..., FilmPlan], make_film: Callable[..., films.Film]):
    one = plan(make_film(films.plain, times=400))
    ticks = 4 / one.info.time_base
    gaps = [Gap(None, Landmark(int(ticks), 1)), Gap(Landmark(int(3 * ticks), 1), None)]
    assert deal_out(one, gaps, 1) == [Cells(None, 1), Cells(3, 4), Cells(4, None)]


def test_films_that_cannot_be_entered_come_in_one_piece(
    plan: Callable[..., FilmPlan], make_film: Callable[..., films.Film]
):
    assert deal_out(plan(make_film(films.avi_b_frames, "film.avi", times=400)), WHOLE, 1) == [Cells(None, None)]
    assert deal_out(plan(make_film(films.no_duration, "film.mkv", times=400)), WHOLE, 1) == [Cells(None, None)]


def test_a_film_shorter_than_it_says(plan: Callable[..., FilmPlan], make_film: Callable[..., films.Film]):
    one = plan(make_film(films.plain, times=240))
    assert read(one, [Cells(None, 2), Cells(2, 3), Cells(3, 9), Cells(9, None)]) == read(one, [Cells(None, None)])


def test_a_film_that_is_gone_is_an_error_wherever_it_is_entered(
    plan: Callable[..., FilmPlan], make_film: Callable[..., films.Film]
):
    film = make_film(films.plain, times=240)
    one = plan(film)
    film.path.unlink()
    for cells in (Cells(None, 1), Cells(1, 2)):
        with pytest.raises(SourceError, match="does not exist"):
            read(one, [cells])


def entry(index: int, first: int, after: int | None, *, begins_film: bool = False) -> Entry:
    span = Span(Landmark(first, 0), None if after is None else Landmark(after, 0), begins_film, Damage())
    return Entry(index, SegmentFile(Path(f"{index}"), 1, 1, 1, 1), span, Facts())


def test_segments_that_do_not_fit_are_made_again_from_the_beginning():
    runs = [Cells(None, 2), Cells(2, 4), Cells(4, None)]
    good = [entry(0, 0, 9, begins_film=True), entry(1, 9, 20), entry(2, 20, 31), entry(4, 31, None)]
    assert find_misfits(runs, good) == []
    assert find_misfits(runs, [*good[:2], entry(2, 21, 31), good[3]]) == [Cells(2, 4, enter=False)]
    assert find_misfits(runs, [*good[:3], entry(4, 32, None)]) == [Cells(4, None, enter=False)]


def test_a_film_that_begins_later_than_its_first_cells():
    runs = [Cells(None, 2), Cells(2, None)]
    late = [entry(3, 60, None)]
    assert find_misfits(runs, late) == [Cells(None, None, enter=False)]
    assert find_misfits(runs, [replace(late[0], span=replace(late[0].span, begins_film=True))]) == []
