"""Who works on a job: a process, named so that a later one with the same number is not taken for it."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from pathlib import Path

__all__ = ["is_alive", "name_owner"]

UNKNOWN = "unknown"


def name_owner(process: int | None = None) -> str:
    """ "HOST:PID:START" of a process of this machine; None: this one."""
    process = os.getpid() if process is None else process
    return f"{_host()}:{process}:{_start_of(process) or UNKNOWN}"


def is_alive(owner: str) -> bool:
    """False if that process has certainly ended. Of another machine (or container) nobody here can tell: True."""
    host, process, start = owner.rsplit(":", 2)
    if host != _host() or not process.isdecimal():
        return True
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # it is there, and somebody else's
    return start == UNKNOWN or _start_of(int(process)) in (start, None)


def _start_of(process: int) -> str | None:
    """When a process began, in words of its own kind; None where that cannot be had."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return _ask_ps(process)
    return f"{_boot()}-{fields[19]}" if fields[0] != "Z" else "ended"  # a zombie works on nothing


def _ask_ps(process: int) -> str | None:
    try:
        done = subprocess.run(["ps", "-o", "lstart=", "-p", str(process)], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return "-".join(done.stdout.replace(":", "-").split()) or None


@functools.cache
def _boot() -> str:
    """This boot of the machine: start times count from it, and may repeat after the next."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    except OSError:
        return ""


@functools.cache
def _host() -> str:
    return platform.node().replace(":", "-") or "localhost"
