"""`vsr watch --serve`: a real daemon behind the page, from an upload to the finished film."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import films
from vsr.video.probe import probe

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-of-good-length"
HEADERS = {"X-VSR": "test", "Authorization": f"Bearer {TOKEN}"}


def watch(place: Path, *options: object) -> list[str]:
    """The command; inbox and outbox are made."""
    (place / "in").mkdir()
    words = (sys.executable, "-m", "vsr", "watch", place / "in", "-o", place / "out", "--min-free", "0", *options)
    return [str(word) for word in words]


def wait_for(read: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (found := read()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.1)
    return found


def test_an_uploaded_film_comes_out_larger(tmp_path: Path, tiny_weights: Path):
    film = films.plain(tmp_path / "film.mp4").path.read_bytes()
    command = watch(
        tmp_path, "--serve", "127.0.0.1:0", "--settle", "0.2", "--json",
        "--model", tiny_weights, "--device", "cpu", "--precision", "fp32",
    )  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "VSR_TOKEN": TOKEN}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as daemon:
        try:
            assert daemon.stdout is not None
            events = map(json.loads, daemon.stdout)
            url = next(event["url"] for event in events if event["event"] == "serving")
            with httpx.Client(base_url=url, headers=HEADERS, trust_env=False) as client:
                assert httpx.get(f"{url}api/state", trust_env=False).status_code == 401
                assert client.put("/api/uploads/my film.mp4", content=film).status_code == 201
                done = wait_for(lambda: client.get("/api/state").json()["history"])
                assert [(job["name"], job["state"]) for job in done] == [("my film.mp4", "done")]
                assert "vsr_films_done_total 1\n" in client.get("/metrics").text
                assert client.get("/healthz").text == "ok\n"
                assert client.post(f"/api/jobs/{done[0]['id']}/pause", json={}).status_code == 409
                assert client.post("/api/pause", json={}).status_code == 200
                assert client.get("/api/state").json()["paused"] is True
                with client.stream("GET", "/events") as stream:  # an open page does not keep the daemon
                    next(stream.iter_lines())
                    began = time.monotonic()
                    daemon.send_signal(signal.SIGTERM)
                    assert daemon.wait(30) == 0
                    assert time.monotonic() - began < 15
        finally:
            daemon.kill()
    made = probe(tmp_path / "out" / "my film.mp4")
    assert (made.width, made.num_frames) == (256, 24)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--serve", "0.0.0.0:0"), "needs a token"),
        (("--serve", "nowhere"), "is no address"),
        (("--serve", "0", "--token", "none"), "cannot be read"),
        (("--token", "none"), "are of the page"),
        (("--host-name", "films.example"), "are of the page"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(tmp_path: Path, options: tuple[str, ...], message: str):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("VSR_TOKEN", None)
    done = subprocess.run(watch(tmp_path, *options), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert list((tmp_path / "in").iterdir()) == []
