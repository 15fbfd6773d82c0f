"""Who holds a connection and does nothing with it loses it; who is but slow keeps it. Through a real server."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import httpx
import pytest

from boards import BoardInMemory
from browsers import wait_until
from vsr.page import answers, connection, events, server
from vsr.page.address import Address
from vsr.page.connection import Connection
from vsr.page.page import Page

TOKEN = "a-token-of-good-length"
HEADERS = {"X-VSR": "test", "Authorization": f"Bearer {TOKEN}"}
IDLE = [
    "",
    "GET /",  # and nothing after that line
    "GET /events\r\n\r\n",  # and the answer is not read
    "GET /api/state\r\n\r\n",
    "PUT /api/uploads/.refused\r\nContent-Length: 9000\r\n\r\nfilm",
    "POST /login\r\nContent-Length: 9000\r\n\r\ntoken=",
]
UPLOAD = "PUT /api/uploads/film.mp4\r\nContent-Length: 9000\r\n\r\nfilm"


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> dict[Connection, bool]:
    """All that the page has had, and whether they are open."""
    found = dict[Connection, bool]()

    class Counted(Connection):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            found[self] = True

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            found[self] = False

    monkeypatch.setattr(server, "Connection", Counted)
    return found


@pytest.fixture
def url(board: BoardInMemory, connections: dict[Connection, bool], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A page of little patience; its state is more than the buffers of a connection take."""
    monkeypatch.setattr(connection, "WAIT_SECONDS", 0.3)
    monkeypatch.setattr(answers, "ORDER_SECONDS", 0.5)
    board.trouble = "a" * 8_000_000
    with Page(Address("127.0.0.1", 0), TOKEN).serve(board) as url:
        yield url


def ask(url: str, words: str) -> socket.socket:
    """Begin a request of somebody who has the token."""
    line, end, more = words.partition("\r\n")
    head = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "127.0.0.1", **HEADERS}.items())
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", int(url.rstrip("/").rpartition(":")[2])))
    raw.sendall(f"{line} HTTP/1.1\r\n{head if end else ''}{more}".encode() if words else b"")
    return raw


@pytest.mark.parametrize(("words", "trickle"), [([*IDLE, UPLOAD], b""), (IDLE, b"a")])
def test_who_does_nothing_is_cut_off(
    url: str, board: BoardInMemory, connections: dict[Connection, bool], words: list[str], trickle: bytes
):
    """Or no more than a byte now and then (of an upload that is to be a slow line)."""
    with ExitStack() as exits:
        raws = [exits.enter_context(ask(url, each)) for each in words]
        wait_until(lambda: len(connections) == len(raws))

        def are_cut_off() -> bool:
            for raw in raws:
                with suppress(OSError):  # this one is
                    raw.sendall(trickle)
            return not any(connections.values())

        wait_until(are_cut_off)
    assert list(board.inbox.iterdir()) == []


def test_who_is_slow_is_waited_for(url: str, board: BoardInMemory, monkeypatch: pytest.MonkeyPatch):
    """An upload with rests, and a reader of what comes seldom."""
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.8)
    board.trouble = None

    def pieces() -> Iterator[bytes]:
        for _ in range(8):
            yield b"film"
            time.sleep(0.12)

    with (
        httpx.Client(base_url=url, headers=HEADERS, trust_env=False, timeout=10) as client,
        client.stream("GET", "/events") as answer,
    ):
        assert client.put("/api/uploads/slow.mp4", content=pieces()).status_code == 201
        assert "event: beat" in answer.iter_lines()
    assert (board.inbox / "slow.mp4").read_bytes() == b"film" * 8


@pytest.mark.parametrize("words", ["POST /login", "POST /api/jobs/1/move", "PUT /api/uploads/a.mp4"])
def test_who_leaves_amid_a_request_is_no_fault(
    url: str, words: str, caplog: pytest.LogCaptureFixture, board: BoardInMemory, connections: dict[Connection, bool]
):
    with ask(url, f"{words}\r\nContent-Length: 9000\r\n\r\nfilm"):
        wait_until(lambda: len(connections) == 1)
        time.sleep(0.1)
    wait_until(lambda: not any(connections.values()))
    time.sleep(0.1)  # its task hears of it
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert list(board.inbox.iterdir()) == []
