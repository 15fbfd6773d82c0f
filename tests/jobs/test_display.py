from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vsr.jobs.display import Display
from vsr.jobs.job import Job, State

JOB = Job(Path("/in/tape.avi"), Path("/out/tape_x4.mkv"), id=1)
REPORT = {
    "frames_out": 48,
    "size_out": [256, 192],
    "seconds": 2.0,
    "fps": 24.0,
    "damaged": False,
    "warnings": [],
    "frames_resumed": 0,
}
COUNTS = dict.fromkeys(State, 0) | {State.WAITING: 2, State.DONE: 1}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def tell_everything(display: Display) -> None:
    display.begin(0, JOB)
    display.start(0, 20, 48)
    display.advance(0, 48, 48, "encode is the slowest stage")
    display.end(0, replace(JOB, state=State.DONE, report=REPORT))
    display.end(0, replace(JOB, state=State.DONE, report=REPORT | {"frames_resumed": 40}))
    display.end(0, replace(JOB, state=State.DONE))
    display.end(0, replace(JOB, state=State.WAITING, error="the disk is full", hint="make room"))
    display.end(0, replace(JOB, state=State.WAITING))
    display.end(0, replace(JOB, state=State.FAILED, error="'tape.avi' is no film", hint="look at it"))


def test_each_end_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(1, COUNTS) as display:
        tell_everything(display)
    assert capsys.readouterr().err.splitlines() == [
        "/out/tape_x4.mkv: 48 frames, 256x192, 2.0 s (24.00 frames/s), verified",
        "/out/tape_x4.mkv: 48 frames (40 made before), 256x192, 2.0 s (24.00 frames/s), verified",
        "/out/tape_x4.mkv: finished by a run that was killed right after",
        "vsr: tape.avi: the disk is full (to be tried again)",
        "vsr: 'tape.avi' is no film",
        "hint: look at it",
    ]


def test_quiet_it_tells_failures_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(1, COUNTS, is_quiet=True) as display:
        tell_everything(display)
    assert [line.partition(" ")[0] for line in capsys.readouterr().err.splitlines()] == ["vsr:", "vsr:", "hint:"]


def test_warnings_and_damage_are_told_quiet_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    report = REPORT | {"damaged": True, "warnings": ["3 packets were broken"]}
    with Display(1, COUNTS, is_quiet=True) as display:
        display.end(0, replace(JOB, state=State.DONE, report=report))
        display.end(0, replace(JOB, state=State.DONE, report=report, settings={"allow_corrupt": True}))
    note = "vsr: note: tape.avi: 3 packets were broken"
    assert capsys.readouterr().err.splitlines() == [
        note,
        "vsr: tape.avi is damaged: what could be decoded is in '/out/tape_x4.mkv'",
        "hint: allow_corrupt counts it as done nevertheless",
        note,
    ]


def test_on_a_terminal_there_are_bars_for_each_hand_and_for_all_films(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Display(2, COUNTS) as display:
        display.begin(0, JOB)
        display.begin(1, replace(JOB, source=Path("/in/other\n.avi")))
        display.start(0, 20, 48)
        display.start(1, 0, None)
        tell_everything(display)
    shown = terminal.getvalue()
    assert "tape.avi:  42%" in shown  # where an earlier run had left it
    assert r"other\n.avi" in shown  # nothing that a terminal would obey
    assert "films:  33%" in shown
    assert "verified\n" in shown
    assert shown.endswith("\r")  # the table begins at the left


def test_who_stops_a_batch_is_told_what_it_waits_for(capsys: pytest.CaptureFixture[str]) -> None:
    for is_quiet in (False, True):
        with Display(1, COUNTS, is_quiet=is_quiet) as display:
            display.stopping()
    assert (
        capsys.readouterr().err == "vsr: stopping after the group of pictures at hand; a second signal stops at once\n"
    )
