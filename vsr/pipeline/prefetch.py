"""The only thread boundary: items are made ahead in threads of their own, a bounded number, and come out in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Generic, TypeVar

__all__ = ["Prefetch"]

R = TypeVar("R")

# While leaving waits for the threads.
SECONDS_BETWEEN_LOOKS = 0.002


class Prefetch(Generic[R]):
    """Iterates over `items`, or over a function of each, computed ahead by threads. A context manager; leaving it ends
    the threads.

    An exception, of `items` or of a function, is raised to the consumer with its traceback, after the results that
    come before it. When the consumer leaves early, no further item is begun and `items`, if it is a generator, is
    closed, so that its `finally` blocks run. Leaving waits for the items under way: whatever takes long should look
    at a cancel event.

    Args:
        items: what to iterate over; only one thread at a time asks it for the next.
        depth: how many finished results may wait for the consumer, beside those under way.
        name: of the threads, for debuggers.
        functions: one for each thread; each is called by its own thread alone. None: one thread, items as they are.
    """

    def __init__(
        self, items: Iterable[Any], depth: int, name: str, functions: Sequence[Callable[[Any], R]] | None = None
    ) -> None:
        functions = functions or [lambda item: item]
        self._source = items
        self._items = iter(items)
        self._room = depth + len(functions)
        self._change = threading.Condition()
        self._asking = threading.Lock()
        self._results: dict[int, R] = {}
        self._errors: dict[int, BaseException] = {}
        self._num_begun = 0
        self._num_taken = 0
        self._is_exhausted = False
        self._is_stopped = False
        self._running: set[int] = set()  # threads
        self._threads = [
            threading.Thread(target=self._run, args=(function,), name=f"vsr-{name}-{number}")
            for number, function in enumerate(functions)
        ]

    def __enter__(self) -> Prefetch[R]:
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        """End the threads, whatever comes between: a second Ctrl-C must not leave one of them behind."""
        self._is_stopped = True
        interruption: KeyboardInterrupt | None = None
        while True:
            try:
                with self._change:
                    self._results.clear()
                    self._change.notify_all()
                if not self._running and not any(thread.is_alive() for thread in self._threads):
                    break
                # Not `Thread.join`: where that is interrupted, it takes the thread for ended (Python 3.11).
                time.sleep(SECONDS_BETWEEN_LOOKS)
            except KeyboardInterrupt as exc:
                interruption = exc
        for generator in (self._items, self._source):
            close = getattr(generator, "close", None)
            if close is not None:
                close()
        if interruption is not None:
            raise interruption

    def __iter__(self) -> Iterator[R]:
        while True:
            with self._change:
                self._change.wait_for(self._is_next_known)
                serial = self._num_taken
                if serial in self._errors:
                    raise self._errors[serial]
                if serial not in self._results:
                    return
                result = self._results.pop(serial)
                self._num_taken += 1
                self._change.notify_all()
            yield result
            del result  # a waiting consumer must not keep the last frame alive

    def _is_next_known(self) -> bool:
        serial = self._num_taken
        is_past_end = self._is_exhausted and serial >= self._num_begun
        return serial in self._results or serial in self._errors or is_past_end

    def _run(self, function: Callable[[Any], R]) -> None:
        self._running.add(thread := threading.get_ident())
        try:
            self._work(function)
        finally:
            self._running.discard(thread)

    def _work(self, function: Callable[[Any], R]) -> None:
        while True:
            # Whoever holds the lock asks for the next item; the others wait here, which keeps the numbers in order.
            with self._asking:
                serial = self._wait_for_room()
                if serial is None:
                    return
                try:
                    item = next(self._items)
                except StopIteration:
                    self._finish()
                    return
                except BaseException as exc:
                    self._finish(exc)
                    return
                with self._change:
                    self._num_begun += 1
            try:
                result = function(item)
            except BaseException as exc:
                self._fail(serial, exc)
                return
            del item
            with self._change:
                self._results[serial] = result
                del result
                self._change.notify_all()

    def _wait_for_room(self) -> int | None:
        """The number of the next item; None where there is to be none."""
        with self._change:
            self._change.wait_for(self._has_room_or_reason_to_end)
            return None if self._is_stopped or self._is_exhausted or self._errors else self._num_begun

    def _has_room_or_reason_to_end(self) -> bool:
        has_room = self._num_begun - self._num_taken < self._room
        return has_room or self._is_stopped or self._is_exhausted or bool(self._errors)

    def _finish(self, error: BaseException | None = None) -> None:
        with self._change:
            if error is not None:
                self._errors[self._num_begun] = error
            self._is_exhausted = True
            self._change.notify_all()

    def _fail(self, serial: int, error: BaseException) -> None:
        with self._change:
            self._errors[serial] = error
            self._change.notify_all()
