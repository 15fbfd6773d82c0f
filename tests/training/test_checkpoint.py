"""Checkpoints: whole or not there, the right ones kept, broken and hostile ones refused by name."""

from __future__ import annotations

import errno
import pickle
import sys
from pathlib import Path
from typing import BinaryIO

import pytest
import torch

from vsr.errors import TrainingError
from vsr.training.checkpoint import Checkpoints, explain_failure, replace_file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail(line: str) -> None:
    raise AssertionError(line)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "x"
    replace_file(path, lambda file: file.write(b"old"))

    def write(file: BinaryIO) -> None:
        file.write(b"half of the new")
        raise OSError(28, "No space left on device")

    with pytest.raises(TrainingError, match="No space left") as caught:
        replace_file(path, write)
    assert caught.value.hint
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_checkpoint_that_does_not_fit_is_named_and_the_one_before_stays(tmp_path: Path):
    import resource

    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, {"value": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(TrainingError, match=r"step-000000002\.pt' cannot be written: File too large"):
            checkpoints.save(2, {"value": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(tmp_path) == ["step-000000001.pt"]


def test_a_full_disk_and_a_forbidden_one_have_ways_out_of_their_own(tmp_path: Path):
    full = explain_failure(tmp_path, OSError(errno.ENOSPC, "No space left on device"))
    assert "--resume" in str(full.hint)
    forbidden = explain_failure(tmp_path, PermissionError(errno.EACCES, "Permission denied"))
    assert "--out" in str(forbidden.hint)


def test_the_newest_and_the_best_stay(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 3, 4):
        checkpoints.save(step, {"value": torch.tensor(step)}, is_best=step == 1)
    assert names(tmp_path) == ["best.pt", "step-000000003.pt", "step-000000004.pt"]
    assert torch.load(tmp_path / "best.pt", weights_only=True)["step"] == 1
    state = checkpoints.load_newest(fail)
    assert state is not None
    assert (state["step"], int(state["value"])) == (4, 4)


def test_no_checkpoint_is_no_error(tmp_path: Path):
    assert Checkpoints(tmp_path / "none", keep=1).load_newest(fail) is None


def test_a_broken_one_is_named_and_the_one_before_taken(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in (1, 2):
        checkpoints.save(step, {"value": step})
    path = tmp_path / "step-000000002.pt"
    path.write_bytes(path.read_bytes()[:-200])
    said: list[str] = []
    state = checkpoints.load_newest(said.append)
    assert state is not None
    assert state["step"] == 1
    assert len(said) == 1
    assert "step-000000002.pt" in said[0]
    (tmp_path / "step-000000001.pt").write_bytes(b"")
    with pytest.raises(TrainingError, match="none of the 2 checkpoints"):
        checkpoints.load_newest(said.append)


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('this must never run')",)


def test_a_hostile_one_is_refused(tmp_path: Path):
    (tmp_path / "step-000000001.pt").write_bytes(pickle.dumps(Hostile()))
    said: list[str] = []
    with pytest.raises(TrainingError):
        Checkpoints(tmp_path, keep=3).load_newest(said.append)
    assert "more than plain data" in said[0]
