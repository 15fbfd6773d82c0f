"""Decoding times for packets in any order: ascending, never after presentation, as late as can be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, pairwise

from hypothesis import given
from hypothesis import strategies as st

from vsr.video.decoding_order import assign_decoding_times, find_delay


@st.composite
def films(draw: st.DrawFn) -> list[list[int]]:
    """Segments of packets, shuffled a few places off their order of presentation within each."""
    start, segments = draw(st.integers(-1000, 1000)), []
    for size in draw(st.lists(st.integers(1, 12), min_size=1, max_size=6)):
        steps = draw(st.lists(st.integers(1, 500), min_size=size, max_size=size))
        times = []
        for step in steps:
            start += step
            times.append(start)
        segments.append(draw(st.permutations(times)))
    return segments


def pair(due: Iterable[list[int]], shown: Iterable[list[int]]) -> Iterator[tuple[int, int]]:
    return zip(chain.from_iterable(due), chain.from_iterable(shown), strict=True)


@given(films(), st.integers(1, 100))
def test_times_ascend_and_never_lie_behind_presentation(segments: list[list[int]], step: int) -> None:
    due = list(assign_decoding_times(segments, find_delay(segments), step))
    assert [len(times) for times in due] == [len(times) for times in segments]
    assert all(one < other for one, other in pairwise(chain.from_iterable(due)))
    assert all(dts <= pts for dts, pts in pair(due, segments))


@given(films())
def test_no_smaller_delay_would_do(segments: list[list[int]]) -> None:
    delay = find_delay(segments)
    if delay:
        due = assign_decoding_times(segments, delay - 1, 1)
        assert any(dts > pts for dts, pts in pair(due, segments))


def test_pictures_in_order_are_decoded_when_they_are_shown() -> None:
    segments = [[0, 40, 80], [200, 240]]
    assert find_delay(segments) == 0
    assert list(assign_decoding_times(segments, 0, 40)) == segments


def test_a_pyramid_of_b_frames() -> None:
    segments = [[0, 160, 80, 40, 120], [200, 360, 280, 240, 320]]
    assert find_delay(segments) == 2
    assert list(assign_decoding_times(segments, 2, 40)) == [[-80, -40, 0, 40, 80], [120, 160, 200, 240, 280]]
