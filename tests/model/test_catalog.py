"""The catalogue, and downloads from servers of every temper (all of them on this machine)."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from vsr.errors import DownloadError, ModelError, WeightsError
from vsr.model import catalog
from vsr.model.loading import load_model
from vsr.model.weights import read_metadata

EMBEDDED = ["fast", "fast-x2", "realtime", "film", "quality"]
CONTENT = bytes(range(256)) * 2048  # 512 KiB: more than one chunk
TIMEOUT = 0.25


@dataclass
class Server:
    """What the server did; `answer` is what it does with a request (its handler, and how many came before)."""

    url: str = ""
    answer: Callable[[BaseHTTPRequestHandler, int], None] = field(default=lambda handler, _: send(handler))
    ranges: list[str | None] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


def send(
    handler: BaseHTTPRequestHandler,
    content: bytes = CONTENT,
    *,
    start: int = 0,
    stop: int | None = None,
    status: int = 200,
    kind: str = "application/octet-stream",
    length: bool = True,
) -> None:
    """Promises `content` from `start` on, sends it up to `stop`."""
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    if length:
        handler.send_header("Content-Length", str(len(content) - start))
    if status == 206:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    handler.end_headers()
    handler.wfile.write(content[start:stop])


def send_range(handler: BaseHTTPRequestHandler, content: bytes = CONTENT, stop: int | None = None) -> None:
    wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    if wanted:
        send(handler, content, start=int(wanted[1]), stop=stop, status=206)
    else:
        send(handler, content, stop=stop)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.ranges.append(self.headers.get("Range"))
            state.answer(self, len(state.ranges) - 1)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        state.url = f"http://127.0.0.1:{httpd.server_port}/net.pth"
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield state
        state.released.set()
        httpd.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of the test's own; no other folders."""
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VSR_MODELS", raising=False)
    return tmp_path / "cache" / "models"


@pytest.fixture
def entry(server: Server) -> catalog.Entry:
    return catalog.Entry(
        name="testnet",
        scale=4,
        architecture="none",
        description="for tests",
        licence="CC0-1.0",
        file_name="net.pth",
        num_bytes=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        url=server.url,
    )


def fetch(entry: catalog.Entry, **options: object) -> Path:
    pauses: list[float] = []
    settings: dict[str, object] = {"timeout": TIMEOUT, "attempts": 3, "sleep": pauses.append}
    return catalog.fetch(entry, **(settings | options))  # type: ignore[arg-type]


def put_part(cache: Path, content: bytes) -> None:
    cache.mkdir(parents=True)
    (cache / "net.pth.part").write_bytes(content)


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


# Entries and names ---------------------------------------------------------------------------------------------------


def test_entries_are_well_formed() -> None:
    entries = catalog.entries()
    assert entries[0].name == "fast"
    assert entries[0].is_embedded
    assert len({entry.name for entry in entries}) == len(entries) == 14
    assert len({entry.sha256 for entry in entries}) == len(entries)
    for entry in entries:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.name)
        assert re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
        assert entry.num_bytes > 150_000
        assert entry.licence in {"MIT", "BSD-3-Clause", "Apache-2.0"}
        assert catalog.find(entry.name) is entry
        if entry.url is not None:
            assert re.fullmatch(r"https://github\.com/[\w./-]+\.pth", entry.url)
            assert entry.url.endswith("/" + entry.file_name)
    assert [entry.name for entry in entries if entry.is_embedded] == EMBEDDED
    assert [entry.name for entry in entries if entry.url is None] == [*EMBEDDED, "esrgan-x4"]


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_weights_are_those_of_the_catalogue(name: str) -> None:
    """Whole, small, with their card beside them, and with how they were made in their header."""
    path = catalog.fetch(catalog.find(name), download=False)
    assert path.stat().st_size < 6_000_000
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert catalog.find(name).sha256 in card, "weights come with their card"
    header = read_metadata(path)
    recipe = json.loads(header["recipe"])
    assert f"vsr train train-{recipe['name']} " in card
    assert int(header["steps"]) == recipe["run"]["steps"]
    assert int(header["num_pictures"]) > 0
    assert re.fullmatch(r"[0-9a-f]{64}", header["data"])
    assert load_model(name).scale == catalog.find(name).scale


@pytest.mark.parametrize(
    ("scale", "name"),
    [(None, "fast"), (1.0, "fast-x2"), (1.5, "fast-x2"), (2.0, "fast-x2"), (2.01, "fast"), (8.0, "fast")],
)
def test_a_smaller_scale_gets_the_sister_that_need_not_be_shrunk_after(scale: float | None, name: str) -> None:
    assert catalog.resolve("fast", scale) == (catalog.find(name), None)
    assert catalog.resolve("fast-x2", scale) == (catalog.find("fast-x2"), None)  # who names her gets her
    assert catalog.resolve("bsrgan-x4", scale) == (catalog.find("bsrgan-x4"), None)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("realesrgan-x4", "realesrgan-x4plus"), ("Fast", "fast"), ("animevideov3", "realesr-animevideov3")],
)
def test_unknown_names_get_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(ModelError, match=repr(wrong)) as caught:
        catalog.find(wrong)
    assert "did you mean" in str(caught.value.hint)
    assert right in str(caught.value.hint)


def test_names_like_nothing_get_the_list() -> None:
    with pytest.raises(ModelError) as caught:
        catalog.find("zzzzzz")
    assert all(entry.name in str(caught.value.hint) for entry in catalog.entries())


def test_resolve_tells_names_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("fast", "mine", "net.pth"):
        (tmp_path / name).write_bytes(b"x")
    assert catalog.resolve("fast") == (catalog.find("fast"), None)  # a stray file does not take the name away
    assert catalog.resolve(Path("fast")) == (None, Path("fast"))
    assert catalog.resolve("./fast") == (None, Path("fast"))
    assert catalog.resolve("mine") == (None, Path("mine"))
    assert catalog.resolve("net.pth") == (None, Path("net.pth"))
    assert catalog.resolve("gone.pth") == (None, Path("gone.pth"))  # the reader says that it is missing
    assert catalog.resolve("some/where") == (None, Path("some/where"))
    with pytest.raises(ModelError, match="no model called 'fats'"):
        catalog.resolve("fats")


def test_models_folders_are_searched_by_file_and_by_stem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    (first / "one.pth").write_bytes(b"x")
    (second / "one.pth").write_bytes(b"x")
    (second / "two.safetensors").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VSR_MODELS", catalog.os.pathsep.join([str(first), "", str(second)]))
    assert catalog.resolve("one.pth") == (None, first / "one.pth")
    assert catalog.resolve("one") == (None, first / "one.pth")
    assert catalog.resolve("two") == (None, second / "two.safetensors")


def test_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert catalog.cache_folder() == tmp_path / "cache" / "models"
    monkeypatch.delenv("VSR_CACHE")
    monkeypatch.setattr(catalog.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert catalog.cache_folder() == tmp_path / "xdg" / "vsr" / "models"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert catalog.cache_folder() == tmp_path / "home" / ".cache" / "vsr" / "models"


# Files that are here already -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["net.pth", "testnet.pth", "testnet.safetensors"])
def test_folder_of_the_user_comes_first(
    tmp_path: Path, entry: catalog.Entry, server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "by hand"
    folder.mkdir()
    monkeypatch.setenv("VSR_MODELS", str(folder))
    (folder / name).write_bytes(CONTENT)
    assert fetch(entry) == folder / name
    assert server.ranges == []


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"\0"])
def test_wrong_file_of_the_user_is_refused_and_left_alone(
    tmp_path: Path, entry: catalog.Entry, server: Server, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VSR_MODELS", str(tmp_path))
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(WeightsError, match="not the published file of testnet"):
        fetch(entry)
    assert (tmp_path / "net.pth").read_bytes() == content
    assert server.ranges == []


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT[:-1] + b"\0", CONTENT + b"\0"])
def test_damaged_cache_is_fetched_again(entry: catalog.Entry, server: Server, cache: Path, content: bytes) -> None:
    path = fetch(entry)
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged"):
        fetch(entry, download=False)
    assert fetch(entry).read_bytes() == CONTENT
    assert len(server.ranges) == 2


def test_download_can_be_forbidden(entry: catalog.Entry, server: Server) -> None:
    with pytest.raises(DownloadError, match="not on this machine") as caught:
        fetch(entry, download=False)
    assert "VSR_MODELS" in str(caught.value.hint)
    assert server.ranges == []


def test_entry_without_an_address_says_where_the_file_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    esrgan = catalog.find("esrgan-x4")
    with pytest.raises(ModelError) as caught:
        fetch(esrgan)
    assert "4x-ESRGAN.pth" in str(caught.value.hint)
    assert "VSR_MODELS" in str(caught.value.hint)
    monkeypatch.setenv("VSR_MODELS", str(tmp_path))
    (tmp_path / "esrgan-x4.pth").write_bytes(CONTENT)
    fitting = replace(esrgan, num_bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
    assert fetch(fitting) == tmp_path / "esrgan-x4.pth"


# Downloads -----------------------------------------------------------------------------------------------------------


def test_download_arrives_once_and_whole(entry: catalog.Entry, server: Server, cache: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = fetch(entry, progress=lambda done, total: seen.append((done, total)))
    assert path == cache / "net.pth"
    assert path.read_bytes() == CONTENT
    assert files_in(cache) == {"net.pth"}
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)
    assert fetch(entry) == path
    assert server.ranges == [None]


@pytest.mark.parametrize("num_bytes", [1, 300_000, len(CONTENT) - 1])
def test_broken_download_continues(entry: catalog.Entry, server: Server, cache: Path, num_bytes: int) -> None:
    server.answer = lambda handler, _: send_range(handler)
    put_part(cache, CONTENT[:num_bytes])
    seen: list[int] = []
    assert fetch(entry, progress=lambda done, _: seen.append(done)).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={num_bytes}-"]
    assert seen[0] == num_bytes
    assert files_in(cache) == {"net.pth"}


def test_whole_part_needs_no_connection(entry: catalog.Entry, server: Server, cache: Path) -> None:
    put_part(cache, CONTENT)
    assert fetch(entry).read_bytes() == CONTENT
    assert server.ranges == []


def test_server_that_ignores_ranges(entry: catalog.Entry, server: Server, cache: Path) -> None:
    put_part(cache, CONTENT[:1000])
    assert fetch(entry).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


def test_server_that_sends_another_range(entry: catalog.Entry, server: Server, cache: Path) -> None:
    server.answer = lambda handler, n: send(handler, start=500, status=206) if n == 0 else send_range(handler)
    put_part(cache, CONTENT[:1000])
    assert fetch(entry).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-", None]


def test_server_that_knows_no_such_range(entry: catalog.Entry, server: Server, cache: Path) -> None:
    server.answer = lambda handler, n: send(handler, b"", status=416) if n == 0 else send_range(handler)
    put_part(cache, CONTENT[:1000])
    assert fetch(entry).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-", None]


@pytest.mark.parametrize("part", [CONTENT + b"more", b"\xff" + CONTENT[1:], b"\xff" * 1000])
def test_part_of_something_else_is_thrown_away(entry: catalog.Entry, server: Server, cache: Path, part: bytes) -> None:
    server.answer = lambda handler, _: send_range(handler)
    put_part(cache, part)
    assert fetch(entry).read_bytes() == CONTENT
    assert server.ranges[-1] is None


def test_short_answer_is_continued(entry: catalog.Entry, server: Server) -> None:
    server.answer = lambda handler, n: send_range(handler, stop=(100_000, 400_000, None)[n])
    assert fetch(entry).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=400000-"]


def test_short_answer_without_a_length_is_noticed(entry: catalog.Entry, server: Server, cache: Path) -> None:
    server.answer = lambda handler, _: send(handler, stop=1000, length=False)
    with pytest.raises(DownloadError, match=f"ended after 1000 of {len(CONTENT)} bytes"):
        fetch(entry)
    assert files_in(cache) == {"net.pth.part"}  # the next run continues it


def test_stalled_answer_is_continued(entry: catalog.Entry, server: Server) -> None:
    def stall(handler: BaseHTTPRequestHandler, num_before: int) -> None:
        if num_before:
            send_range(handler)
        else:
            send(handler, stop=1000)
            handler.wfile.flush()
            server.released.wait(10)

    server.answer = stall
    assert fetch(entry).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000-"]


def test_server_that_never_answers(entry: catalog.Entry, server: Server) -> None:
    def keep_silent(handler: BaseHTTPRequestHandler, num_before: int) -> None:
        server.released.wait(10)

    server.answer = keep_silent
    with pytest.raises(DownloadError, match="timed out"):
        fetch(entry, attempts=2)
    assert len(server.ranges) == 2


def test_no_server_at_all(entry: catalog.Entry) -> None:
    nowhere = replace(entry, url="http://127.0.0.1:9/net.pth")
    pauses: list[float] = []
    with pytest.raises(DownloadError, match="no connection") as caught:
        fetch(nowhere, attempts=4, sleep=pauses.append)
    assert pauses == [1.0, 2.0, 4.0]
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("content", [b"\0" * len(CONTENT), CONTENT[:-1] + b"\0"])
def test_corrupt_content_never_gets_the_name(entry: catalog.Entry, server: Server, cache: Path, content: bytes) -> None:
    server.answer = lambda handler, _: send(handler, content)
    with pytest.raises(DownloadError, match=r"sha256 .* \(tried 3 times\)"):
        fetch(entry)
    assert files_in(cache) == set()
    assert server.ranges == [None, None, None]


def test_corrupt_once_is_mended(entry: catalog.Entry, server: Server) -> None:
    server.answer = lambda handler, n: send(handler, b"\0" * len(CONTENT) if n == 0 else CONTENT)
    assert fetch(entry).read_bytes() == CONTENT


@pytest.mark.parametrize("length", [True, False])
def test_too_long_an_answer_is_refused(entry: catalog.Entry, server: Server, cache: Path, length: bool) -> None:
    server.answer = lambda handler, _: send(handler, CONTENT + b"\0" * 10, length=length)
    with pytest.raises(DownloadError, match=str(len(CONTENT))):
        fetch(entry)
    assert not (cache / "net.pth").exists()
    assert len(server.ranges) == 1
    server.answer = lambda handler, _: send(handler)  # and it leaves nothing that harms the next run
    assert fetch(entry).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_refusals_are_final_and_show_the_way_by_hand(entry: catalog.Entry, server: Server, status: int) -> None:
    server.answer = lambda handler, _: send(handler, b"gone", status=status)
    with pytest.raises(DownloadError, match=f"{re.escape(server.url)}: the server answers {status}") as caught:
        fetch(entry)
    assert "VSR_MODELS" in str(caught.value.hint)
    assert entry.file_name in str(caught.value.hint)
    assert len(server.ranges) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_servers_are_asked_again(entry: catalog.Entry, server: Server, status: int) -> None:
    server.answer = lambda handler, n: send(handler, b"busy", status=status) if n < 2 else send(handler)
    assert fetch(entry).read_bytes() == CONTENT
    assert len(server.ranges) == 3


def test_web_page_instead_of_the_file(entry: catalog.Entry, server: Server, cache: Path) -> None:
    server.answer = lambda handler, _: send(handler, b"<html>log in</html>", kind="text/html; charset=utf-8")
    put_part(cache, CONTENT[:1000])
    with pytest.raises(DownloadError, match="web page"):
        fetch(entry)
    assert len(server.ranges) == 1
    assert (cache / "net.pth.part").read_bytes() == CONTENT[:1000]  # what was good stays


def test_two_at_once_download_once(entry: catalog.Entry, server: Server) -> None:
    both_started = threading.Barrier(2)
    paths: list[Path] = []

    def work() -> None:
        both_started.wait(5)
        paths.append(fetch(entry, timeout=5.0))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.read_bytes() for path in paths] == [CONTENT, CONTENT]
    assert server.ranges == [None]


def test_cache_that_cannot_be_written(entry: catalog.Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "file"))
    with pytest.raises(DownloadError, match="cannot keep the download") as caught:
        fetch(entry)
    assert "VSR_CACHE" in str(caught.value.hint)


def test_interrupted_download_keeps_its_part(entry: catalog.Entry, server: Server, cache: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > 1000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(entry, progress=interrupt)
    num_bytes = (cache / "net.pth.part").stat().st_size
    assert 1000 < num_bytes < len(CONTENT)
    server.answer = lambda handler, _: send_range(handler)
    assert fetch(entry).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={num_bytes}-"]
