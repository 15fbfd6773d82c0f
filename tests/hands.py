"""A hand for batches that makes no film: it writes what it is told to, or fails as it is told to, in a thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vsr.jobs.crew import Advanced, Began, Event, Failed, Failure, Finished, Order

__all__ = ["FULL_DISK", "NO_FILM", "Hand", "Workshop", "report", "write_output"]

FULL_DISK = Failure("OutputError", "the disk is full", "make room", may_pass=True)
NO_FILM = Failure("SourceError", "this is no film", "look at it", may_pass=False)
INTERRUPTED = Failure("Interrupted", "stopped", is_interrupted=True, may_pass=True)


class Workshop:
    """Makes hands, and knows everything that they were ordered.

    Args:
        troubles: by the source's stem, what becomes of the first attempts, in order; after these it goes well. A
            failure; "hang" (until it is paused or cancelled); "die" (as FULL_DISK, after the output is there).
    """

    def __init__(self, **troubles: list[Failure | str]) -> None:
        self.troubles = troubles
        self.orders: list[Order] = []
        self.hands: list[Hand] = []
        self.is_hanging = threading.Event()
        self.turn = threading.Lock()

    def hire(self, on_event: Callable[[Event], None]) -> Hand:
        hand = Hand(self, on_event)
        self.hands.append(hand)
        return hand

    def names(self) -> list[str]:
        return [order.source.stem for order in self.orders]


class Hand:
    """See `vsr.jobs.batch.Hand`."""

    def __init__(self, shop: Workshop, on_event: Callable[[Event], None]) -> None:
        self.shop, self.on_event = shop, on_event
        self.is_idle, self.is_closed, self.heard = True, False, ""
        self.stopped = threading.Event()
        self.thread: threading.Thread | None = None

    def begin(self, order: Order) -> None:
        assert self.is_idle
        assert not self.is_closed
        self.is_idle = False
        self.stopped.clear()
        with self.shop.turn:
            self.shop.orders.append(order)
        self.thread = threading.Thread(target=self._work, args=(order,))
        self.thread.start()

    def pause(self) -> None:
        self.heard += "pause "
        self.stopped.set()

    def cancel(self) -> None:
        self.heard += "cancel "
        self.stopped.set()

    def close(self) -> None:
        self.is_closed = True
        self.stopped.set()
        if self.thread is not None:
            self.thread.join()

    def _work(self, order: Order) -> None:
        self.on_event(Began(order.job_id, 10, 0))
        troubles = self.shop.troubles.get(order.source.stem, [])
        trouble = troubles.pop(0) if troubles else None
        event: Event
        if trouble == "hang":
            self.shop.is_hanging.set()
            self.stopped.wait(30)
            event = Failed(order.job_id, INTERRUPTED)
        elif isinstance(trouble, Failure):
            event = Failed(order.job_id, trouble)
        else:
            self.on_event(Advanced(order.job_id, 10, 10, "compute is the slowest stage"))
            write_output(order.output, order.settings)
            event = Finished(order.job_id, report(order))
            if trouble == "die":
                event = Failed(order.job_id, Failure("WorkerDied", "the worker was ended by signal 9", may_pass=True))
        self.is_idle = True
        self.on_event(event)


def write_output(path: Path, settings: dict[str, Any]) -> None:
    """As the writer does: whole under its name, and not over another's without leave."""
    assert settings["overwrite"] or not path.exists(), f"{path} exists already"
    temporary = path.with_suffix(".part")
    temporary.write_text(f"made with {sorted(settings)}")
    os.replace(temporary, path)


def report(order: Order) -> dict[str, Any]:
    """As much of a Report's plain values as batches look at."""
    return {
        "input": str(order.source), "output": str(order.output), "frames_in": 10, "frames_out": 10, "seconds": 2.0,
        "fps": 5.0, "size_out": [256, 192], "damaged": False, "warnings": [], "frames_resumed": 0,
    }  # fmt: skip
