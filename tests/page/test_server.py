from __future__ import annotations

import socket
import sys
import time
from typing import Any

import httpx
import pytest

from boards import BoardInMemory
from site_client import SiteClient
from vsr.errors import UsageError, VsrError
from vsr.page.address import Address
from vsr.page.page import Page


def test_health(client: SiteClient, board: BoardInMemory):
    assert (client.get("/healthz").status_code, client.get("/healthz").text) == (200, "ok\n")
    board.change(trouble="the disk is nearly full")
    assert (client.get("/healthz").status_code, client.get("/healthz").text) == (503, "the disk is nearly full\n")


def test_health_tells_nobody_of_paths(client: SiteClient, board: BoardInMemory, monkeypatch: pytest.MonkeyPatch):
    """It is for everybody, whereas messages of errors name files."""

    def fail() -> dict[str, Any]:
        raise VsrError("'/srv/in/.vsr/ledger.sqlite' cannot be used")

    monkeypatch.setattr(board, "snapshot", fail)
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert "cannot be read" in answer.text
    assert "/srv" not in answer.text


def test_health_of_a_daemon_that_does_not_answer(
    client: SiteClient, board: BoardInMemory, monkeypatch: pytest.MonkeyPatch
):
    def hang() -> dict[str, Any]:
        time.sleep(0.5)
        return {}

    monkeypatch.setattr("vsr.page.site.ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(board, "snapshot", hang)
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert "has not answered" in answer.text


def test_the_page_needs_no_other_host(client: SiteClient):
    for path in ("/", "/static/page.css", "/static/page.js"):
        text = client.get(path).text
        assert "http://" not in text
        assert "https://" not in text


def test_errors_are_json(client: SiteClient):
    assert client.get("/api/nothing").json() == {"error": "Not Found", "hint": None}


def test_an_address_in_use(url: str, board: BoardInMemory):
    port = int(url.rstrip("/").rpartition(":")[2])
    with pytest.raises(UsageError, match="in use"), Page(Address("127.0.0.1", port)).serve(board):
        pass


@pytest.mark.parametrize(
    "request_", ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"]
)
def test_what_others_send_does_not_fill_the_log(url: str, request_: str, caplog: pytest.LogCaptureFixture):
    with socket.create_connection(("127.0.0.1", int(url.rstrip("/").rpartition(":")[2]))) as raw:
        raw.sendall(request_.encode())
        assert raw.recv(100).split()[1] in (b"400", b"403")
    assert caplog.records == []


def test_ipv6(board: BoardInMemory):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with Page(Address("::1", 0)).serve(board) as url:
        assert httpx.get(f"{url}healthz", trust_env=False).text == "ok\n"


def test_a_board_that_lets_nobody_subscribe(board: BoardInMemory, monkeypatch: pytest.MonkeyPatch):
    def refuse() -> Any:
        raise VsrError("no more subscribers")

    monkeypatch.setattr(board, "subscribe", refuse)
    with pytest.raises(VsrError, match="could not be started"), Page(Address("127.0.0.1", 0)).serve(board):
        pass


def test_without_its_libraries(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "vsr.page.server")
    with pytest.raises(UsageError, match="needs uvicorn") as caught:
        Page(Address("127.0.0.1", 0))
    assert caught.value.hint == "pip install 'vsr[watch]'"


def test_for_other_machines(board: BoardInMemory):
    with Page(Address("0.0.0.0", 0), "a-token-of-good-length", ["films.example"]).serve(board) as url:
        url = url.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{url}api/state", trust_env=False).status_code == 401
        for host, status in (("192.168.1.5:8787", 200), ("films.example", 200), ("evil.example", 403)):
            headers = {"Host": host, "Authorization": "Bearer a-token-of-good-length"}
            assert httpx.get(f"{url}api/state", headers=headers, trust_env=False).status_code == status
