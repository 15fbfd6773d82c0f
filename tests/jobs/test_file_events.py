"""Word of new files from the system, and where there is none."""

from __future__ import annotations

import os
import queue
from pathlib import Path

import pytest

from vsr.jobs.file_events import FileEvents, is_on_network


def wait_for(heard: queue.Queue[Path], path: Path) -> None:
    while heard.get(timeout=10) != path:
        pass


def test_files_are_told_of_wherever_they_come_from(tmp_path: Path):
    inbox, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    (inbox / "old").mkdir(parents=True)
    elsewhere.mkdir()
    heard: queue.Queue[Path] = queue.Queue()
    folders: queue.Queue[None] = queue.Queue()
    events = FileEvents(inbox, heard.put, lambda: folders.put(None))
    try:
        (inbox / "a.mp4").write_text("made here")
        wait_for(heard, inbox / "a.mp4")
        (elsewhere / "b.mp4").write_text("moved in")
        os.rename(elsewhere / "b.mp4", inbox / "old" / "b.mp4")
        wait_for(heard, inbox / "old" / "b.mp4")
        (inbox / "old" / "c.part").write_text("renamed")
        os.rename(inbox / "old" / "c.part", inbox / "c.mp4")
        wait_for(heard, inbox / "c.mp4")
        (inbox / "new").mkdir()
        folders.get(timeout=10)
        (inbox / "new" / "d.mp4").write_text("in a folder that was not there")
        wait_for(heard, inbox / "new" / "d.mp4")
    finally:
        events.close()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/me", False),
        ("/mnt/films/in", True),
        ("/mnt/films/local/in", False),
        ("/mnt/two words/in", True),
        ("/mnt/filmsister", False),
        ("/over", True),
    ],
)
def test_network_shares_are_known_by_their_mounts(path: str, expected: bool, tmp_path: Path):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda1 / ext4 rw 0 0\nserver:/films /mnt/films nfs4 rw 0 0\n/dev/sdb1 /mnt/films/local xfs rw 0 0\n"
        "//server/share /mnt/two\\040words cifs rw 0 0\ntmpfs /over tmpfs rw 0 0\nme@server: /over fuse.sshfs rw 0 0\n"
    )
    assert is_on_network(Path(path), mounts) is expected


def test_without_mounts_nobody_can_tell(tmp_path: Path):
    assert is_on_network(tmp_path, tmp_path / "gone") is False
