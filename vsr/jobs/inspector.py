"""The process that looks into files before they are taken, as the daemon sees it; see `vsr.jobs.inspection`."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from vsr.jobs.inspection import Finding, Question, Verdict, read_finding, write_question

__all__ = ["Inspector"]

CLOSING_SECONDS = 1.0


class Inspector:
    """Looks into one file at a time, in a process of its own that is started when it is needed.

    Args:
        on_finding: hears the answer, from a thread of the inspector's; it may ask the next question. There is always
            one answer: a file that brings the process down is called unreadable, and the next one meets a new process.
    """

    def __init__(self, on_finding: Callable[[Finding], None]) -> None:
        self._on_finding = on_finding
        self._change = threading.RLock()  # guards what follows
        self._question: Question | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_idle(self) -> bool:
        with self._change:
            return self._question is None

    def ask(self, question: Question) -> None:
        """Look into that file; returns at once. The inspector must be idle."""
        with self._change:
            assert self._question is None, f"{self._question.path} is being looked into"
            if self._process is None:
                self._start()
            self._question = question
            assert self._process is not None
            assert self._process.stdin is not None
            with suppress(BrokenPipeError):  # it has just died: its thread tells
                self._process.stdin.write(write_question(question))

    def give_up(self) -> None:
        """The file at hand takes too long: it is called unreadable."""
        with self._change:
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """End the process; what it was about to say is not heard any more."""
        with self._change:
            process, thread, self._question = self._process, self._thread, None
        if process is None or thread is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        thread.join(CLOSING_SECONDS)
        process.kill()  # does nothing to one that has ended
        thread.join()

    def _start(self) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "vsr.jobs.inspection"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0, start_new_session=True,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._listen, args=(self._process,), name="vsr-inspector", daemon=True)
        self._thread.start()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        with process:
            assert process.stdout is not None
            with open(process.stdout.fileno(), "rb", closefd=False) as lines:
                for line in lines:
                    self._tell(read_finding(line))
            with self._change:  # ended: the next question is for another process
                self._process = None
                question = self._question
            if question is not None:
                reason = "the process that looked into it came to a sudden end"
                self._tell(Finding(question.path, Verdict.UNREADABLE, reason))

    def _tell(self, finding: Finding) -> None:
        with self._change:
            if self._question is None or self._question.path != finding.path:
                return
            self._question = None
        self._on_finding(finding)
