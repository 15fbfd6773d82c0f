from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vsr.jobs.messages import Advanced, Began, Event
from vsr.jobs.news import News


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(steps=st.lists(st.tuples(st.floats(0.0, 1.0), st.integers(1, 5))), done=st.integers(0, 50))
def test_at_most_five_a_second_and_the_last_one_always(steps: list[tuple[float, int]], done: int) -> None:
    heard: list[tuple[float, Event]] = []
    watch = Watch()
    news = News(1, lambda event: heard.append((watch.now, event)), watch)
    total = done + sum(amount for _, amount in steps)
    news.start("film", total, "frames", done=done)
    for seconds, amount in steps:
        watch.now += seconds
        news.advance(amount)
    advanced = [(time, event) for time, event in heard if isinstance(event, Advanced)]
    assert all(later - time >= 0.2 - 1e-9 for (time, _), (later, _) in pairwise(advanced))
    news.finish()
    assert heard[0][1] == Began(1, total, done)
    last = heard[-1][1]
    assert (last.done if isinstance(last, Advanced) else done) == total


def test_an_estimate_that_was_too_small_is_no_total():
    heard: list[Event] = []
    news = News(1, heard.append)
    news.start("film", 2, "frames")
    news.advance(3, "encode is the slowest stage")
    assert heard[-1] == Advanced(1, 3, None, "encode is the slowest stage")


def test_a_job_without_progress_has_begun_all_the_same():
    heard: list[Event] = []
    News(1, heard.append).conclude(1)
    assert heard == [Began(1, 1), Advanced(1, 1, 1)]


def test_a_job_with_progress_is_not_told_of_twice():
    heard: list[Event] = []
    news = News(1, heard.append)
    news.start("film", 1, "frames")
    news.advance(1)
    news.finish()
    news.conclude(1)
    assert heard == [Began(1, 1), Advanced(1, 1, 1)]


def test_remarks_come_between():
    heard: list[Event] = []
    watch = Watch()
    news = News(1, heard.append, watch)
    news.remark("downloading: 1 of 4 MB")
    news.remark("downloading: 2 of 4 MB")
    watch.now = 0.3
    news.remark("downloading: 3 of 4 MB")
    assert heard == [Advanced(1, 0, None, "downloading: 1 of 4 MB"), Advanced(1, 0, None, "downloading: 3 of 4 MB")]
