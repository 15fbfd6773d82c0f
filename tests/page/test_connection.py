"""Who holds a connection and does nothing with it loses it; who is but slow keeps it. Through a real server."""

from __future__ import annotations

import itertools
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import httpx
import pytest

from boards import BoardInMemory
from vsr.page import answers, connection, events, server
from vsr.page.address import Address
from vsr.page.page import Page

FEW = 3
HEAD = "Host: 127.0.0.1\r\nX-VSR: test\r\n"
TOKEN = "a-token-of-good-length"


@pytest.fixture
def url(board: BoardInMemory, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A page of few connections and little patience; its state is more than the buffers of a connection take."""
    monkeypatch.setattr(server, "NUM_CONNECTIONS", FEW)
    monkeypatch.setattr(connection, "WAIT_SECONDS", 0.3)
    monkeypatch.setattr(answers, "ORDER_SECONDS", 0.5)
    board.trouble = "a" * 8_000_000
    with Page(Address("127.0.0.1", 0), TOKEN).serve(board) as url:
        yield url


def say(words: str, number: int) -> bytes:
    """A request of somebody who has the token."""
    line, _, more = words.partition("\r\n")
    head = f"{line} HTTP/1.1\r\n{HEAD}Authorization: Bearer {TOKEN}\r\n{more}"
    return head.replace("NUMBER", str(number)).encode()


def connect(url: str) -> socket.socket:
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", int(url.rstrip("/").rpartition(":")[2])))
    return raw


IDLE = [
    "",
    "GET /",  # and nothing after that line
    "GET /events\r\n\r\n",  # and the answer is not read
    "GET /api/state\r\n\r\n",
    "PUT /api/uploads/.refused\r\nContent-Length: 9000\r\n\r\nfilm",
    "POST /login\r\nContent-Length: 9000\r\n\r\ntoken=",
]
UPLOAD = "PUT /api/uploads/NUMBER.mp4\r\nContent-Length: 9000\r\n\r\nfilm"


@pytest.mark.parametrize(("words", "trickle"), [*itertools.product(IDLE, (b"", b"a")), (UPLOAD, b"")])
def test_who_does_nothing_is_cut_off(url: str, board: BoardInMemory, words: str, trickle: bytes):
    """Or no more than a byte now and then (of an upload that is to be a slow line)."""
    with ExitStack() as exits:
        raws = [exits.enter_context(connect(url)) for _ in range(FEW - 1)]  # the next one is refused
        for number, raw in enumerate(raws):
            raw.sendall(say(words, number) if words else b"")
        deadline = time.monotonic() + 10
        statuses = list[int]()
        while 200 not in statuses:
            assert time.monotonic() < deadline
            statuses.append(httpx.get(f"{url}static/page.css", trust_env=False).status_code)
            for raw in raws:
                with suppress(OSError):  # where it was cut off
                    raw.sendall(trickle)
            time.sleep(0.05)
    assert statuses[0] == 503
    assert list(board.inbox.iterdir()) == []


def test_who_is_slow_is_waited_for(url: str, board: BoardInMemory, monkeypatch: pytest.MonkeyPatch):
    """An upload with rests, and a reader of what comes seldom."""
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 1.0)
    board.trouble = None

    def pieces() -> Iterator[bytes]:
        for _ in range(10):
            yield b"film"
            time.sleep(0.15)

    headers = {"X-VSR": "test", "Authorization": f"Bearer {TOKEN}"}
    with (
        httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=10) as client,
        client.stream("GET", "/events") as answer,
    ):
        assert client.put("/api/uploads/slow.mp4", content=pieces()).status_code == 201
        assert "event: beat" in answer.iter_lines()
    assert (board.inbox / "slow.mp4").read_bytes() == b"film" * 10


@pytest.mark.parametrize("words", ["POST /login", "POST /api/jobs/1/move", "PUT /api/uploads/a.mp4"])
def test_who_leaves_amid_a_request_is_no_fault(
    url: str, words: str, caplog: pytest.LogCaptureFixture, board: BoardInMemory
):
    with connect(url) as raw:
        raw.sendall(say(f"{words}\r\nContent-Length: 9000\r\n\r\nfilm", 0))
        time.sleep(0.1)
    time.sleep(0.2)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert list(board.inbox.iterdir()) == []
