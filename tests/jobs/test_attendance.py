from __future__ import annotations

import threading
from pathlib import Path

import pytest

from vsr.errors import JobError
from vsr.jobs.attendance import Attendance


def is_alone(attendance: Attendance) -> bool:
    with attendance.look_around() as answer:
        return answer


def test_one_is_alone_until_another_comes_and_again_when_it_has_gone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Attendance(path) as first:
        assert is_alone(first)
        with Attendance(path) as second:
            assert not is_alone(second)
            assert not is_alone(first)
        assert is_alone(first)


def test_nobody_comes_in_while_one_looks_around(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    entered = threading.Event()

    def enter() -> None:
        with Attendance(path) as second, second.look_around():
            pass
        entered.set()

    with Attendance(path) as first, first.look_around() as answer:
        assert answer
        thread = threading.Thread(target=enter)
        thread.start()
        assert not entered.wait(0.1)
    assert entered.wait(10)
    thread.join()


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="nowhere"):
        Attendance(tmp_path / "nowhere" / "ledger.sqlite")
