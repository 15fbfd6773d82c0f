"""Timestamps: order and repair touch nothing that is sound."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr.video.timing import REORDER_WINDOW, Stamped, TimestampRepair, rescale, sort_by_time

RATIONALS = st.fractions(min_value=Fraction(1, 10**6), max_value=Fraction(1))


def stamped(*pts: int | None) -> list[Stamped[str]]:
    return [Stamped(f"{number}", value, 1) for number, value in enumerate(pts)]


@given(st.lists(st.integers(-(2**40), 2**40), unique=True))
def test_ascending_items_pass_unchanged(pts: list[int]) -> None:
    items = stamped(*sorted(pts))
    assert list(sort_by_time(items)) == items
    assert list(sort_by_time(items, trust_order=True)) == items


@given(st.permutations(range(REORDER_WINDOW + 1)))
def test_items_shuffled_within_the_window_are_sorted(order: list[int]) -> None:
    items = stamped(*order)
    assert [item.pts for item in sort_by_time(items)] == sorted(order)
    assert {(item.payload, item.pts) for item in sort_by_time(items)} == {(item.payload, item.pts) for item in items}


@given(st.permutations(range(REORDER_WINDOW + 1)))
def test_trusted_order_keeps_the_payloads_and_sorts_the_times(order: list[int]) -> None:
    items = list(sort_by_time(stamped(*order), trust_order=True))
    assert [item.payload for item in items] == [f"{number}" for number in range(len(order))]
    assert [item.pts for item in items] == sorted(order)


@given(st.lists(st.one_of(st.none(), st.integers(-50, 50))))
def test_no_item_is_lost_or_doubled(pts: list[int | None]) -> None:
    for trust in (False, True):
        payloads = [item.payload for item in sort_by_time(stamped(*pts), trust_order=trust)]
        assert sorted(payloads, key=int) == [f"{number}" for number in range(len(pts))]


def test_items_without_time_keep_their_place() -> None:
    times = [item.pts for item in sort_by_time(stamped(3, 1, None, 9, 5))]
    assert times == [1, 3, None, 5, 9]


TIMES = st.one_of(st.none(), st.integers(-(2**62), 2**62))


@given(st.lists(st.tuples(TIMES, st.integers(0, 5000))), st.integers(1, 40))
def test_repaired_times_increase_by_the_minimal_step(frames: list[tuple[int | None, int]], step: int) -> None:
    repair = TimestampRepair(Fraction(1, 90000), Fraction(1, 25), minimal_step=step)
    times = [repair.repair(pts, duration) for pts, duration in frames]
    assert all(later - earlier >= step for earlier, later in pairwise(times))
    assert repair.num_missing == sum(pts is None for pts, _ in frames)


@given(st.lists(st.integers(-(2**62), 2**62), unique=True))
def test_good_times_are_not_touched(pts: list[int]) -> None:
    repair = TimestampRepair(Fraction(1, 1000))
    assert [repair.repair(value, 0) for value in sorted(pts)] == sorted(pts)
    assert (repair.num_missing, repair.num_not_increasing) == (0, 0)


def test_missing_times_follow_the_frame_before() -> None:
    repair = TimestampRepair(Fraction(1, 1000), Fraction(1, 25))
    assert [repair.repair(None, 0), repair.repair(None, 33), repair.repair(None, 0)] == [0, 40, 73]
    assert repair.num_missing == 3


@given(st.integers(-(2**50), 2**50), RATIONALS)
def test_rescaling_to_the_same_clock_changes_nothing(ticks: int, time_base: Fraction) -> None:
    assert rescale(ticks, time_base, time_base) == ticks


@given(st.integers(-(2**50), 2**50), RATIONALS, RATIONALS)
def test_rescaling_is_off_by_half_a_tick_at_most(ticks: int, source: Fraction, target: Fraction) -> None:
    assert abs(rescale(ticks, source, target) * target - ticks * source) <= target / 2


@pytest.mark.parametrize(("ticks", "rounded"), [(1, 1), (-1, -1), (3, 2), (-3, -2)])
def test_halves_round_away_from_zero_as_in_ffmpeg(ticks: int, rounded: int) -> None:
    assert rescale(ticks, Fraction(1, 2000), Fraction(1, 1000)) == rounded
