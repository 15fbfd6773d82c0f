"""Files moved and written on a real disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vsr.jobs import file_system
from vsr.jobs.file_system import Disk, Signature


@pytest.fixture
def disk() -> Disk:
    return Disk()


def put(path: Path, content: str = "film") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def other_file_system(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    """`source` can be neither linked nor renamed, as from one disk to another."""

    def refuse_for(act: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
        def refuse(old: Path, new: Path) -> None:
            if old == source:
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            act(old, new)

        return refuse

    monkeypatch.setattr(os, "link", refuse_for(os.link))
    monkeypatch.setattr(os, "rename", refuse_for(os.rename))


def test_move_renames(disk: Disk, tmp_path: Path):
    source = put(tmp_path / "a")
    number = source.stat().st_ino
    disk.move(source, tmp_path / "b")
    assert (tmp_path / "b").stat().st_ino == number
    assert os.listdir(tmp_path) == ["b"]


def test_move_never_replaces(disk: Disk, tmp_path: Path):
    put(tmp_path / "a", "new")
    put(tmp_path / "b", "old")
    with pytest.raises(FileExistsError):
        disk.move(tmp_path / "a", tmp_path / "b")
    assert ((tmp_path / "a").read_text(), (tmp_path / "b").read_text()) == ("new", "old")


def test_move_goes_on_after_a_crash(disk: Disk, tmp_path: Path):
    """Between the link under the new name and the removal of the old one."""
    os.link(put(tmp_path / "a"), tmp_path / "b")
    disk.move(tmp_path / "a", tmp_path / "b")
    assert os.listdir(tmp_path) == ["b"]


def test_move_between_file_systems_copies(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = put(tmp_path / "a", "film" * 1000)
    os.utime(source, ns=(1, 2_000_000_000))
    other_file_system(monkeypatch, source)
    disk.move(source, tmp_path / "b")
    assert os.listdir(tmp_path) == ["b"]
    assert (tmp_path / "b").read_text() == "film" * 1000
    assert disk.sign(tmp_path / "b") == Signature(4000, 2_000_000_000)


def test_copy_that_fails_leaves_the_original(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = put(tmp_path / "a")
    other_file_system(monkeypatch, source)

    def fill_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(file_system.shutil, "copyfileobj", fill_disk)
    with pytest.raises(OSError, match="No space left"):
        disk.move(source, tmp_path / "b")
    assert os.listdir(tmp_path) == ["a"]


def test_walk_finds_plain_files_and_follows_no_folder_links(disk: Disk, tmp_path: Path):
    put(tmp_path / "a")
    put(tmp_path / "sub" / "b")
    put(tmp_path / "closed" / "c")
    (tmp_path / "sub" / "round").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe")
    found = dict(disk.walk(tmp_path, lambda folder: folder.name != "closed", pytest.fail))
    assert {str(path.relative_to(tmp_path)) for path in found} == {"a", "sub/b", "link"}
    assert found[tmp_path / "a"] == Signature(4, (tmp_path / "a").stat().st_mtime_ns)


def test_walk_tells_what_it_cannot_read(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put(tmp_path / "sub" / "a")
    scan = os.scandir

    def refuse(folder: Path) -> object:
        if folder.name == "sub":
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    errors: list[OSError] = []
    assert list(disk.walk(tmp_path, lambda folder: True, errors.append)) == []
    assert [error.filename for error in errors] == [str(tmp_path / "sub")]


def test_write_is_whole_or_not_there(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    disk.write(tmp_path / "a", b"old")

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        disk.write(tmp_path / "a", b"new")
    assert os.listdir(tmp_path) == ["a"]
    assert disk.read(tmp_path / "a") == b"old"


def test_what_is_gone_is_gone(disk: Disk, tmp_path: Path):
    assert disk.sign(tmp_path / "gone") is None
    assert disk.read(tmp_path / "gone") is None
    assert disk.list_folder(tmp_path / "gone") == []
    disk.remove(tmp_path / "gone")
    put(tmp_path / "folder" / "sub" / "file")
    disk.remove_empty(tmp_path / "folder")
    assert (tmp_path / "folder").is_dir()
    disk.remove(tmp_path / "folder")
    assert os.listdir(tmp_path) == []


def test_free_bytes_of_a_folder_that_is_not_there_yet(disk: Disk, tmp_path: Path):
    assert disk.free_bytes(tmp_path / "not" / "yet") > 0
