"""The stream of changes, through a real server: what comes, when, and that nobody waits for anybody."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from boards import BoardInMemory
from vsr.errors import VsrError
from vsr.page import events
from vsr.page.address import Address
from vsr.page.live import NUM_RATES, RATES_SECONDS, Rates
from vsr.page.page import Page
from vsr.page.server import CLOSE_SECONDS

MUCH = 4_000_000  # bytes: more than the buffers of a connection take


def states(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The objects of the `state` events."""
    for line in lines:
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))


def until(stream: Iterator[dict[str, Any]], key: str) -> dict[str, Any]:
    return next(state for state in stream if key in state)


def test_first_all_then_what_changed(served: httpx.Client, board: BoardInMemory):
    first, second = board.add("a.mp4"), board.add("b.mp4")
    with served.stream("GET", "/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        stream = states(answer.iter_lines())
        state = until(stream, "queue")
        assert [job["id"] for job in state["queue"]] == [first, second]
        assert state["paused"] is False
        board.begin(first)
        news = until(stream, "working")
        assert set(news) == {"queue", "working", "counts"}
        board.advance(first, done=7, fps=3.5)
        news = until(stream, "working")
        assert set(news) == {"working"}
        assert (news["working"][0]["done"], news["working"][0]["fps"]) == (7, 3.5)


def test_changes_are_gathered(served: httpx.Client, board: BoardInMemory):
    id = board.add("a.mp4")
    board.begin(id, total=500)
    with served.stream("GET", "/events") as answer:
        stream = states(answer.iter_lines())
        until(stream, "queue")
        for done in range(1, 501):
            board.advance(id, done=done)
        seen = []
        while not seen or seen[-1] != 500:
            seen.append(until(stream, "working")["working"][0]["done"])
    assert len(seen) < 10


def test_silence_is_broken_by_heartbeats(served: httpx.Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.1)
    with served.stream("GET", "/events") as answer:
        lines = answer.iter_lines()
        assert next(line for line in lines if line.startswith(":")) == ": heartbeat"
        assert next(lines) == "event: beat"


def test_trouble_of_the_board_is_told_and_passes(
    served: httpx.Client, board: BoardInMemory, monkeypatch: pytest.MonkeyPatch
):
    def fail() -> dict[str, Any]:
        raise VsrError("the ledger is locked")

    with served.stream("GET", "/events") as answer:
        stream = states(answer.iter_lines())
        until(stream, "queue")
        with monkeypatch.context() as patch:
            patch.setattr(board, "snapshot", fail)
            board.change()
            assert until(stream, "trouble") == {"trouble": "the ledger is locked"}
        board.change()
        assert until(stream, "trouble") == {"trouble": None}


def test_a_figure_that_is_none_is_a_fault_in_the_log(
    served: httpx.Client, board: BoardInMemory, caplog: pytest.LogCaptureFixture
):
    id = board.add("a.mp4")
    board.begin(id)
    board.advance(id, fps=float("nan"))
    with served.stream("GET", "/events") as answer:
        stream = states(answer.iter_lines())
        assert "its log says why" in until(stream, "trouble")["trouble"]
        board.advance(id, fps=1.0)
        assert until(stream, "working")["trouble"] is None
    assert {record.levelno for record in caplog.records if record.name == "vsr.page.live"} == {logging.ERROR}


def test_names_that_are_no_unicode(served: httpx.Client, board: BoardInMemory):
    board.add("\udcff.mp4")
    with served.stream("GET", "/events") as answer:
        assert until(states(answer.iter_lines()), "queue")["queue"][0]["name"] == "\udcff.mp4"
    assert served.get("/api/state").json()["queue"][0]["name"] == "\udcff.mp4"


def port_of(url: str) -> int:
    return int(url.rstrip("/").rpartition(":")[2])


def connect_and_read_nothing(url: str) -> socket.socket:
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", port_of(url)))
    raw.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    return raw


def test_who_reads_nothing_holds_nobody_up(url: str, served: httpx.Client, board: BoardInMemory):
    with connect_and_read_nothing(url), served.stream("GET", "/events") as answer:
        stream = states(answer.iter_lines())
        until(stream, "queue")
        for sign in "abcd":
            began = time.monotonic()
            board.change(trouble=sign * MUCH)
            assert until(stream, "trouble")["trouble"] == sign * MUCH
            assert time.monotonic() - began < 6


def test_closing_lets_everybody_go(board: BoardInMemory):
    """Readers get the end of the stream; who reads nothing cannot keep the daemon either; no thread is left."""
    threads = threading.active_count()
    board.trouble = "a" * MUCH
    with Page(Address("127.0.0.1", 0)).serve(board) as url:
        lazy = connect_and_read_nothing(url)
        stream = httpx.stream("GET", f"{url}events", trust_env=False)
        answer = stream.__enter__()
        lines = answer.iter_lines()
        until(states(lines), "queue")
        began = time.monotonic()
    assert time.monotonic() - began < CLOSE_SECONDS + 3
    assert list(states(lines)) == []
    stream.__exit__(None, None, None)
    lazy.close()
    assert board.num_subscribers == 0
    assert threading.active_count() <= threads


def test_curves_reach_back_two_minutes():
    rates = Rates()
    film = {"job": {"id": 3}, "fps": 1.0}
    for second in range(600):
        rates.note([{**film, "fps": float(second)}], now=1000.0 + second)
    (shown,) = rates.beside([film])
    assert len(shown["rates"]) == NUM_RATES
    assert shown["rates"] == [599.0 - RATES_SECONDS * n - 1 for n in reversed(range(NUM_RATES))]
    rates.note([], now=2000.0)
    assert rates.beside([film])[0]["rates"] == []
