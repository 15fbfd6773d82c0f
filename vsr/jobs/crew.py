"""Films made in processes of their own: one worker for each device, which the parent orders about and listens to.

A crash, a segmentation fault or the system's out-of-memory killer takes one job and not the parent, which loads neither
torch nor FFmpeg. A worker that died is followed by a new one at the next order.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from vsr.jobs.failure import Failure, describe_death, leaves_doubts
from vsr.jobs.messages import (
    Advanced,
    Began,
    Event,
    Failed,
    Finished,
    Order,
    Previewed,
    read_event,
    write_order,
)
from vsr.progress import printable

__all__ = [
    "Advanced",
    "Began",
    "Event",
    "Failed",
    "Failure",
    "Finished",
    "Order",
    "Previewed",
    "Worker",
]

CLOSING_SECONDS = 10.0


class Worker:
    """One device's worker: a process of `vsr.jobs.worker`, started at the first order and kept for the next ones.

    All methods return at once, except `close`, and may be called from any thread, also from within `on_event`.
    A context manager; leaving it closes the worker.

    Args:
        device: "auto" (where the job's settings say), "cpu", "cuda:0" ... (whatever they say).
        on_event: hears everything about the job at work, from a thread of the worker's, one event at a time. `Failed`
            or `Finished` is the last of a job, and there is always one; when it comes, the worker is idle already. It
            should return soon, since the worker waits meanwhile. It must not raise: that ends the process.
    """

    def __init__(self, device: str, on_event: Callable[[Event], None]) -> None:
        self.device = device
        self._on_event = on_event
        self._change = threading.RLock()  # guards what follows
        self._order: Order | None = None
        self._process: _Process | None = None
        self._is_closed = False

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_idle(self) -> bool:
        """No job is at work."""
        with self._change:
            return self._order is None

    @property
    def is_alive(self) -> bool:
        """There is a process. None is needed for an order: the next one is started with it."""
        with self._change:
            return self._process is not None and self._process.number is not None

    @property
    def process_id(self) -> int | None:
        """The number of the process, None where there is none."""
        with self._change:
            return self._process.number if self._process is not None else None

    def begin(self, order: Order) -> None:
        """Do this job. The worker must be idle and not closed."""
        with self._change:
            assert self._order is None, f"{self.device} is at work on job {self._order.job_id}"
            assert not self._is_closed, f"the worker of {self.device} is closed"
            self._order = order
            if self._process is None or not self._process.takes_orders:
                self._process = _Process(self, self._process)
            self._process.tell({"do": "begin", "order": write_order(order)})

    def pause(self) -> None:
        """Stop after the group of pictures at hand: `Failed` follows, and says that it was interrupted."""
        self._tell("pause")

    def cancel(self) -> None:
        """Stop now: `Failed` follows, and says that it was interrupted. What is finished in segments stays."""
        self._tell("cancel")

    def ask_preview(self) -> None:
        """Let the next picture of the job at work come as a `Previewed`. Pictures have none."""
        self._tell("preview")

    def close(self, timeout: float = CLOSING_SECONDS) -> None:
        """End the process; a job at work is stopped now, and its `Failed` comes first.

        Returns when the process is gone and all that belonged to it is given back. Not to be called by `on_event`, nor
        while holding a lock that `on_event` waits for.

        Args:
            timeout: seconds after which it is killed.
        """
        with self._change:
            self._is_closed = True
            process = self._process
        if process is not None:
            process.end(timeout)

    def _tell(self, what: str) -> None:
        with self._change:
            if self._order is not None and self._process is not None:
                self._process.tell({"do": what, "job_id": self._order.job_id})

    def _hear(self, event: Event) -> None:
        """An event of the process, in its thread."""
        with self._change:
            if self._order is None or event.job_id != self._order.job_id:
                return
            if isinstance(event, Finished | Failed):
                self._order = None
        self._on_event(event)

    def _bury(self, process: _Process, failure: Failure) -> None:
        """The process has ended; `failure` is what that means to a job at work."""
        with self._change:
            order, is_closed = self._order, self._is_closed
            if self._process is not process or order is None:
                return
            self._order = None
        if is_closed:
            failure = Failure("Interrupted", "the worker was closed", may_pass=True, is_interrupted=True)
        self._on_event(Failed(order.job_id, failure))


class _Process:
    """One process, from its start to its end, and the thread that attends it.

    Args:
        previous: one that may still be on its way out: first it has to give its memory on the device back.
    """

    def __init__(self, worker: Worker, previous: _Process | None) -> None:
        self._worker, self._previous = worker, previous
        self._change = threading.Lock()  # guards what follows
        self._waiting: list[bytes] = []  # orders for a process that is not there yet
        self._popen: subprocess.Popen[bytes] | None = None
        self._is_leaving = False
        # A daemon: a worker that is forgotten must not keep the parent from ending, which ends the process too.
        self._thread = threading.Thread(target=self._attend, name=f"vsr-worker-{worker.device}", daemon=True)
        self._thread.start()

    @property
    def number(self) -> int | None:
        """Of the process, while it lives."""
        with self._change:
            return self._popen.pid if self._popen is not None and self._popen.poll() is None else None

    @property
    def takes_orders(self) -> bool:
        """Not after it was asked to leave, nor when it has ended."""
        with self._change:
            return not self._is_leaving and (self._popen is None or self._popen.poll() is None)

    def tell(self, message: dict[str, Any]) -> None:
        """Send one order. If the process is gone, `_attend` is the one to notice."""
        line = json.dumps(message).encode() + b"\n"
        with self._change:
            if self._popen is None:
                self._waiting.append(line)
            elif not self._is_leaving:
                _send(self._popen, line)

    def leave(self) -> None:
        """Close its ears: it stops what it does, and ends."""
        with self._change:
            self._is_leaving = True
            if self._popen is not None and self._popen.stdin is not None:
                self._popen.stdin.close()

    def end(self, timeout: float) -> None:
        """Have it gone; after `timeout` seconds by force."""
        self.leave()
        self._thread.join(timeout)
        with self._change:
            if self._popen is not None:
                self._popen.kill()  # does nothing to one that has ended
        self._thread.join()

    def _attend(self) -> None:
        if self._previous is not None:
            self._previous.end(CLOSING_SECONDS)
            self._previous = None
        try:
            popen = self._start()
        except OSError as exc:
            self.leave()  # so that the next order is not given to nobody
            message = f"a worker process cannot be started: {exc.strerror or exc}"
            self._worker._bury(self, Failure("WorkerDied", message, may_pass=True))
            return
        try:
            with popen:
                try:
                    self._listen(popen)
                finally:
                    self.leave()  # before `popen` closes the pipe
        finally:
            self._worker._bury(self, describe_death(popen.returncode))

    def _start(self) -> subprocess.Popen[bytes]:
        # The same code as here, whatever lies in the folder that this process happens to be in.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        command = [sys.executable, "-P", "-m", "vsr.jobs.worker", "--device", self._worker.device]
        # A session of its own: a Ctrl-C at the terminal is the parent's to deal with.
        popen = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0, start_new_session=True
        )
        with self._change:
            self._popen = popen
            for line in self._waiting:
                _send(popen, line)
        if self._is_leaving:
            self.leave()
        return popen

    def _listen(self, popen: subprocess.Popen[bytes]) -> None:
        assert popen.stdout is not None
        with open(popen.stdout.fileno(), "rb", closefd=False) as lines:
            for line in lines:
                event = read_event(line)
                if event is None:
                    _log(line)
                    continue
                if isinstance(event, Failed) and leaves_doubts(event.failure):
                    self.leave()
                self._worker._hear(event)


def _log(line: bytes) -> None:
    """What some library said before the worker took standard output for itself."""
    if line.strip():
        print(printable(line.decode(errors="replace").rstrip()), file=sys.stderr)


def _send(popen: subprocess.Popen[bytes], line: bytes) -> None:
    """Write a line to the process's standard input; nothing if it has ended."""
    assert popen.stdin is not None
    rest = memoryview(line)
    with suppress(BrokenPipeError):
        while rest:
            rest = rest[popen.stdin.write(rest) :]
