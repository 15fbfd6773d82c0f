from __future__ import annotations

import signal
import threading
import time
import traceback
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsr.pipeline.prefetch import Prefetch


def take(ahead: Prefetch[int], into: list[int]) -> None:
    for item in ahead:
        into.append(item)


@given(items=st.lists(st.integers()), depth=st.integers(1, 4))
def test_all_items_in_order(items: list[int], depth: int) -> None:
    with Prefetch(iter(items), depth, "test") as ahead:
        assert list(ahead) == items


@given(num_items=st.integers(0, 30), depth=st.integers(1, 3), num_workers=st.integers(1, 4))
def test_results_of_several_workers_come_in_the_order_of_the_items(
    num_items: int, depth: int, num_workers: int
) -> None:
    def work(item: int) -> int:
        time.sleep(0.0002 * (item * 7 % 5))  # some are faster than those before them
        return item * item

    with Prefetch(range(num_items), depth, "test", [work] * num_workers) as ahead:
        assert list(ahead) == [item * item for item in range(num_items)]


def test_workers_work_at_once() -> None:
    both = threading.Barrier(2, timeout=5)

    def work(item: int) -> int:
        both.wait()  # passes only if two are here
        return item

    with Prefetch(range(4), 1, "test", [work, work]) as ahead:
        assert list(ahead) == [0, 1, 2, 3]


def test_the_error_of_one_worker_comes_at_its_place() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise ValueError("third")
        time.sleep(0.002)
        return item

    seen: list[int] = []
    with pytest.raises(ValueError, match="third"), Prefetch(range(100), 2, "test", [work, work]) as ahead:
        take(ahead, seen)
    assert seen == [0, 1, 2]


def test_it_runs_ahead_by_its_depth_and_no_further() -> None:
    made: list[int] = []

    def make() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    with Prefetch(make(), 3, "test") as ahead:
        assert next(iter(ahead)) == 0
        time.sleep(0.1)
        # One taken, three waiting, one beside them.
        assert len(made) == 5


def test_an_error_comes_after_the_items_before_it_with_its_traceback() -> None:
    def fail_at_third() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("broken")

    seen: list[int] = []
    with pytest.raises(ValueError, match="broken") as caught, Prefetch(fail_at_third(), 1, "test") as ahead:
        take(ahead, seen)
    assert seen == [1, 2]
    assert "fail_at_third" in "".join(traceback.format_exception(caught.value))


def test_leaving_early_closes_the_source_and_ends_the_thread() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    before = threading.active_count()

    def fail(items: Prefetch[int]) -> None:
        next(iter(items))
        raise RuntimeError("consumer")

    with pytest.raises(RuntimeError, match="consumer"), Prefetch(endless(), 2, "test") as ahead:
        fail(ahead)
    assert closed.is_set()
    assert threading.active_count() == before


def test_two_in_a_row_end_when_the_last_consumer_leaves() -> None:
    def endless() -> Iterator[int]:
        while True:
            yield 0

    before = threading.active_count()
    with Prefetch(endless(), 2, "first") as first:
        doubled = (2 * item for item in first)
        with Prefetch(doubled, 2, "second") as second:
            next(iter(second))
    assert threading.active_count() == before


def test_stages_overlap() -> None:
    """Each stage makes an item only while the other is at work on another one."""
    both = threading.Barrier(2, timeout=5)

    def meet(items: Iterator[int], first: int) -> Iterator[int]:
        for item in items:
            if first <= item < first + 6:
                both.wait()
            yield item

    # Item 3 is made while item 2 is at the second stage, and so on.
    with Prefetch(meet(iter(range(10)), 3), 2, "first") as first, Prefetch(meet(iter(first), 2), 2, "second") as second:
        assert list(second) == list(range(10))


def test_an_interruption_while_starting_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()
    ahead = Prefetch(range(100), 1, "test", [lambda item: item] * 2)

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ahead._threads[1], "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ahead.__enter__()
    assert threading.active_count() == before


def test_an_interruption_while_ending_waits_for_the_threads_and_is_told() -> None:
    """`Thread.join` takes a thread for ended when it is interrupted."""
    ended = threading.Event()

    def slow() -> Iterator[int]:
        try:
            time.sleep(0.5)
            yield 0
        finally:
            ended.set()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    ahead = Prefetch(slow(), 1, "test")
    ahead.__enter__()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
        with pytest.raises(KeyboardInterrupt):
            ahead.__exit__(None, None, None)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert ended.is_set()
    assert not any(thread.is_alive() for thread in ahead._threads)
