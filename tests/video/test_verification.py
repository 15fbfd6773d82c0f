"""Reading back finds every kind of difference."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

import films
from vsr.errors import Interrupted, VerificationError
from vsr.video.copied_stream import CopiedStream
from vsr.video.verification import verify

Make = Callable[..., films.Film]
TICK = Fraction(1, 24)


@pytest.fixture
def written(make_film: Make, upscale_plainly) -> tuple[Path, list[int], tuple[CopiedStream, ...]]:
    """A finished file, its stamps in 1/24 s and the tallies of its sound."""
    run = upscale_plainly(make_film(films.two_sounds).path, "out.mp4")
    return run.path, list(range(24)), run.writer.copier.streams


def test_a_sound_file_passes(written) -> None:
    path, stamps, copied = written
    verify(path, path.name, 0, stamps, TICK, copied)


@pytest.mark.parametrize(
    ("stamps", "words"),
    [
        (list(range(25)), "25 frames went in, 24 are in the file"),
        (list(range(23)), "23 frames went in, 24 are in the file"),
        ([*range(23), 25], r"frame 23 should be shown at 1\.041667 s, the file says 0\.958333 s"),
    ],
)
def test_frames(stamps: list[int], words: str, written) -> None:
    path, _, copied = written
    with pytest.raises(VerificationError, match=words):
        verify(path, path.name, 0, stamps, TICK, copied)


def test_sound(written) -> None:
    path, stamps, copied = written
    other = replace(copied[1], checksum=copied[1].checksum ^ 1)
    with pytest.raises(VerificationError, match="audio stream #2 has other bytes"):
        verify(path, path.name, 0, stamps, TICK, [copied[0], other])
    fewer = replace(copied[1], checksum=1, num_packets=3, exact=False)
    with pytest.raises(VerificationError, match="audio stream #2: 3 packets went in"):
        verify(path, path.name, 0, stamps, TICK, [copied[0], fewer])


def test_times_of_sound(written) -> None:
    path, stamps, (first, second) = written
    times = second.times
    for wrong, words in (
        (replace(times, checksum=times.checksum ^ 1), "audio stream #2 has packets at other times"),
        (replace(times, first=times.first + 480), r"audio stream #2 should start at -?0\.\d+ s, the file says"),
    ):
        with pytest.raises(VerificationError, match=words):
            verify(path, path.name, 0, stamps, TICK, [first, replace(second, times=wrong)])


def test_a_request_to_stop_is_heard(written) -> None:
    path, stamps, copied = written
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Interrupted):
        verify(path, path.name, 0, stamps, TICK, copied, cancel=cancel)


def test_streams_that_changed_places_are_found(written) -> None:
    path, stamps, (first, second) = written
    swapped = [replace(first, index=second.index), replace(second, index=first.index)]
    with pytest.raises(VerificationError, match="has other bytes"):
        verify(path, path.name, 0, stamps, TICK, swapped)


def test_a_file_that_does_not_open(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"nothing of the kind")
    with pytest.raises(VerificationError, match="cannot be read back"):
        verify(tmp_path / "out.mp4", "out.mp4", 0, [0], TICK, [])
