"""A lock is held by one process, says by whom, and ends with it."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vsr.errors import LockedError
from vsr.lock import FileLock

HOLD = "import sys, time; from pathlib import Path; from vsr.lock import FileLock\n" \
    "lock = FileLock(Path(sys.argv[1]), 'it'); print('held', flush=True); time.sleep(60)"  # fmt: skip


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with FileLock(path, "the film"):
        assert FileLock.is_held(path)
        with pytest.raises(LockedError, match="the film is being worked on by process"):
            FileLock(path, "the film")
    assert not FileLock.is_held(path)
    FileLock(path, "the film").release()


def test_it_ends_with_the_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(LockedError, match=f"process {process.pid} on "):
        FileLock(path, "it")
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    FileLock(path, "it").release()


def test_a_file_that_its_holder_removes_is_no_lock_for_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = FileLock(path, "it")
    path.unlink()
    second = FileLock(path, "it")  # another file of the same name
    first.release()
    with pytest.raises(LockedError):
        FileLock(path, "it")
    second.release()


def test_no_file_is_no_lock(tmp_path: Path) -> None:
    assert not FileLock.is_held(tmp_path / "lock")


def test_a_lock_that_cannot_be_signed_is_one_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "lock"
    with monkeypatch.context() as context:
        context.setattr(os, "pwrite", fail)
        lock = FileLock(path, "it")
    with pytest.raises(LockedError, match="by another process"):
        FileLock(path, "it")
    lock.release()
    FileLock(path, "it").release()


def test_whoever_only_asks_is_in_nobodys_way(tmp_path: Path) -> None:
    """`is_held` must take the lock for a moment: there is no other way to find out."""
    path = tmp_path / "lock"
    path.touch()
    with open(path, "rb") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        moment = threading.Timer(0.01, fcntl.flock, (asking, fcntl.LOCK_UN))
        moment.start()
        FileLock(path, "it").release()
        moment.join()


@pytest.mark.parametrize("step", ["ftruncate", "stat"])
def test_an_interruption_while_it_is_made_lets_go_of_it(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(os, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            FileLock(tmp_path / "lock", "it")
    FileLock(tmp_path / "lock", "it").release()
