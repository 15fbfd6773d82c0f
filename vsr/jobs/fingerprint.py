"""What a file is, in one line: enough to tell later whether it is still the same, without reading all of it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

__all__ = ["identify", "matches", "take_fingerprint"]

SAMPLE_BYTES = 1 << 20


def identify(path: Path) -> str | None:
    """The file as the file system knows it, by size, times and number, unread; None where there is none."""
    try:
        return _describe(os.stat(path))
    except OSError:
        return None


def take_fingerprint(path: Path) -> str | None:
    """`identify`, and a SHA-256 of 1 MiB each from the head, the middle and the tail; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            digest = hashlib.sha256()
            for at in (0, (status.st_size - SAMPLE_BYTES) // 2, status.st_size - SAMPLE_BYTES):
                file.seek(max(0, at))
                digest.update(file.read(SAMPLE_BYTES))
    except OSError:
        return None
    return f"{_describe(status)}:{digest.hexdigest()}"


def matches(path: Path, fingerprint: str | None) -> str | None:
    """The fingerprint of the file as it is now, if its content is what `fingerprint` says; else None.

    Where size, times and number are those of then it is not read: the time of the last change of state (ctime) is
    nobody's to set. Where they differ, size and digest decide: a file that was copied back or touched is the same.
    """
    now = identify(path)
    if now is None or fingerprint is None:
        return None
    then, _, digest = fingerprint.rpartition(":")
    if now == then:
        return fingerprint
    if now.partition(":")[0] != then.partition(":")[0]:
        return None
    renewed = take_fingerprint(path)
    return renewed if renewed is not None and renewed.endswith(f":{digest}") else None


def _describe(status: os.stat_result) -> str:
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"
