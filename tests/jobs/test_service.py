"""Word to systemd."""

from __future__ import annotations

import socket
from pathlib import Path

from vsr.jobs.service import Service


def test_words_come_as_datagrams(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        service = Service({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"})
        assert service.ping_seconds == 15.0
        service.tell_ready()
        service.tell_alive()
        service.tell_stopping()
        assert [manager.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_abstract_address():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0vsr-test-of-service")
        manager.settimeout(5)
        Service({"NOTIFY_SOCKET": "@vsr-test-of-service"}).tell_ready()
        assert manager.recv(100) == b"READY=1"


def test_nobody_listens(tmp_path: Path):
    Service({}).tell_ready()
    Service({"NOTIFY_SOCKET": str(tmp_path / "gone")}).tell_ready()
    assert Service({"WATCHDOG_USEC": "30000000"}).ping_seconds is None
