from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import httpx
import pytest

from boards import BoardInMemory
from site_client import SiteClient
from vsr.page import uploads
from vsr.page.answers import Refusal

FILM = bytes(range(256)) * 9000  # more than two pieces


def put(client: SiteClient | httpx.Client, name: str, content: bytes | Iterator[bytes] = FILM) -> httpx.Response:
    return client.put(f"/api/uploads/{quote(name, safe='')}", content=content, headers={"X-VSR": "test"})


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.01)


@pytest.mark.parametrize(
    "name", ["film.mp4", "Übersee 海.mkv", "<img src=x onerror=alert(1)>.mp4", "%2e%2e.mp4", "a?b#c&d.mp4"]
)
def test_a_film_comes_in_whole(client: SiteClient, board: BoardInMemory, name: str):
    """Names are taken as they are; nothing in them is markup, address or escape."""
    answer = put(client, name)
    assert (answer.status_code, answer.json()) == (201, {"name": name})
    assert [path.name for path in board.inbox.iterdir()] == [name]
    assert (board.inbox / name).read_bytes() == FILM


def test_an_empty_film(client: SiteClient, board: BoardInMemory):
    """What it is worth is the daemon's to judge."""
    assert put(client, "empty.mp4", b"").status_code == 201
    assert (board.inbox / "empty.mp4").stat().st_size == 0


BAD_NAMES = [
    "", " ", ".", "..", "../x.mp4", "/etc/x.mp4", "a/b.mp4", "a\\b.mp4", "..\\x.mp4", ".hidden.mp4", "nul\0.mp4",
    "line\nbreak.mp4", "tab\t.mp4", "turned\u202e4pm.exe.mp4", "unseen\u200b.mp4",
    "x" * 201 + ".mp4", "é" * 100 + ".mp4", "film.mp4.part", "preset.toml", "PRESET.TOML", "done", "failed",
    "~film.mp4", "film.tmp", "notes.txt", "film.mp4.",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names(client: SiteClient, board: BoardInMemory, name: str):
    before = sorted(board.inbox.parent.rglob("*"))
    answer = client.post("/api/uploads", json={"name": name, "size": 1})
    assert answer.status_code == 400, answer.text
    assert "no name for an upload" in answer.json()["error"]
    assert len(answer.text) < 1000
    assert put(client, name).status_code in (400, 404, 405)  # some never reach it, being other addresses
    assert sorted(board.inbox.parent.rglob("*")) == before


@pytest.mark.parametrize(
    "path", ["../x.mp4", "%2e%2e/x.mp4", "..%2fx.mp4", "%2e%2e%2fx.mp4", "..%5cx.mp4", "%00.mp4", "%ff/x.mp4"]
)
def test_bad_names_as_raw_addresses(url: str, board: BoardInMemory, path: str):
    """As no library would send them: httpx tidies addresses up."""
    head = f"PUT /api/uploads/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-VSR: x\r\nContent-Length: 4\r\n\r\nfilm"
    with socket.create_connection(("127.0.0.1", int(url.rstrip("/").rpartition(":")[2]))) as raw:
        raw.sendall(head.encode())
        status = raw.recv(100).split()[1]
    assert status in (b"400", b"404", b"405")
    assert list(board.inbox.parent.rglob("*")) == [board.inbox]


def test_a_lone_surrogate(client: SiteClient):
    headers = {"Content-Type": "application/json"}
    answer = client.post("/api/uploads", content=rb'{"name": "\ud800.mp4", "size": 1}', headers=headers)
    assert answer.status_code == 400


@pytest.mark.parametrize("order", [{}, {"name": 1, "size": 1}, {"name": "a.mp4"}, {"name": "a.mp4", "size": -1}])
def test_questions_that_are_none(client: SiteClient, order: dict[str, object]):
    assert client.post("/api/uploads", json=order).status_code == 400


def test_what_is_there_stays(client: SiteClient, board: BoardInMemory):
    there = board.inbox / "film.mp4"
    there.write_bytes(b"old")
    (board.inbox / "link.mp4").symlink_to(board.inbox.parent / "elsewhere.mp4")
    for name in ("film.mp4", "link.mp4"):
        assert client.post("/api/uploads", json={"name": name, "size": 1}).status_code == 409
        assert put(client, name).status_code == 409
    assert there.read_bytes() == b"old"
    assert not (board.inbox.parent / "elsewhere.mp4").exists()


def test_who_comes_first_while_it_was_on_its_way(served: httpx.Client, board: BoardInMemory):
    def pieces() -> Iterator[bytes]:
        yield FILM
        wait_until(lambda: any(board.inbox.glob("*.part")))
        (board.inbox / "film.mp4").write_bytes(b"of somebody else")
        yield FILM

    assert put(served, "film.mp4", pieces()).status_code == 409
    assert (board.inbox / "film.mp4").read_bytes() == b"of somebody else"
    assert len(list(board.inbox.iterdir())) == 1


def test_the_same_name_twice_at_once(served: httpx.Client, board: BoardInMemory):
    is_refused = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield FILM
        assert is_refused.wait(10)

    answers: list[httpx.Response] = []
    first = threading.Thread(target=lambda: answers.append(put(served, "film.mp4", pieces())))
    first.start()
    wait_until(lambda: any(board.inbox.glob("*.part")))
    assert put(served, "film.mp4").status_code == 409
    is_refused.set()
    first.join()
    assert answers[0].status_code == 201
    assert (board.inbox / "film.mp4").read_bytes() == FILM


def test_nothing_is_left_of_a_film_that_breaks_off(url: str, served: httpx.Client, board: BoardInMemory):
    head = b"PUT /api/uploads/film.mp4 HTTP/1.1\r\nHost: 127.0.0.1\r\nX-VSR: x\r\nContent-Length: 99999999\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(url.rstrip("/").rpartition(":")[2]))) as raw:
        raw.sendall(head + FILM)
        wait_until(lambda: any(board.inbox.iterdir()))
        assert [path.suffix for path in board.inbox.iterdir()] == [".part"]
    wait_until(lambda: not any(board.inbox.iterdir()))
    wait_until(lambda: put(served, "film.mp4").status_code == 201)


def test_a_killed_daemons_piece_is_removed(client: SiteClient, board: BoardInMemory):
    """Of an upload of the same name: its temporary file has a process in its name that is no more."""
    whole = uploads.temporary_name(board.inbox / "film.mp4")
    stale = whole.with_name(whole.name.replace(f"-{os.getpid()}-", "-4194305-"))
    stale.write_bytes(b"half")
    assert put(client, "film.mp4").status_code == 201
    assert [path.name for path in board.inbox.iterdir()] == ["film.mp4"]


@pytest.mark.parametrize("is_announced", [True, False])
def test_the_floor_of_the_disk(
    served: httpx.Client, board: BoardInMemory, is_announced: bool, monkeypatch: pytest.MonkeyPatch
):
    """Looked at before the first byte, and where the length is not told, before every piece."""
    board.disk_floor = 10**9

    def look(folder: Path) -> SimpleNamespace:
        come = sum(path.stat().st_size for path in board.inbox.iterdir())
        return SimpleNamespace(free=board.disk_floor + len(FILM) // 2 - come)

    monkeypatch.setattr(uploads.shutil, "disk_usage", look)  # what others write and remove meanwhile is no matter
    content = FILM if is_announced else iter([FILM, FILM, FILM])
    answer = put(served, "film.mp4", content)
    assert answer.status_code == 507
    assert "have to stay free" in answer.json()["error"]
    assert list(board.inbox.iterdir()) == []


def test_an_inbox_that_is_gone(client: SiteClient, board: BoardInMemory):
    board.inbox.rmdir()
    answer = put(client, "film.mp4")
    assert answer.status_code == 500
    assert str(board.inbox) not in answer.text


def test_a_disk_that_fills_up(client: SiteClient, board: BoardInMemory, monkeypatch: pytest.MonkeyPatch):
    def fill(file: object) -> None:
        raise OSError(28, "No space left on device", str(board.inbox))

    monkeypatch.setattr(uploads.os, "fsync", fill)
    answer = put(client, "film.mp4")
    assert (answer.status_code, answer.json()["error"]) == (
        507,
        "the inbox cannot be written to: No space left on device",
    )
    assert list(board.inbox.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_disk_that_is_full():
    """The refusal is not hidden by another failure where the file is closed."""
    with pytest.raises(Refusal, match="No space left") as caught, open("/dev/full", "wb", buffering=0) as file:
        uploads._write(file, bytearray(FILM), floor=0)
    assert caught.value.status == 507
