"""Failures that may pass by themselves, and how long to wait before another attempt."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Iterator

from vsr.errors import DownloadError, Interrupted, ProcessingError

__all__ = ["FIRST_DELAY", "MAX_ATTEMPTS", "delay", "list_causes", "may_pass"]

MAX_ATTEMPTS = 4
FIRST_DELAY = 10.0
LONGEST_DELAY = 1800.0

# What the operating system says of conditions that end by themselves, or that somebody ends: a full disk, too little
# memory, too many open files, a lock that another process holds, a network share that is away. Some systems lack some.
_PASSING = frozenset(
    getattr(errno, name)
    for name in (
        "ENOSPC", "EDQUOT", "ENOMEM", "EMFILE", "ENFILE", "EAGAIN", "EWOULDBLOCK", "EDEADLK", "ENOLCK", "EBUSY",
        "ETXTBSY", "EINTR", "EIO", "ESTALE", "EREMOTEIO", "ENODEV", "ENXIO", "ENOTCONN", "ETIMEDOUT", "EHOSTDOWN",
        "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENETRESET", "ECONNRESET", "ECONNABORTED", "ECONNREFUSED",
        "ESHUTDOWN",
    )
    if hasattr(errno, name)
)  # fmt: skip

# By their names, since torch is not to be loaded here; on a CPU it raises a plain RuntimeError when memory runs out.
_PASSING_TYPES = frozenset({"OutOfMemoryError", "AcceleratorError"})
_PASSING_WORDS = ("out of memory", "DefaultCPUAllocator", "could not create a memory object", "CUDA error")


def may_pass(failure: BaseException) -> bool:
    """True if another attempt at the same work may go well: a full disk, no memory on a GPU, a share that is away.

    What the film or the request itself is to blame for does not pass. The causes of the failure count as well.
    """
    return any(_is_passing(cause) for cause in list_causes(failure))


def delay(
    attempt: int,
    *,
    first: float = FIRST_DELAY,
    longest: float = LONGEST_DELAY,
    draw: Callable[[], float] = random.random,
) -> float:
    """Seconds to wait after attempt number `attempt` (1, 2 ...) has failed: doubled each time, up to `longest`.

    The upper half is left to chance, so that workers that failed together do not come back together.

    Args:
        draw: gives numbers in [0, 1).
    """
    whole = min(longest, first * 2.0 ** min(attempt - 1, 60))
    return whole / 2 + draw() * whole / 2


def _is_passing(failure: BaseException) -> bool:
    if isinstance(failure, (Interrupted, MemoryError, DownloadError)) or type(failure).__name__ in _PASSING_TYPES:
        return True
    if isinstance(failure, (RuntimeError, ProcessingError)) and any(words in str(failure) for words in _PASSING_WORDS):
        return True
    return getattr(failure, "errno", None) in _PASSING  # FFmpeg's errors have one too


def list_causes(failure: BaseException) -> Iterator[BaseException]:
    """The failure, what it was raised from, and so on, each once."""
    seen: set[int] = set()
    cause: BaseException | None = failure
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
