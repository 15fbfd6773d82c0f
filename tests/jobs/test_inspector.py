"""Files looked into by a process of its own."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

import films
from vsr.jobs.inspection import (
    Finding,
    Question,
    Verdict,
    inspect,
    read_finding,
    read_question,
    write_finding,
    write_question,
)
from vsr.jobs.inspector import Inspector


@pytest.fixture
def ask() -> Iterator[Callable[[Path], Finding]]:
    """ask(path): the finding of an inspector that lives as long as the test."""
    findings: queue.Queue[Finding] = queue.Queue()
    inspector = Inspector(findings.put)

    def ask_and_wait(path: Path) -> Finding:
        inspector.ask(Question(path, "h264"))
        return findings.get(timeout=30)

    yield ask_and_wait
    inspector.close()


@pytest.mark.parametrize(
    ("name", "recipe", "suffix"),
    [("a.mp4", films.plain, ".mp4"), ("a.webm", films.webm, ".mkv"), ("a.avi", films.avi, ".mp4")],
)
def test_film_is_whole_and_its_output_gets_a_suffix(name: str, recipe, suffix: str, tmp_path: Path):
    path = recipe(tmp_path / name).path
    assert inspect(Question(path, "h264")) == Finding(path, Verdict.WHOLE, "", suffix)
    assert inspect(Question(path, "ffv1")).suffix == ".mkv"


@pytest.mark.parametrize(("suffix", "out"), [(".png", ".png"), (".JPG", ".JPG")])
def test_picture(suffix: str, out: str, tmp_path: Path):
    path = tmp_path / f"a{suffix}"
    Image.new("RGB", (8, 8)).save(path)
    assert inspect(Question(path, "h264")) == Finding(path, Verdict.WHOLE, "", out)


def test_recording_under_way_is_unfinished_and_text_is_unreadable(tmp_path: Path):
    assert inspect(Question(films.headless(tmp_path / "a.mp4").path, "h264")).verdict is Verdict.UNFINISHED
    (tmp_path / "b.mp4").write_text("this is no film")
    finding = inspect(Question(tmp_path / "b.mp4", "h264"))
    assert finding.verdict is Verdict.UNREADABLE
    assert "is not a film" in finding.reason
    assert inspect(Question(tmp_path / "gone.mp4", "h264")).verdict is Verdict.UNFINISHED


def test_what_is_said_comes_through():
    path = Path(os.fsdecode(b"/in/\xff\n\xc3\xa4.mp4"))  # Latin-1, a line's end, UTF-8
    question, finding = Question(path, "av1", ("audio", "2")), Finding(path, Verdict.UNFINISHED, "why", None)
    assert read_question(write_question(question)) == question
    assert read_finding(write_finding(finding)) == finding
    assert write_question(question).count(b"\n") == 1


def test_process_answers_one_question_after_another(ask: Callable[[Path], Finding], tmp_path: Path):
    film = films.plain(tmp_path / "a.mp4").path
    (tmp_path / "b.mkv").write_text("this is no film")
    assert ask(film).verdict is Verdict.WHOLE
    assert ask(tmp_path / "b.mkv").verdict is Verdict.UNREADABLE
    assert ask(film).verdict is Verdict.WHOLE


def test_file_that_kills_the_process_is_called_unreadable(tmp_path: Path, haunt: Callable[[str], None]):
    haunt(
        "import os, pathlib\nopen_path = pathlib.Path.open\n"
        "def open(path, *rest, **more):\n"
        "    if path.name == 'deadly.mp4': os.kill(os.getpid(), 9)\n"
        "    return open_path(path, *rest, **more)\n"
        "pathlib.Path.open = open\n"
    )
    findings: queue.Queue[Finding] = queue.Queue()
    inspector = Inspector(findings.put)
    try:
        for name, verdict in (("a", Verdict.WHOLE), ("deadly", Verdict.UNREADABLE), ("b", Verdict.WHOLE)):
            path = films.plain(tmp_path / f"{name}.mp4").path
            inspector.ask(Question(path, "h264"))
            finding = findings.get(timeout=30)
            assert (finding.path, finding.verdict) == (path, verdict)
    finally:
        inspector.close()
