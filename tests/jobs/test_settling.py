"""When a file has been left alone for long enough."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from vsr.jobs.file_system import Signature
from vsr.jobs.settling import Settling

FILE = Path("a.mp4")


@given(st.lists(st.tuples(st.floats(0.1, 20.0), st.integers(0, 3)), min_size=1, max_size=30))
def test_ripe_is_what_has_not_changed_for_as_long_as_asked(steps: list[tuple[float, int]]):
    """Whatever a file does, and whenever one looks: it is ripe `settle` seconds after its last change was seen."""
    settling, now, size, due = Settling(5.0, 600.0), 0.0, 0, math.inf
    for seconds, growth in steps:
        now += seconds
        if growth or not size:
            size, due = size + growth + 1, now + 5.0
            settling.note(FILE, Signature(size, 0), now)
        ripe = settling.take_ripe(now, lambda path, size=size: Signature(size, 0))
        assert ripe == ([(FILE, Signature(size, 0))] if now >= due else [])
        if ripe:
            due = math.inf  # once, until somebody decides
            assert settling.next_look == math.inf


def test_change_that_no_event_told_of_is_seen_when_the_file_is_due():
    settling = Settling(5.0, 600.0)
    settling.note(FILE, Signature(1, 0), 0.0)
    assert settling.take_ripe(5.0, lambda path: Signature(2, 0)) == []
    assert settling.take_ripe(9.9, lambda path: Signature(2, 0)) == []
    assert settling.take_ripe(10.0, lambda path: Signature(2, 0)) == [(FILE, Signature(2, 0))]


def test_new_time_alone_is_a_change():
    settling = Settling(5.0, 600.0)
    settling.note(FILE, Signature(1, 0), 0.0)
    settling.note(FILE, Signature(1, 1), 4.0)
    assert settling.next_look == 9.0


def test_file_that_is_gone_is_forgotten():
    settling = Settling(5.0, 600.0)
    settling.note(FILE, Signature(1, 0), 0.0)
    assert settling.take_ripe(5.0, lambda path: None) == []
    assert FILE not in settling
    settling.note(FILE, Signature(1, 0), 6.0)
    settling.keep_only(set())
    assert len(settling) == 0


def test_incomplete_file_is_looked_at_ever_rarer_until_nobody_waits():
    settling, looks, now = Settling(5.0, 600.0), [], 0.0
    settling.note(FILE, Signature(1, 0), now)
    while not settling.is_given_up(FILE, now):
        now = settling.next_look
        assert settling.take_ripe(now, lambda path: Signature(1, 0))
        looks.append(now)
        assert settling.postpone(FILE, now) == (len(looks) == 1)
    gaps = [later - earlier for earlier, later in pairwise(looks)]
    assert gaps == sorted(gaps)
    assert gaps[0] == 5.0
    assert gaps[-1] == 60.0
    assert 600 <= looks[-1] < 660
    assert settling.is_quiet
