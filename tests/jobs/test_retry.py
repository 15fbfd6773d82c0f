from __future__ import annotations

import errno

import pytest

from vsr.errors import Interrupted, OutputError, ProcessingError, SourceError, VsrError
from vsr.jobs.retry import delay, may_pass


def caused(failure: VsrError, cause: BaseException) -> VsrError:
    try:
        raise failure from cause
    except VsrError as caught:
        return caught


OutOfMemoryError = type("OutOfMemoryError", (RuntimeError,), {})


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (caused(OutputError("x"), OSError(errno.ENOSPC, "No space left on device")), True),
        (caused(OutputError("x"), caused(OutputError("y"), OSError(errno.EDQUOT, "quota"))), True),
        (caused(OutputError("being worked on"), BlockingIOError(errno.EAGAIN, "busy")), True),
        (caused(ProcessingError("x"), MemoryError()), True),
        (caused(ProcessingError("x"), OutOfMemoryError("CUDA out of memory")), True),
        (caused(ProcessingError("x"), RuntimeError("DefaultCPUAllocator: can't allocate memory")), True),
        (OSError(errno.ESTALE, "Stale file handle"), True),
        (Interrupted(), True),
        (SourceError("not a film"), False),
        (caused(SourceError("x"), FileNotFoundError(errno.ENOENT, "gone")), False),
        (caused(OutputError("x"), PermissionError(errno.EACCES, "no")), False),
        (ProcessingError("x"), False),
        (ValueError("a bug"), False),
    ],
)
def test_what_may_pass(failure: BaseException, expected: bool) -> None:
    assert may_pass(failure) is expected


def test_a_cause_of_itself_ends() -> None:
    failure, cause = ValueError("a"), ValueError("b")
    failure.__cause__, cause.__cause__ = cause, failure
    assert may_pass(failure) is False


def test_delays_double_up_to_the_longest() -> None:
    longest = [delay(attempt, first=10, longest=100, draw=lambda: 1.0) for attempt in (1, 2, 3, 4, 5, 5000)]
    assert longest == [10, 20, 40, 80, 100, 100]
    assert [delay(attempt, first=10, longest=100, draw=lambda: 0.0) for attempt in (1, 2, 5)] == [5, 10, 50]
