"""`vsr batch` as a user meets it, with real films and real worker processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import pytest

import films
from vsr.jobs.job import Job, State
from vsr.jobs.ledger import Ledger
from vsr.jobs.owner import name_owner

Run = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tapes(tmp_path: Path) -> Path:
    """A folder with two films, one of them in a sub-folder, and with what is none."""
    folder = tmp_path / "tapes"
    (folder / "sub").mkdir(parents=True)
    films.plain(folder / "a.mp4")
    films.avi(folder / "sub" / "b.avi")
    (folder / "notes.txt").write_text("x")
    return folder


def count_frames(path: Path) -> int:
    with av.open(path) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_folder_is_made_and_run_again_nothing_is(run: Run, tapes: Path, tmp_path: Path, tiny_weights: Path) -> None:
    bad = tapes / "bad.mp4"
    bad.write_text("no film")
    command = ("batch", tapes, "-r", "--model", tiny_weights, "--device", "cpu")
    status, out, err = run(*command)
    assert (status, out) == (1, "")
    assert "bad.mp4' is not a film" in err
    assert err.splitlines()[-1].startswith("3 films: 2 done, 1 failed; ")
    larger = tmp_path / "tapes_x4"
    made = sorted(path.relative_to(larger).as_posix() for path in larger.rglob("*") if path.is_file())
    assert [name for name in made if not name.startswith(".vsr-batch")] == ["a_x4.mp4", "sub/b_x4.mkv"]
    assert count_frames(larger / "sub" / "b_x4.mkv") == 24
    bad.unlink()
    before = {path: path.stat().st_mtime_ns for path in larger.rglob("*.m*")}
    status, out, _ = run(*command, "--json", "--report", tmp_path / "report.json")
    assert status == 0
    assert {path: path.stat().st_mtime_ns for path in larger.rglob("*.m*")} == before
    report = json.loads(out)
    assert report["totals"]["states"] == {"skipped": 2}
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert [film["report"]["frames_out"] for film in report["films"]] == [24, 24]


def test_a_batch_file_gives_each_film_its_own(run: Run, tapes: Path, tmp_path: Path, tiny_weights: Path) -> None:
    batch = tmp_path / "films.toml"
    batch.write_text(
        f'[defaults]\noutput = "out"\nmodel = "{tiny_weights}"\nname = "{{stem}}_{{scale}}{{suffix}}"\n'
        '[[film]]\ninput = "tapes/*.mp4"\nduration = 0.5\n'
        '[[film]]\ninput = "tapes/**/b.avi"\nscale = 2\ncodec = "hevc"\n'
        '[[film]]\ninput = "tapes/*.webm"\n'
    )
    status, out, err = run("batch", batch, "--json")
    assert status == 0
    assert "note: film 3 names no film" in err
    made = {Path(film["output"]).name: film["report"] for film in json.loads(out)["films"]}
    assert set(made) == {"a_4.mp4", "b_2.mkv"}
    assert (made["a_4.mp4"]["frames_out"], made["a_4.mp4"]["codec"]) == (12, "h264")
    assert (made["b_2.mkv"]["size_out"], made["b_2.mkv"]["codec"]) == ([128, 96], "hevc")
    assert (tmp_path / "films.vsr-batch.sqlite").is_file()
    status, out, _ = run("batch", batch, "--json", "--scale", "2")  # the command line wins, and makes other films
    assert status == 0
    assert json.loads(out)["totals"]["states"] == {"done": 1, "skipped": 1}
    assert (tmp_path / "out" / "a_2.mp4").is_file()


def test_a_dry_run_tells_and_writes_nothing(run: Run, tapes: Path, tmp_path: Path, tiny_weights: Path) -> None:
    command = ("batch", tapes, "-o", tmp_path / "out", "--model", tiny_weights)
    status, out, _ = run(*command, "--dry-run")
    assert (status, out) == (0, f"make    {tapes}/a.mp4 -> {tmp_path}/out/a_x4.mp4\n")
    assert not (tmp_path / "out").exists()
    assert run(*command, "--quiet") == (0, "", "")
    films.silent(tapes / "c.mp4")
    actions = {}
    for flags in ((), ("--crf", "30"), ("--fresh",)):
        status, out, _ = run(*command, "--dry-run", "--json", *flags)
        assert status == 0
        actions[flags] = [film["action"] for film in json.loads(out)["films"]]
    assert actions == {(): ["skip", "make"], ("--crf", "30"): ["remake", "make"], ("--fresh",): ["remake", "make"]}


def test_a_dry_run_knows_what_others_are_at_work_on(run: Run, tapes: Path, tmp_path: Path, tiny_weights: Path) -> None:
    command = ("batch", tapes, "-o", tmp_path / "out", "--model", tiny_weights, "--dry-run")
    assert run(*command)[1].startswith("make ")
    (tmp_path / "out").mkdir()
    with Ledger(tmp_path / "out" / ".vsr-batch.sqlite") as ledger, subprocess.Popen(["sleep", "60"]) as other:
        ledger.add([Job(tapes / "a.mp4", tmp_path / "out" / "a_x4.mp4")])
        ledger.claim(name_owner(other.pid))
        assert run(*command)[1].startswith("leave ")
        other.kill()
    assert run(*command)[1].startswith("make ")  # it will be gone on with


@pytest.mark.slow
def test_an_output_that_nobody_of_ours_made_is_left_alone(
    run: Run, tapes: Path, tmp_path: Path, tiny_weights: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a_x4.mp4").write_text("somebody's")
    command = ("batch", tapes, "-o", tmp_path / "out", "--model", tiny_weights)
    status, _, err = run(*command)
    assert status == 1
    assert "exists already" in err
    assert (tmp_path / "out" / "a_x4.mp4").read_text() == "somebody's"
    assert run(*command, "--overwrite")[0] == 0
    assert count_frames(tmp_path / "out" / "a_x4.mp4") == 24


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["nowhere"], "does not exist"),
        (["film.mp4"], "neither a folder nor a batch file"),
        (["empty"], "no film"),
        (["films.toml", "-r"], "--recursive"),
        (["films.toml", "-o", ""], "-o has an empty name"),
        (["films.toml", "--crf", "99"], "crf"),
        (["films.toml", "--device", "tpu"], "tpu"),
        (["films.toml", "--name", "{stm}.mp4"], "did you mean 'stem'"),
        (["films.toml", "--name", "../{stem}.mp4"], "leaves the output folder"),
        (["films.toml", "--report", "nowhere/report.json"], "--report"),
        (["twice.toml"], "would be made twice"),
        (["films.toml", "--model", "fats"], "fast"),
    ],
)
def test_wrong_usage_is_said_before_any_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    films.plain(tmp_path / "film.mp4")
    film = '[[film]]\ninput = "film.mp4"\noutput = "out"\n'
    (tmp_path / "films.toml").write_text(film)
    (tmp_path / "twice.toml").write_text(film + film)
    status, out, err = run("batch", *arguments)
    assert status == (1 if "fats" in arguments else 2)
    assert word in err
    assert out == ""
    assert sorted(os.listdir()) == ["empty", "film.mp4", "films.toml", "twice.toml"]


@contextmanager
def batch_process(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """`vsr batch` in a process of its own, in a session of its own, so that a Ctrl-C for it is not one for us."""
    command = [sys.executable, "-m", "vsr", "batch", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for_work(place: Path) -> None:
    """Until the first film of a batch is at work, as its ledger tells."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if place.exists():
            with Ledger(place) as ledger:
                if any(job.frames_done for job in ledger.jobs([State.WORKING])):
                    return
        time.sleep(0.05)
    pytest.fail("the batch did not begin")


@pytest.fixture
def long_tapes(tmp_path: Path) -> tuple[Any, ...]:
    """The arguments of a batch of two films of 30 s, each of which takes seconds."""
    folder = tmp_path / "tapes"
    folder.mkdir()
    for name in "ab":
        films.silent(folder / f"{name}.mp4", times=720, size=(160, 120))
    return (folder, "-o", tmp_path / "out", "--preset", "realtime", "--device", "cpu", "--json")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_broken_off_it_goes_on(run: Run, tmp_path: Path, long_tapes: tuple[Any, ...], number: signal.Signals) -> None:
    arguments = long_tapes
    with batch_process(*arguments) as process:
        wait_for_work(tmp_path / "out" / ".vsr-batch.sqlite")
        begin = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert time.monotonic() - begin < 25
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert err.endswith("vsr: interrupted; the same command goes on from there\n")
        assert json.loads(out)["totals"]["states"]["waiting"] >= 1
    assert {path.suffix for path in (tmp_path / "out").glob("[ab]*")} <= {".mp4", ".part"}
    status, out, err = run("batch", *arguments)
    assert status == 0, err
    states = json.loads(out)["totals"]["states"]
    assert sum(states.values()) == 2
    assert set(states) <= {"done", "skipped"}
    if number != signal.SIGKILL:  # the group of pictures at hand was finished, and is not computed again
        assert max(film["report"]["frames_resumed"] for film in json.loads(out)["films"]) > 0
    assert [count_frames(tmp_path / "out" / f"{name}_x4.mp4") for name in "ab"] == [720, 720]


@pytest.mark.slow
def test_two_processes_share_a_batch(tmp_path: Path, tiny_weights: Path) -> None:
    folder = tmp_path / "tapes"
    folder.mkdir()
    for number in range(8):
        films.silent(folder / f"{number}.mp4", times=240)
    arguments = (folder, "-o", tmp_path / "out", "--model", tiny_weights, "--device", "cpu")
    with batch_process(*arguments) as first, batch_process(*arguments) as second:
        told = [process.communicate(timeout=100)[1] for process in (first, second)]
        assert [first.returncode, second.returncode] == [0, 0], told
    made = [line.partition(":")[0] for words in told for line in words.splitlines() if line.endswith("verified")]
    assert sorted(made) == [f"{tmp_path}/out/{number}_x4.mp4" for number in range(8)]
    assert all(words.splitlines()[-1].startswith("8 films: ") for words in told)
