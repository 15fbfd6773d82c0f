"""Word to systemd, if it is systemd that started us: ready, stopping, still alive.

The protocol is a datagram of NAME=VALUE lines to the socket in NOTIFY_SOCKET (sd_notify(3)).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

__all__ = ["Service"]


class Service:
    """The service manager above this process; without one, nothing happens.

    Args:
        environment: where NOTIFY_SOCKET and WATCHDOG_USEC are read.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        interval = environment.get("WATCHDOG_USEC", "")
        self.ping_seconds = int(interval) / 2e6 if interval.isdecimal() and self._address else None
        """Seconds between two signs of life, None where nobody waits for them. Half of what is allowed."""

    def tell_ready(self) -> None:
        self._send("READY=1")

    def tell_stopping(self) -> None:
        self._send("STOPPING=1")

    def tell_alive(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, line: str) -> None:
        if not self._address:
            return
        # "@" stands for the zero byte of an abstract socket.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        # A manager that does not listen is no reason to stop the work.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto(line.encode(), address)
