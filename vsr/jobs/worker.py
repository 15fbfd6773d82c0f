"""A worker: the process that makes films, one after the other, as its parent orders (see `vsr.jobs.crew`).

    python -m vsr.jobs.worker --device cuda:0

Orders come on standard input, events go to standard output, both in lines of JSON; whatever else is said in this
process goes to standard error. The end of standard input is the end of the process, within seconds: so it is when the
parent dies, however it dies. (Linux could send a signal then, but does so already when the *thread* ends that started
the process, and leaves no time to clear up.)
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, Any, BinaryIO

from vsr.errors import Interrupted, VsrError
from vsr.jobs.failure import judge
from vsr.jobs.kept_upscaler import KeptUpscaler
from vsr.jobs.messages import Event, Failed, Finished, Order, Previewed, read_order, write_event
from vsr.jobs.news import News
from vsr.settings import Settings

if TYPE_CHECKING:
    from vsr.model.upscaler import Upscaler
    from vsr.pipeline.preview import Glimpse
    from vsr.pipeline.report import Report

__all__ = ["main"]

# What is under way when standard input ends has so long to stop by itself.
GRACE_SECONDS = 1.0
GAVE_UP = 3  # exit status of a process that did not


def main(arguments: Sequence[str] | None = None) -> int:
    """Work until there are no more orders."""
    parser = argparse.ArgumentParser(prog="vsr.jobs.worker", description="one worker of a crew; not for people")
    parser.add_argument("--device", default="auto", help="where to work; auto: where each job's settings say")
    options = parser.parse_args(arguments)
    orders, events = _take_streams()
    bench = Workbench(options.device, events)
    signal.signal(signal.SIGTERM, bench.finish)  # a service manager may send it to all processes of a service
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to deal with
    threading.Thread(target=bench.listen, args=(orders,), name="vsr-orders", daemon=True).start()
    bench.work()
    return 0


def _take_streams() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output for our own use; whoever else reads finds nothing, and writes to standard error."""
    orders, events = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    events.write(b"\n")  # ends a line that somebody may have begun before
    return orders, events


class Workbench:
    """What a worker keeps from job to job: its network on its device, and the line to its parent.

    Args:
        device: as `--device`.
        events: where to write them.
    """

    def __init__(self, device: str, events: BinaryIO) -> None:
        self._device = device
        self._events = events
        self._writing = threading.Lock()
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        self._job_id: int | None = None
        self._cancel, self._pause, self._wanted = threading.Event(), threading.Event(), threading.Event()
        self._kept = KeptUpscaler(self._cancel)

    def listen(self, lines: BinaryIO) -> None:
        """Take orders until there are no more, then see to it that the process ends; in a thread of its own."""
        try:
            for line in lines:
                self._obey(json.loads(line))
        except Exception:
            traceback.print_exc()  # not after this function: there is nothing after it
        finally:
            self._cancel.set()
            self._orders.put(None)
            time.sleep(GRACE_SECONDS)
            os._exit(GAVE_UP)  # a heavy frame, a hanging share: nothing is lost that a power cut would not take too

    def finish(self, number: int, frame: FrameType | None) -> None:
        """The handler of SIGTERM: end after the group of pictures at hand."""
        self._pause.set()
        self._orders.put(None)

    def work(self) -> None:
        """Do one job after the other."""
        while (order := self._orders.get()) is not None:
            self._tell(self._do(order))

    def _obey(self, message: dict[str, Any]) -> None:
        # A job ends before its successor is ordered, so that nobody else looks at these while they are cleared.
        if message["do"] == "begin":
            order = read_order(message["order"])
            self._job_id = order.job_id
            self._cancel.clear()
            self._pause.clear()
            self._wanted.clear()
            self._orders.put(order)
        elif message["job_id"] != self._job_id:
            pass  # of a job that ended meanwhile
        elif message["do"] == "pause":
            self._pause.set()
        elif message["do"] == "cancel":
            self._cancel.set()
        elif message["do"] == "preview":
            self._wanted.set()

    def _do(self, order: Order) -> Event:
        """One job; its last event."""
        news = News(order.job_id, self._tell)
        try:
            report = self._upscale(order, news)
        except Exception as exc:
            if not isinstance(exc, VsrError | Interrupted):
                traceback.print_exception(exc)
            return Failed(order.job_id, judge(exc, order.source, order.output))
        news.conclude(report.frames_out)
        return Finished(order.job_id, report.as_dict())

    def _upscale(self, order: Order, news: News) -> Report:
        from vsr.api import upscale
        from vsr.pipeline.preview import Preview

        settings = order.read_settings(self._device)
        upscaler = self._prepare(settings, news)
        preview = Preview(self._wanted, self._show, traceback.print_exception)
        return upscale(
            order.source, order.output, settings=settings, upscaler=upscaler, progress=news, cancel=self._cancel,
            pause=self._pause, preview=preview,
        )  # fmt: skip

    def _prepare(self, settings: Settings, news: News) -> Upscaler:
        def advance(done: int, total: int) -> None:
            if self._cancel.is_set():
                raise Interrupted
            news.remark(f"downloading {settings.model}: {done / 1e6:.1f} of {total / 1e6:.1f} MB")

        return self._kept.get(settings, advance)

    def _show(self, glimpse: Glimpse) -> None:
        assert self._job_id is not None
        self._tell(Previewed(self._job_id, float(glimpse.time), glimpse.before_jpeg, glimpse.after_jpeg))

    def _tell(self, event: Event) -> None:
        with self._writing, suppress(BrokenPipeError):  # the parent is gone: `listen` hears of it, too
            self._events.write(write_event(event))
            self._events.flush()


if __name__ == "__main__":
    raise SystemExit(main())
