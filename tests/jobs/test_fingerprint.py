from __future__ import annotations

import os
from pathlib import Path

import pytest

from vsr.jobs.fingerprint import SAMPLE_BYTES, identify, matches, take_fingerprint


@pytest.mark.parametrize("size", [0, 1, SAMPLE_BYTES, 2 * SAMPLE_BYTES + 1, 5 * SAMPLE_BYTES])
def test_a_file_is_known_again_after_a_copy_and_not_after_a_change(tmp_path: Path, size: int) -> None:
    path, copy = tmp_path / "film", tmp_path / "copy"
    path.write_bytes(os.urandom(size))
    taken = take_fingerprint(path)
    assert matches(path, taken) == taken
    copy.write_bytes(path.read_bytes())
    renewed = matches(copy, taken)
    assert renewed is not None
    assert renewed != taken
    assert renewed == take_fingerprint(copy)
    with copy.open("ab") as file:
        file.write(b"x")
    assert matches(copy, taken) is None


@pytest.mark.parametrize("at", [0, 5 * SAMPLE_BYTES // 2, 5 * SAMPLE_BYTES - 1])
def test_a_change_at_head_middle_and_tail_is_seen(tmp_path: Path, at: int) -> None:
    path = tmp_path / "film"
    path.write_bytes(bytes(5 * SAMPLE_BYTES))
    taken = take_fingerprint(path)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"x")
    os.utime(path, ns=(0, 0))
    assert matches(path, taken) is None


def test_what_is_not_there_matches_nothing(tmp_path: Path) -> None:
    assert identify(tmp_path / "none") is None
    assert take_fingerprint(tmp_path / "none") is None
    assert take_fingerprint(tmp_path) is None  # a folder
    (tmp_path / "there").touch()
    assert matches(tmp_path / "there", None) is None
