"""Medians, ranges and ratios of known numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr.bench.spread import Spread, pair_ratios

TIMES = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=9)


def test_a_spread_is_median_and_range() -> None:
    spread = Spread.of([5.0, 1.0, 2.0])
    assert spread == Spread(2.0, 1.0, 5.0)
    assert spread.noise == 2.0
    assert spread.is_noisy
    assert not Spread.of([100.0, 101.0]).is_noisy
    assert Spread.of([0.0]).noise == 0


def test_ratios_are_taken_pair_by_pair() -> None:
    """The median of the pairs, not the ratio of the medians (which were 30 / 10 here)."""
    assert pair_ratios([10.0, 30.0, 60.0], [10.0, 6.0, 15.0]) == Spread(4.0, 1.0, 5.0)
    with pytest.raises(ValueError, match="zip"):
        pair_ratios([1.0], [1.0, 2.0])


@given(TIMES, st.floats(0.1, 10))
def test_a_slow_minute_that_hits_both_of_a_pair_cancels_out(times: list[float], ratio: float) -> None:
    spread = pair_ratios([time * ratio for time in times], times)
    assert (spread.least, spread.greatest) == (pytest.approx(ratio), pytest.approx(ratio))
