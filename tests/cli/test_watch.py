"""`vsr watch` as a process: dropped into, killed, asked to stop, started twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

import films
import networks
from vsr.cli.arguments import build_parser
from vsr.video.probe import probe

ROOT = Path(__file__).resolve().parents[2]
LONGEST_WAIT = 60.0


class Folders:
    """An inbox, an outbox, and the daemon between them."""

    def __init__(self, place: Path, weights: Path) -> None:
        self.inbox, self.outbox = place / "in", place / "out"
        self.inbox.mkdir()
        self.weights = weights
        self.log = place / "log"

    def start(self, *options: object) -> subprocess.Popen[str]:
        """The daemon as a process."""
        command = (
            sys.executable, "-m", "vsr", "watch", self.inbox, "-o", self.outbox, "--model", self.weights,
            "--device", "cpu", "--precision", "fp32", "--settle", "0.2", "--min-free", "0", "--json", *options,
        )  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self.log.open("a") as log:
            return subprocess.Popen(
                [str(word) for word in command], env=environment, stdout=log, stderr=subprocess.STDOUT, text=True
            )

    @contextmanager
    def running(self, *options: object) -> Iterator[subprocess.Popen[str]]:
        """The daemon, killed at the end if it still runs."""
        process = self.start(*options)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def events(self) -> list[dict[str, object]]:
        """What all daemons have logged so far; a line that a kill has cut is left out."""
        found = []
        for line in self.log.read_text().splitlines():
            with suppress(json.JSONDecodeError):
                found.append(json.loads(line))
        return found

    def drop(self, name: str, make: Callable[[Path], object]) -> None:
        """A file comes as from a program that knows how to: under another name first."""
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        arriving = path.with_name(f".{path.name}")
        make(arriving)
        arriving.rename(path)

    def names(self, folder: Path) -> set[str]:
        """Files below a folder, hidden ones left out."""
        found = set()
        for place, inner, names in os.walk(folder):  # unlike a glob, at ease with folders that vanish meanwhile
            inner[:] = [name for name in inner if not name.startswith(".")]
            found |= {Path(place, name) for name in names if not name.startswith(".")}
        return {str(path.relative_to(folder)) for path in found}

    def wait_for(self, is_so: Callable[[], bool], seconds: float = LONGEST_WAIT) -> None:
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)


@pytest.fixture
def folders(tmp_path: Path, tiny_weights: Path) -> Folders:
    return Folders(tmp_path, tiny_weights)


def draw(path: Path, *, shade: int = 0) -> None:
    """A picture of 16x16."""
    pixels = np.full((16, 16, 3), shade % 256, np.uint8)
    pixels[:8] = shade // 256
    Image.fromarray(pixels).save(path, "PNG")


def test_once_does_what_lies_there(folders: Folders):
    folders.drop("sub/film.mp4", lambda path: films.plain(path.with_name("film.mp4")).path.rename(path))
    folders.drop("picture.png", draw)
    folders.drop("text.mkv", lambda path: path.write_text("no film"))
    folders.drop("notes.txt", lambda path: path.write_text("no work"))
    process = folders.start("--once")
    assert process.wait(LONGEST_WAIT) == 1
    assert folders.names(folders.outbox) == {"sub/film.mp4", "picture.png"}
    assert folders.names(folders.inbox) == {
        "done/sub/film.mp4", "done/picture.png", "failed/text.mkv", "failed/text.mkv.error.txt", "notes.txt",
    }  # fmt: skip
    assert "is not a film" in (folders.inbox / "failed" / "text.mkv.error.txt").read_text()
    assert (probe(folders.outbox / "sub/film.mp4").width, probe(folders.outbox / "sub/film.mp4").num_frames) == (
        256,
        24,
    )
    assert not list(folders.outbox.rglob(".vsr"))


@pytest.mark.slow
def test_broken_preset_fails_its_films_and_not_the_daemon(folders: Folders):
    (folders.inbox / "sub").mkdir()
    (folders.inbox / "sub" / "preset.toml").write_text("crv = 20\n")
    folders.drop("sub/a.png", draw)
    folders.drop("b.png", draw)
    assert folders.start("--once").wait(LONGEST_WAIT) == 1
    assert folders.names(folders.outbox) == {"b.png"}
    assert "has an unknown key 'crv'" in (folders.inbox / "failed/sub/a.png.error.txt").read_text()


def test_events_bring_files_and_a_signal_ends_the_watch(folders: Folders):
    with folders.running() as process:
        folders.wait_for(lambda: folders.log.exists() and "watching" in folders.log.read_text())
        folders.drop("a.png", draw)  # long before the next look at the whole folder
        folders.wait_for(lambda: folders.names(folders.outbox) == {"a.png"}, 30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert [event["event"] for event in folders.events()][-2:] == ["stopping", "stopped"]


@pytest.mark.slow
def test_film_at_work_is_put_aside_in_time(folders: Folders, tmp_path: Path):
    folders.weights = networks.write_compact(tmp_path / "slow-x4.safetensors", num_features=64, num_conv=16)
    folders.drop("long.mp4", lambda path: films.silent(path.with_name("f.mp4"), times=240).path.rename(path))
    with folders.running() as process:
        folders.wait_for(lambda: any(folders.outbox.rglob("*.part/journal.jsonl")))
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert time.monotonic() - began < 30
    assert folders.names(folders.inbox) == {"long.mp4"}
    assert folders.names(folders.outbox) == set()
    assert folders.start("--once").wait(LONGEST_WAIT) == 0
    (done,) = (event for event in folders.events() if event["event"] == "done")
    report = done["report"]
    assert isinstance(report, dict)
    assert (report["frames_out"], report["output"]) == (240, str(folders.outbox / "long.mp4"))
    assert 0 < report["frames_resumed"] < 240  # the group of pictures at hand was finished, and not done again


@pytest.mark.slow
def test_worker_that_is_killed_costs_an_attempt(folders: Folders, tmp_path: Path):
    folders.weights = networks.write_compact(tmp_path / "slow-x4.safetensors", num_features=64, num_conv=16)
    folders.drop("long.mp4", lambda path: films.silent(path.with_name("f.mp4"), times=240).path.rename(path))
    with folders.running("--once") as process:
        folders.wait_for(lambda: any(folders.outbox.rglob("*.part/journal.jsonl")))
        (worker,) = (
            child for child in psutil.Process(process.pid).children() if "vsr.jobs.worker" in " ".join(child.cmdline())
        )
        worker.kill()
        assert process.wait(LONGEST_WAIT) == 0
    assert folders.names(folders.outbox) == {"long.mp4"}
    (postponed,) = (event for event in folders.events() if event["event"] == "postponed")
    assert "the worker was ended by signal 9" in str(postponed["text"])


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("1500", 1500), ("1.5k", 1536), ("20G", 20 << 30), ("1TiB", 1 << 40), ("3 GB", None)]
)
def test_sizes(text: str, size: int | None, run: Callable[..., tuple[int, str, str]]):
    if size is not None:
        options = build_parser().parse_args(["watch", "in", "-o", "out", "--min-free", text])
        assert options.min_free == size
    else:
        status, _, err = run("watch", "in", "-o", "out", "--min-free", text)
        assert status == 2
        assert f"{text!r} is no size" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-o", ""), "-o has an empty name"),
        (("-o", "."), "cannot take the outputs as well"),
        (("-o", "out", "--crf", "99"), "crf 99.0 is out of range"),
        (("-o", "out", "--preset", "nosuch"), "there is no preset 'nosuch'"),
        (("-o", "out", "--attempts", "0"), "--attempts 0 is less than one"),
        (("-o", "out", "--settle", "0"), "'0' is no number of seconds above zero"),
        (("-o", "out", "--poll", "soon"), "'soon' is no number of seconds above zero"),
    ],
)
def test_what_makes_no_sense_is_said_at_once(
    options: tuple[str, ...],
    words: str,
    run: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    status, _, err = run("watch", ".", *options)
    assert status == 2
    assert words in err


def test_inbox_that_is_not_there(run: Callable[..., tuple[int, str, str]], tmp_path: Path):
    status, _, err = run("watch", tmp_path / "in", "-o", tmp_path / "out")
    assert (status, list(tmp_path.iterdir())) == (2, [])
    assert "there is no folder" in err


def test_one_daemon_for_each_inbox(folders: Folders, tmp_path: Path):
    with folders.running() as first:
        folders.wait_for(lambda: folders.log.exists() and "watching" in folders.log.read_text())
        for options in ((), ("--state", tmp_path / "state")):  # wherever it keeps its ledger
            with folders.running(*options) as second:
                assert second.wait(30) == 1
        assert folders.log.read_text().count(f"is being worked on by process {first.pid} on ") == 2
        first.kill()
        first.wait()
        assert folders.start("--once").wait(30) == 0  # the lock has gone with the process


@pytest.mark.parametrize(
    ("num_files", "num_kills"),
    [(30, 2), pytest.param(500, 5, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
)
def test_killed_again_and_again(num_files: int, num_kills: int, folders: Folders, capsys: pytest.CaptureFixture[str]):
    """Every tenth is a film of two frames, the others are pictures; the daemon is killed at moments spread over the
    work. Each output is there once, none twice, none is lost."""
    began = time.monotonic()
    share = num_files // (num_kills + 1)
    dropped: set[str] = set()

    def drop(numbers: range) -> None:
        for number in numbers:
            if number % 10:
                name = f"folder{number % 3}/{number}.png"
                folders.drop(name, lambda path, number=number: draw(path, shade=number))
            else:
                name = f"folder{number % 3}/{number}.mp4"
                folders.drop(
                    name,
                    lambda path: films.silent(path.with_name(".f.mp4"), size=(16, 16), times=2).path.rename(path),
                )
            dropped.add(name)

    for kill in range(num_kills):
        with folders.running() as process:
            drop(range(kill * share, (kill + 1) * share))
            wanted = len(dropped) - share // 2
            folders.wait_for(lambda wanted=wanted: len(folders.names(folders.outbox)) >= wanted, 300)
            process.kill()  # of a process that is in the midst of something
            process.wait()
    drop(range(num_kills * share, num_files))
    assert folders.start("--once").wait(600) == 0
    assert folders.names(folders.outbox) == dropped
    assert folders.names(folders.inbox) == {f"done/{name}" for name in dropped}
    assert not list(folders.outbox.rglob(".vsr"))
    assert not list((folders.inbox / ".vsr" / "handover").iterdir())
    for number in range(0, num_files, 7):  # each is its own picture, and no other's
        if number % 10:
            larger = np.asarray(Image.open(folders.outbox / f"folder{number % 3}/{number}.png"))
            assert larger.shape == (64, 64, 3)
            assert abs(int(larger[60, 30, 0]) - number % 256) <= 12
    done = [event["file"] for event in folders.events() if event["event"] in ("done", "settled")]
    with capsys.disabled():
        print(
            f"\n{num_files} files, the daemon killed {num_kills} times: {len(dropped)} outputs, each once, in"
            f" {time.monotonic() - began:.0f} s; {len(done)} endings logged"
        )
